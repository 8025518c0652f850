//! A browser whose processes are confined by seccomp.

use std::fs;

use dormouse_wire::{Pid, ProblemKind, Strength};

use crate::said::Said;
use crate::scene::{Scene, check_until, done, group_of, has_own};

/// The process that shows the page.
fn content(said: &Said) -> Result<Pid, String> {
    let found = said.checked.processes.iter().find(|process| process.comm == "file:// Content");
    found.map(|process| process.pid).ok_or_else(|| "it shows no page".to_owned())
}

#[test]
fn firefox_is_one_group_with_its_confined_processes() {
    let mut scene = Scene::new();
    let page = scene.home().join("page.html");
    done(fs::write(&page, "<title>Page</title>Hello"));
    // One that is missing would be asked for, in a dialog that nobody sees.
    let profile = scene.folder("profile");
    let mut firefox = scene.program("firefox-esr", &["--headless", "--no-remote", "--profile"]);
    let firefox = scene.start(firefox.arg(&profile).arg(&page));

    let said = check_until(firefox, |said| {
        let pid = content(said)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        if !status.lines().any(|line| line == "Seccomp:\t2") {
            return Err("no filter confines its page".to_owned());
        }
        if let Some(reason) = said.reasons().iter().find(|reason| reason.kind == ProblemKind::Confinement) {
            return Err(format!("a filter stands in the way: {reason:?}"));
        }
        for namespace in ["ipc", "net", "user"] {
            if !has_own(pid, namespace) {
                return Err(format!("its page has no {namespace} namespace of its own"));
            }
        }
        if let Some(reason) = said.reasons().iter().find(|reason| reason.kind == ProblemKind::Namespace) {
            return Err(format!("a namespace stands in the way: {reason:?}"));
        }
        said.has(&["firefox-esr parent forkserver", "forkserver parent file:// Content"])
    });
    let netlink = said.reasons().iter().find(|reason| reason.what.starts_with("it is a netlink socket"));
    assert!(netlink.is_none(), "it is kept: {netlink:?}");
    let ties = said.ties();
    let page = content(&said).unwrap_or_else(|wrong| panic!("{wrong}"));
    for kind in ["unix-socket", "shared-memory"] {
        assert!(said.common(kind, Strength::Strong, &[firefox, page]) > 0, "{kind}: {ties:#?}");
    }
    assert!(said.members().contains(&"crashhelper"), "{:?}", said.members());
    assert!(said.bound_to().is_empty(), "{ties:#?}");
    assert!(said.checked.displays.is_empty(), "{}", said.text);

    let listed = group_of(firefox);
    assert_eq!((listed.name.as_str(), listed.icon.as_deref()), ("Firefox ESR", Some("firefox-esr")));
    assert_eq!(listed.first_pid, firefox);
    assert!(listed.members.iter().any(|member| member.pid == page), "{listed:?}");
}
