//! The launcher, the metainfo, the settings and the MIME type.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::installed::{ID, Installed, done, read, run, value, workspace};

#[test]
fn the_launcher_is_valid_and_what_it_names_is_there() {
    let installed = Installed::new();
    let path = installed.share(&format!("applications/{ID}.desktop"));
    run(Command::new("desktop-file-validate").arg(&path)).expect_silence();

    let text = read(&path);
    let (entry, actions) = text.split_once("\n[Desktop Action ").unwrap_or_else(|| panic!("it has no actions"));
    assert!(installed.share(&format!("icons/hicolor/scalable/apps/{}.svg", value(entry, "Icon"))).is_file());
    assert!(installed.path("bin").join(value(entry, "Exec").trim_end_matches(" %f")).is_file());
    let service = read(&installed.share(&format!("dbus-1/services/{ID}.service")));
    assert_eq!((value(entry, "DBusActivatable"), value(&service, "Name")), ("true", ID));
    assert_eq!(value(&service, "Exec"), "/usr/bin/dormouse-app --gapplication-service");
    // An action is one of the application, by the same name.
    for action in actions.split("\n[Desktop Action ") {
        let (name, rest) = action.split_once("]\n").unwrap_or_else(|| panic!("no name: {action}"));
        assert_eq!(value(rest, "Exec"), format!("gapplication action {ID} {name}"));
    }
}

#[test]
fn the_metainfo_is_valid_and_speaks_of_this_version() {
    let installed = Installed::new();
    let path = installed.share(&format!("metainfo/{ID}.metainfo.xml"));
    run(Command::new("appstreamcli").args(["validate", "--no-net"]).arg(&path)).expect_success();

    let ask = |what: &str| run(Command::new("xmllint").args(["--nonet", "--xpath", what]).arg(&path)).expect_success();
    assert_eq!(ask("string(/component/launchable)"), format!("{ID}.desktop\n"));
    assert_eq!(ask("string(/component/provides/mediatype)"), "application/x-dormouse\n");
    assert_eq!(ask("string(/component/releases/release[1]/@version)").trim(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_settings_compile_and_have_their_defaults() {
    let installed = Installed::new();
    let compiled = installed.room();
    let mut compile = Command::new("glib-compile-schemas");
    compile.arg("--strict").arg("--targetdir").arg(&compiled).arg(installed.share("glib-2.0/schemas"));
    run(&mut compile).expect_silence();

    let mut list = Command::new("gsettings");
    list.arg("--schemadir").arg(&compiled).args(["list-recursively", ID]).env("GSETTINGS_BACKEND", "memory");
    let listed = run(&mut list).expect_success();
    let keys: BTreeSet<&str> = listed.lines().map(|line| line.trim_start_matches(ID).trim_start()).collect();
    let expected = [
        "ask-before-freezing false",
        "compression 'fast'",
        "keep-connections false",
        "keep-files false",
        "run-in-background false",
        "show-everybody false",
        "sort-by 'name'",
        "window-height 640",
        "window-maximized false",
        "window-width 900",
    ];
    assert_eq!(keys, BTreeSet::from(expected));
    let mut range = Command::new("gsettings");
    range.arg("--schemadir").arg(&compiled).args(["range", ID, "sort-by"]).env("GSETTINGS_BACKEND", "memory");
    assert_eq!(run(&mut range).expect_success(), "enum\n'name'\n'memory'\n");
}

/// The bytes that each image begins with, as the format tells them: `89 44 …`.
fn magic() -> Vec<u8> {
    let format = read(&workspace().join("core/FORMAT.md"));
    let line = format.lines().find(|line| line.starts_with("| 0 | 16 | magic | `89 ")).unwrap_or_default();
    let digits = line.split('`').nth(1).unwrap_or_else(|| panic!("the format does not tell"));
    digits.split(' ').map(|byte| done(u8::from_str_radix(byte, 16))).collect()
}

/// The type that a desktop sees in a file, and the icon it shows first.
fn seen(share: &Path, file: &Path) -> (String, String) {
    let mut info = Command::new("gio");
    info.args(["info", "--attributes=standard::content-type,standard::icon"]).arg(file);
    info.env("XDG_DATA_HOME", share).env("XDG_DATA_DIRS", share);
    let said = run(&mut info).expect_success();
    let attribute = |name: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {said}")).split(',').next().unwrap_or_default().to_owned()
    };
    (attribute("standard::content-type"), attribute("standard::icon"))
}

#[test]
fn an_image_is_known_by_its_name_and_by_its_first_bytes() {
    let installed = Installed::new();
    let share = installed.share("");
    run(Command::new("update-mime-database").arg(share.join("mime"))).expect_success();
    let room = installed.room();
    let file = |name: &str, content: &[u8]| {
        let path = room.join(name);
        done(fs::write(&path, content));
        path
    };
    let ours = ("application/x-dormouse".to_owned(), format!("{ID}-image"));
    assert_eq!(seen(&share, &file("a.dormouse", b"some text\n")), ours);
    assert_eq!(seen(&share, &file("without-an-ending", &magic())), ours);
    // The first bytes have to be right, all of them.
    let other = seen(&share, &file("other", b"\x89DORMOUSE\n\n\x1a\n and more"));
    assert_ne!(other.0, ours.0);
    assert!(installed.share(&format!("icons/hicolor/scalable/mimetypes/{ID}-image.svg")).is_file());
    let launcher = read(&installed.share(&format!("applications/{ID}.desktop")));
    assert!(launcher.contains("\nMimeType=application/x-dormouse;\n"), "a double click opens it with nothing");
}
