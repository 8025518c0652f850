//! What belongs to a process as a whole.

use std::collections::BTreeSet;
use std::fs;

use super::{Collector, descriptors, escaped, memory, threads};
use crate::process::{Stat, live_thread, numbers_in, status};

/// Lines of `status` that are of the moment, or that another fact tells better.
const OF_THE_MOMENT: [&str; 22] = [
    "State",
    "PPid",
    "VmPeak",
    "VmSize",
    "VmHWM",
    "VmRSS",
    "RssAnon",
    "RssFile",
    "RssShmem",
    "VmData",
    "VmStk",
    "VmExe",
    "VmLib",
    "VmPTE",
    "VmSwap",
    "HugetlbPages",
    "SigQ",
    "FDSize",
    "Ngid",
    "voluntary_ctxt_switches",
    "nonvoluntary_ctxt_switches",
    "CoreDumping",
];

/// Fields of proc_pid_stat(5) that a process keeps.
const STAT: [(usize, &str); 16] = [
    (5, "pgrp"),
    (6, "session"),
    (7, "tty_nr"),
    (8, "tpgid"),
    (26, "start_code"),
    (27, "end_code"),
    (28, "start_stack"),
    (38, "exit_signal"),
    (45, "start_data"),
    (46, "end_data"),
    (47, "start_brk"),
    (48, "arg_start"),
    (49, "arg_end"),
    (50, "env_start"),
    (51, "env_end"),
    (52, "exit_code"),
];

/// Files of `/proc/PID` that are compared as they are.
const FILES: [&str; 11] = [
    "cmdline",
    "environ",
    "auxv",
    "limits",
    "oom_score_adj",
    "personality",
    "coredump_filter",
    "timers",
    "cgroup",
    "uid_map",
    "gid_map",
];

/// Files of `/proc/PID` that are symbolic links. A time namespace is the engine's affair.
const LINKS: [&str; 11] = [
    "exe",
    "cwd",
    "root",
    "ns/mnt",
    "ns/pid",
    "ns/net",
    "ns/ipc",
    "ns/uts",
    "ns/user",
    "ns/cgroup",
    "ns/pid_for_children",
];

/// Surveys the collector's process.
pub(super) fn collect(collector: &mut Collector, members: &BTreeSet<i32>) -> Result<(), String> {
    let pid = collector.pid;
    let stat = Stat::of(pid).ok_or_else(|| format!("pid {pid} went away"))?;
    let parent = if members.contains(&stat.ppid()) { stat.ppid().to_string() } else { "outside".to_owned() };
    collector.add("parent", parent);
    collector.add("state", state(stat.state()));
    for (field, name) in STAT {
        collector.add(format!("stat/{name}"), stat.field(field));
    }
    let lines = status(&format!("/proc/{pid}/status")).ok_or_else(|| format!("pid {pid} went away"))?;
    for (name, value) in lines.into_iter().filter(|(name, _)| !OF_THE_MOMENT.contains(&name.as_str())) {
        collector.add(format!("status/{name}"), value);
    }
    let tids = numbers_in(&format!("/proc/{pid}/task"));
    collector.add("threads", format!("{tids:?}"));
    for tid in tids {
        threads::collect(collector, tid);
    }
    let Some(live) = live_thread(pid) else {
        return Ok(());
    };
    collector.live = live;
    for name in LINKS {
        collector.add(name, link(&format!("/proc/{live}/{name}")));
    }
    for name in FILES {
        collect_file(collector, name);
    }
    memory::collect(collector);
    descriptors::collect(collector);
    Ok(())
}

/// Long files of lines become one fact a line, so that a difference reads well.
fn collect_file(collector: &mut Collector, name: &str) {
    let Ok(bytes) = fs::read(format!("/proc/{}/{name}", collector.live)) else {
        return collector.add(name, "(not readable)");
    };
    if name == "limits" {
        for line in String::from_utf8_lossy(&bytes).lines().skip(1) {
            let (limit, values) = line.split_at(26.min(line.len()));
            collector.add(format!("limits/{}", limit.trim()), values.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    } else {
        collector.add(name, escaped(&bytes));
    }
}

/// What a link leads to; why it cannot be read, if it cannot.
pub(super) fn link(path: &str) -> String {
    fs::read_link(path).map_or_else(|error| format!("({error})"), |target| target.to_string_lossy().into_owned())
}

/// Whether it is asleep or just running is of the moment; whether it is stopped or dead is not.
pub(super) fn state(letter: char) -> &'static str {
    match letter {
        'R' | 'S' | 'D' | 'I' => "alive",
        'T' => "stopped",
        't' => "traced",
        'Z' | 'X' => "dead",
        _ => "unknown",
    }
}
