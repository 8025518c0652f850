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
