//! The Flatpak of the app: what it is built from, and what it may do.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::installed::{ID, SERVICE, done, read, run, workspace};

/// The manifest with all its sources, as flatpak-builder understands it.
fn manifest(room: &Path) -> Value {
    let name = format!("{ID}.json");
    done(fs::copy(workspace().join("flatpak").join(&name), room.join(&name)));
    let mut sources = Command::new("awk");
    sources.arg("-f").arg(workspace().join("flatpak/cargo-sources.awk")).arg(workspace().join("Cargo.lock"));
    done(fs::write(room.join("cargo-sources.json"), run(&mut sources).expect_success()));
    let said = run(Command::new("flatpak-builder").args(["--show-manifest", &name]).current_dir(room)).expect_success();
    done(serde_json::from_str(&said))
}

fn texts(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn the_manifest_asks_for_the_service_and_the_tray_and_for_nothing_else() {
    let room = done(tempfile::tempdir());
    let manifest = manifest(room.path());
    let service = format!("--system-talk-name={SERVICE}");
    let expected = BTreeSet::from([
        "--socket=wayland",
        "--socket=fallback-x11",
        "--share=ipc",
        "--device=dri",
        "--talk-name=org.kde.StatusNotifierWatcher",
        &service,
    ]);
    assert_eq!(texts(&manifest["finish-args"]), expected);
    assert_eq!((&manifest["id"], &manifest["command"]), (&Value::from(ID), &Value::from("dormouse-app")));
    // flatpak-builder knows no key that it would not write again: a misspelt one is gone.
    let written: Value = done(serde_json::from_str(&read(&workspace().join(format!("flatpak/{ID}.json")))));
    for (key, value) in written.as_object().into_iter().flatten().filter(|(key, _)| *key != "modules") {
        let same = if value.is_array() { texts(&manifest[key]) == texts(value) } else { manifest[key] == *value };
        assert!(same, "{key} is understood as {}", manifest[key]);
    }
}

#[test]
fn the_sources_are_all_crates_of_the_lock_file() {
    let room = done(tempfile::tempdir());
    let manifest = manifest(room.path());
    let sources = manifest["modules"][0]["sources"].as_array().cloned().unwrap_or_default();
    let known: BTreeSet<&str> = sources.iter().filter_map(|source| source["sha256"].as_str()).collect();
    let lock = read(&workspace().join("Cargo.lock"));
    let locked = lock.lines().filter_map(|line| line.strip_prefix("checksum = \"")?.strip_suffix('"'));
    let locked: BTreeSet<&str> = locked.collect();
    assert!(locked.len() > 50, "the lock file is not read any more");
    assert_eq!(known, locked);
    let vendored = sources.iter().filter(|source| source["dest-filename"] == ".cargo-checksum.json").count();
    assert_eq!(vendored, locked.len(), "cargo takes no folder without a list of checksums");
    assert!(sources.iter().any(|source| source["dest-filename"] == "config.toml"), "cargo is not told of the folder");
}

#[test]
fn a_crate_of_unknown_origin_is_refused_by_name() {
    let room = done(tempfile::tempdir());
    let lock = room.path().join("Cargo.lock");
    done(fs::write(
        &lock,
        "[[package]]\nname = \"stray\"\nversion = \"1.0.0\"\nsource = \"git+https://example.org/stray\"\n",
    ));
    let script = workspace().join("flatpak/cargo-sources.awk");
    let said = run(Command::new("awk").arg("-f").arg(script).arg(&lock));
    assert!(!said.succeeded && said.err.contains("stray"), "{said:?}");
}
