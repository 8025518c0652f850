//! Which processes belong to a started program: its descendants, and whatever carries its mark in the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::process::{Stat, live_thread, numbers_in};

/// The environment variable that marks every process of a started program; its value is the program's folder.
pub const MARK: &str = "DORMOUSE_TEST_FOLDER";

/// The processes of the group now, the dead ones that nobody has reaped included.
pub fn members(root: i32, folder: &str) -> BTreeSet<i32> {
    let mark = format!("{MARK}={folder}");
    let parents: BTreeMap<i32, i32> =
        numbers_in("/proc").into_iter().filter_map(|pid| Some((pid, Stat::of(pid)?.ppid()))).collect();
    let marked = |pid: &i32| *pid == root || is_marked(*pid, &mark);
    let mut members: BTreeSet<i32> = parents.keys().copied().filter(marked).collect();
    loop {
        let before = members.len();
        members.extend(
            parents.iter().filter(|(_, parent)| members.contains(parent)).map(|(pid, _)| *pid).collect::<Vec<_>>(),
        );
        if members.len() == before {
            return members;
        }
    }
}

/// Reaps those of `pids` that are dead children of this process, and of this process alone.
pub fn reap(pids: &BTreeSet<i32>) {
    for pid in pids {
        let mut status = 0;
        // SAFETY: `status` lives through the call, and WNOHANG keeps it from waiting.
        unsafe { libc::waitpid(*pid, &raw mut status, libc::WNOHANG) };
    }
}

/// Ends what is left of the group, and reaps it.
pub fn end(root: i32, folder: &str, known: &BTreeSet<i32>) {
    let own = std::process::id() as i32;
    for _ in 0..500 {
        let mut pids = members(root, folder);
        pids.extend(known.iter().filter(|pid| Stat::of(**pid).is_some_and(|stat| stat.ppid() == own)));
        if Stat::of(root).is_none_or(|stat| stat.ppid() != own) && !is_marked(root, &format!("{MARK}={folder}")) {
            pids.remove(&root);
        }
        if pids.is_empty() {
            return;
        }
        for pid in &pids {
            // SAFETY: sends a signal to a process that this test has started.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
        reap(&pids);
    }
}

/// Whether a process carries the mark. A leader that has ended has no environment; its other threads still do.
fn is_marked(pid: i32, mark: &str) -> bool {
    fs::read(format!("/proc/{}/environ", live_thread(pid).unwrap_or(pid)))
        .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|one| one == mark.as_bytes()))
}
