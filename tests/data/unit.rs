//! The service as systemd and the message bus start it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use harness::command;

use crate::installed::{Installed, SERVICE, done, read, run, value, workspace};

/// What may stand in the unit: nothing that the woken would inherit and not shed. The unit itself tells why.
const HARMLESS: [&str; 16] = [
    "Description",
    "Documentation",
    "Type",
    "BusName",
    "ExecStart",
    "KillMode",
    "OOMPolicy",
    "TasksMax",
    "UMask",
    "LimitCORE",
    "LimitNOFILE",
    "OOMScoreAdjust",
    "StateDirectory",
    "StateDirectoryMode",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
];

#[test]
fn systemd_takes_the_unit() {
    let installed = Installed::new();
    let unit = read(&installed.path("lib/systemd/system/dormouse.service"));
    let here = unit.replace("/usr/bin/dormouse", &command::path().display().to_string());
    assert_ne!(unit, here, "it starts something else");
    let path = installed.room().join("dormouse.service");
    done(fs::write(&path, here));
    run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path)).expect_silence();
}

/// What a key is told in all its lines, word by word.
fn values<'a>(text: &'a str, key: &str) -> BTreeSet<&'a str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.flat_map(str::split_whitespace).collect()
}

#[test]
fn systemd_takes_the_units_of_sessions_and_finds_no_circle_in_their_order() {
    let installed = Installed::new();
    let (units, room) = (installed.path("lib/systemd/system"), installed.room());
    run(Command::new("cp").arg("-r").arg(units.join(".")).arg(&room)).expect_silence();
    let unit = read(&room.join("dormouse-session@.service"));
    let here = unit.replace("/usr/bin/dormouse", &command::path().display().to_string());
    assert_ne!(unit, here, "it starts something else");
    done(fs::write(room.join("dormouse-session@.service"), here));
    // A login beside it, so that what is said of all of them is read, too.
    done(fs::write(room.join("session-1.scope"), "[Scope]\n"));
    let mut verify = Command::new("systemd-analyze");
    verify.env("SYSTEMD_UNIT_PATH", format!("{}:", room.display())).args(["verify", "--man=no"]);
    verify.args(["dormouse-session@61000.service", "user@61000.service", "dormouse-logins.target"]);
    run(&mut verify).expect_silence();
}

#[test]
fn a_session_sleeps_before_anything_of_its_users_is_stopped() {
    let installed = Installed::new();
    let unit = |name: &str| read(&installed.path(&format!("lib/systemd/system/{name}")));
    let session = unit("dormouse-session@.service");
    let after = values(&session, "After");
    assert!(["user@%i.service", "dormouse-logins.target"].iter().all(|name| after.contains(name)), "{after:?}");
    assert_eq!([value(&session, "BindsTo"), value(&session, "KillMode")], ["user@%i.service", "process"]);
    assert_eq!([value(&session, "Type"), value(&session, "RemainAfterExit")], ["oneshot", "yes"]);
    for scope in ["session-.scope", "app-dormouse-.scope"] {
        assert_eq!(value(&unit(&format!("{scope}.d/50-dormouse.conf")), "Before"), "dormouse-logins.target");
    }
    assert_eq!(value(&unit("user@.service.d/50-dormouse.conf"), "Wants"), "dormouse-session@%i.service");
    assert!(!session.contains("[Install]"), "every login has it; whether it does anything is each user's choice");
}

#[test]
fn the_command_understands_what_the_units_say() {
    let installed = Installed::new();
    let session = read(&installed.path("lib/systemd/system/dormouse-session@.service"));
    for (key, what) in [("ExecStart", "thaw"), ("ExecStop", "freeze")] {
        let line = value(&session, key).strip_prefix("-/usr/bin/dormouse ").unwrap_or_default();
        let words: Vec<&str> = line.split(' ').map(|word| if word == "%i" { "61999" } else { word }).collect();
        assert_eq!(words[..2], ["session", what]);
        let said = run(Command::new(command::path()).args(&words));
        // It has been understood: there is no such user.
        assert!(!said.succeeded && said.err.contains("61999"), "{said:?}");
    }
}

#[test]
fn nothing_in_the_unit_would_stay_with_what_is_woken() {
    let installed = Installed::new();
    let unit = read(&installed.path("lib/systemd/system/dormouse.service"));
    let lines = unit.lines().filter(|line| !line.starts_with(['#', '[']));
    let keys: BTreeSet<&str> = lines.filter_map(|line| line.split_once('=')).map(|(key, _)| key).collect();
    let mut known = BTreeSet::from(HARMLESS);
    known.insert("RuntimeDirectoryPreserve");
    assert_eq!(keys, known);
    // What has been woken outlives the service, and so does what is known of who is paused.
    assert_eq!([value(&unit, "KillMode"), value(&unit, "OOMPolicy")], ["process", "continue"]);
    assert_eq!(value(&unit, "RuntimeDirectoryPreserve"), "yes");
}

#[test]
fn the_bus_and_systemd_start_the_same() {
    let installed = Installed::new();
    let unit = read(&installed.path("lib/systemd/system/dormouse.service"));
    let service = read(&installed.share(&format!("dbus-1/system-services/{SERVICE}.service")));
    assert_eq!([value(&service, "Name"), value(&unit, "BusName")], [SERVICE; 2]);
    assert_eq!([value(&service, "Exec"), value(&unit, "ExecStart")], ["/usr/bin/dormouse serve"; 2]);
    assert_eq!([value(&service, "SystemdService"), value(&service, "User")], ["dormouse.service", "root"]);
}

#[test]
fn the_scripts_of_the_package_can_be_read() {
    for name in ["postinst", "postrm", "prerm"] {
        run(Command::new("sh").arg("-n").arg(workspace().join("data/debian").join(name))).expect_silence();
    }
}
