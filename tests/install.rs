//! `make install` and `make uninstall`: every file lands in its place, and goes away again. `data/` looks into the files.
#![allow(missing_docs, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::command;

/// Runs a goal of the Makefile with the command that the tests have, so that nothing is built; it stands in for the app, too.
fn make(goal: &str, prefix: &str, place: &Path) {
    let mut make = Command::new("make");
    make.args(["-C", concat!(env!("CARGO_MANIFEST_DIR"), "/.."), goal, "SOURCES="]).arg(format!("PREFIX={prefix}"));
    let command = command::path().display().to_string();
    make.arg(format!("DESTDIR={}", place.display())).args([format!("BINARY={command}"), format!("APP={command}")]);
    let output = make.output().unwrap_or_else(|error| panic!("make: {error}"));
    assert!(output.status.success(), "make {goal}:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// What belongs to the service and to the app, besides the programs.
const DATA: [&str; 25] = [
    "lib/systemd/system/app-dormouse-.scope.d/50-dormouse.conf",
    "lib/systemd/system/dormouse-logins.target",
    "lib/systemd/system/dormouse-session@.service",
    "lib/systemd/system/dormouse.service",
    "lib/systemd/system/session-.scope.d/50-dormouse.conf",
    "lib/systemd/system/user@.service.d/50-dormouse.conf",
    "share/applications/io.github.dormouse.Dormouse.desktop",
    "share/dbus-1/interfaces/io.github.dormouse.Dormouse1.Groups.xml",
    "share/dbus-1/interfaces/io.github.dormouse.Dormouse1.Images.xml",
    "share/dbus-1/interfaces/io.github.dormouse.Dormouse1.Job.xml",
    "share/dbus-1/interfaces/io.github.dormouse.Dormouse1.Service.xml",
    "share/dbus-1/services/io.github.dormouse.Dormouse.service",
    "share/dbus-1/system-services/io.github.dormouse.Dormouse1.service",
    "share/dbus-1/system.d/io.github.dormouse.Dormouse1.conf",
    "share/glib-2.0/schemas/io.github.dormouse.Dormouse.gschema.xml",
    "share/icons/hicolor/scalable/apps/io.github.dormouse.Dormouse.svg",
    "share/icons/hicolor/scalable/mimetypes/io.github.dormouse.Dormouse-image.svg",
    "share/icons/hicolor/symbolic/apps/io.github.dormouse.Dormouse-symbolic.svg",
    "share/locale/de/LC_MESSAGES/dormouse.mo",
    "share/locale/es/LC_MESSAGES/dormouse.mo",
    "share/locale/fr/LC_MESSAGES/dormouse.mo",
    "share/locale/zh_CN/LC_MESSAGES/dormouse.mo",
    "share/metainfo/io.github.dormouse.Dormouse.metainfo.xml",
    "share/mime/packages/io.github.dormouse.Dormouse.xml",
    "share/polkit-1/actions/io.github.dormouse.Dormouse1.policy",
];

/// All files below a folder, with their permissions.
fn files(folder: &Path) -> BTreeSet<(PathBuf, u32)> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap_or_else(|error| panic!("{error}")));
        if kind.is_dir() {
            found.extend(files(&path));
        } else {
            let mode = entry.metadata().map_or(0, |found| found.permissions().mode() & 0o7777);
            found.insert((path, mode));
        }
    }
    found
}

#[test]
fn what_is_installed_works_and_is_removed_again() {
    let place = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let below = |name: &str| place.path().join("usr").join(name);
    let others = [below("bin/other"), below("share/man/man1/other.1")];
    for other in &others {
        fs::create_dir_all(other.parent().unwrap_or(other)).unwrap_or_else(|error| panic!("{error}"));
        fs::write(other, "of another package").unwrap_or_else(|error| panic!("{error}"));
    }
    let before = files(place.path());
    make("install", "/usr", place.path());

    let command = below("bin/dormouse");
    let help = Command::new(&command).arg("help").output().unwrap_or_else(|error| panic!("{error}"));
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let listed = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let subcommands = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let subcommands: BTreeSet<&str> = subcommands.filter(|name| !["", "help"].contains(name)).collect();
    assert!(subcommands.contains("freeze") && subcommands.contains("thaw"), "{help}");
    let page = |name: &str| (below(&format!("share/man/man1/{name}.1")), 0o644);
    let mut expected: BTreeSet<_> = subcommands.iter().map(|name| page(&format!("dormouse-{name}"))).collect();
    // One that has subcommands of its own has a page for each of them, too.
    let of_sessions = ["freeze", "thaw", "status", "enable", "disable"];
    expected.extend(of_sessions.map(|name| page(&format!("dormouse-session-{name}"))));
    expected.extend([
        (command, 0o755),
        page("dormouse"),
        (below("share/bash-completion/completions/dormouse"), 0o644),
        (below("share/zsh/site-functions/_dormouse"), 0o644),
        (below("share/fish/vendor_completions.d/dormouse.fish"), 0o644),
        (below("bin/dormouse-app"), 0o755),
    ]);
    expected.extend(DATA.iter().map(|name| (below(name), 0o644)));
    expected.extend(before.clone());
    let installed = files(place.path());
    let missing: Vec<_> = expected.difference(&installed).collect();
    assert!(missing.is_empty(), "these are not there, or have other permissions: {missing:?}");
    let hidden: Vec<_> = installed.difference(&expected).collect();
    assert!(hidden.is_empty(), "these are there and belong to nothing: {hidden:?}");
    for (path, _) in installed.difference(&before) {
        let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let says = text.windows(8).any(|word| word == b"dormouse");
        assert!(says, "{} says nothing of the command", path.display());
    }

    make("uninstall", "/usr", place.path());
    assert_eq!(files(place.path()), before, "left after `make uninstall`, or taken from others");
}

/// Neither the message bus nor polkit reads all of what they need below `/usr/local`.
#[test]
fn below_another_prefix_the_system_finds_the_service_all_the_same() {
    for (prefix, system) in [("/usr/local", "usr/local"), ("/opt/dormouse", "usr/local")] {
        let place = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        make("install", prefix, place.path());
        let unit = place.path().join(system).join("lib/systemd/system/dormouse.service");
        let service =
            place.path().join(system).join("share/dbus-1/system-services/io.github.dormouse.Dormouse1.service");
        for file in [unit, service] {
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert!(text.contains(&format!("={prefix}/bin/dormouse serve\n")), "{}:\n{text}", file.display());
        }
        let here = |name: &str| place.path().join(name).is_file();
        assert!(here("etc/dbus-1/system.d/io.github.dormouse.Dormouse1.conf"));
        assert!(here("usr/share/polkit-1/actions/io.github.dormouse.Dormouse1.policy"));
        make("uninstall", prefix, place.path());
        assert_eq!(files(place.path()), BTreeSet::new(), "left after `make uninstall`");
    }
}
