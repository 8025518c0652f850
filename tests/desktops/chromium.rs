//! A browser that confines its own processes with namespaces and seccomp.

use std::collections::BTreeMap;
use std::fs;

use dormouse_wire::{Pid, ProblemKind, Strength};

use crate::said::Said;
use crate::scene::{Scene, check_until, done, group_of, has_own, wait_for};
use crate::sockets;

/// What `--type=` says each process is; the browser itself has none, and its helper another program.
fn kinds(said: &Said) -> BTreeMap<String, Vec<Pid>> {
    let mut kinds = BTreeMap::<String, Vec<Pid>>::new();
    for process in &said.checked.processes {
        let line = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let own = line.split(' ').find_map(|word| word.strip_prefix("--type="));
        let kind = own.unwrap_or(if line.contains("crashpad") { "crashpad" } else { "browser" });
        kinds.entry(kind.to_owned()).or_default().push(process.pid);
    }
    kinds
}

/// Whether seccomp filters confine it; that alone stands in nobody's way.
fn is_filtered(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line == "Seccomp:\t2")
}

/// All kinds of its processes are there; pages are confined by everything, and neither their namespaces nor their filters stand in
/// anybody's way.
fn is_confined(said: &Said) -> Result<(), String> {
    const APART: [&str; 3] = ["net", "pid", "user"];
    let kinds = kinds(said);
    let wanted = ["browser", "crashpad", "renderer", "utility", "zygote"];
    if let Some(kind) = wanted.iter().find(|kind| !kinds.contains_key(**kind)) {
        return Err(format!("there is no {kind}: {kinds:?}"));
    }
    let stands_in_the_way = |kind| [ProblemKind::Confinement, ProblemKind::Namespace].contains(&kind);
    if let Some(reason) = said.reasons().iter().find(|reason| stands_in_the_way(reason.kind)) {
        return Err(format!("its sandbox stands in the way: {reason:?}"));
    }
    let is_free = |pid: &&Pid| !is_filtered(**pid) || APART.iter().any(|namespace| !has_own(**pid, namespace));
    let free = kinds["renderer"].iter().find(is_free);
    free.map_or(Ok(()), |pid| Err(format!("the renderer {pid} is not confined")))
}

#[test]
fn chromium_is_one_group_with_its_confined_processes() {
    let mut scene = Scene::new();
    let page = scene.home().join("page.html");
    done(fs::write(&page, "<title>Page</title>Hello"));
    let profile = format!("--user-data-dir={}", scene.home().join("profile").display());
    let port = scene.home().join("profile/DevToolsActivePort");
    let options = ["--headless", "--disable-gpu", "--remote-debugging-port=0", &profile];
    let mut chromium = scene.program("chromium", &options);
    let browser = scene.start(chromium.arg(&page));
    wait_for(&port);

    let said = check_until(browser, |said| is_confined(said).and_then(|()| sockets::are_told(said)));
    let text = done(fs::read_to_string(&port));
    let serves = format!("service TCP 127.0.0.1:{} served-by chromium", text.lines().next().unwrap_or_default());
    assert_eq!(said.has(&[&serves]), Ok(()));
    let listens = said.reasons().iter().find(|reason| reason.what.contains("that listens"));
    assert!(listens.is_none(), "a socket that listens is kept: {listens:?}");

    let kinds = kinds(&said);
    assert_eq!(kinds["browser"], [browser]);
    let has = ["chromium parent chromium", "chromium maps! shared-memory", "chromium holds! unix-socket"];
    let ties = said.ties();
    assert!(has.iter().all(|start| ties.iter().any(|tie| tie.starts_with(start))), "{ties:#?}");
    for renderer in &kinds["renderer"] {
        assert!(said.common("shared-memory", Strength::Strong, &[browser, *renderer]) > 0, "{renderer}: {ties:#?}");
        assert!(said.common("unix-socket", Strength::Strong, &[browser, *renderer]) > 0, "{renderer}: {ties:#?}");
    }
    // Its zygotes send their credentials through pairs, which have names by that, and are no services.
    assert!(!ties.iter().any(|tie| tie.contains(" asks service @")), "{ties:#?}");
    assert!(said.bound_to().is_empty(), "{ties:#?}");
    assert!(said.checked.displays.is_empty(), "{}", said.text);

    let listed = group_of(browser);
    assert_eq!((listed.name.as_str(), listed.icon.as_deref()), ("Chromium Web Browser", Some("chromium")));
    assert_eq!(listed.first_pid, browser);
    let listed: Vec<Pid> = listed.members.iter().map(|member| member.pid).collect();
    let of_the_browser = kinds.iter().filter(|(kind, _)| *kind != "crashpad").flat_map(|(_, pids)| pids);
    let missing: Vec<&Pid> = of_the_browser.filter(|pid| !listed.contains(pid)).collect();
    assert!(missing.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()), "{missing:?}");
}
