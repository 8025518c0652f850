//! What processes and descriptors share, asked of kcmp(2).

use std::collections::BTreeSet;

use super::{Collector, processes};
use crate::process::{live_thread, numbers_in};

/// kcmp's kinds, `linux/kcmp.h`.
const KCMP_FILE: i32 = 0;
const OF_A_PROCESS: [(i32, &str); 4] = [(1, "memory"), (2, "descriptors"), (3, "directories"), (4, "dispositions")];

/// Gives every process, thread and descriptor of the group a class for each thing it may share.
pub(super) fn collect(collector: &mut Collector, members: &BTreeSet<i32>) {
    let alive: Vec<(i32, i32)> = members.iter().filter_map(|pid| Some((*pid, live_thread(*pid)?))).collect();
    let threads_of = |pid: i32| numbers_in(&format!("/proc/{pid}/task")).into_iter().map(move |tid| (pid, tid));
    for (kind, name) in OF_A_PROCESS {
        let mut classes: Vec<i32> = Vec::new();
        for (pid, tid) in alive.iter().flat_map(|(pid, _)| threads_of(*pid)) {
            let class = class(&mut classes, tid, |one, two| equal(*one, *two, kind, 0, 0));
            collector.pid = pid;
            collector.add(format!("sharing/thread/{tid}/{name}"), format!("class {class}"));
        }
    }
    let mut classes: Vec<(i32, i32, String)> = Vec::new();
    for (pid, live) in alive {
        collector.pid = pid;
        for fd in numbers_in(&format!("/proc/{live}/fd")) {
            let candidate = (live, fd, processes::link(&format!("/proc/{live}/fd/{fd}")));
            // Closed since the folder was read, as the folder's own descriptor is when a test surveys itself.
            if candidate.2.starts_with('(') {
                continue;
            }
            let same = |one: &(i32, i32, String), two: &(i32, i32, String)| {
                one.2 == two.2 && equal(one.0, two.0, KCMP_FILE, one.1, two.1)
            };
            let class = class(&mut classes, candidate, same);
            collector.add(format!("sharing/fd/{fd}"), format!("open file description {class}"));
        }
    }
}

/// The number of the class that `item` belongs to; it founds one when it belongs to none.
fn class<T>(classes: &mut Vec<T>, item: T, same: impl Fn(&T, &T) -> bool) -> usize {
    classes.iter().position(|one| same(one, &item)).unwrap_or_else(|| {
        assert!(same(&item, &item), "kcmp does not answer: {}", std::io::Error::last_os_error());
        classes.push(item);
        classes.len() - 1
    })
}

fn equal(one: i32, two: i32, kind: i32, first: i32, second: i32) -> bool {
    // SAFETY: takes numbers only.
    unsafe { libc::syscall(libc::SYS_kcmp, one, two, kind, i64::from(first), i64::from(second)) == 0 }
}
