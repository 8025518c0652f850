//! What a process uses, as the kernel counts it.

use std::fs;
use std::time::Duration;

use super::done;

/// The processor time of all its threads that still run, from schedstat, Documentation/scheduler/sched-stats.rst.
pub fn processor(pid: i32) -> Duration {
    let tasks = done(fs::read_dir(format!("/proc/{pid}/task"))).flatten();
    let used = tasks.filter_map(|task| {
        let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        schedstat.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(used.sum())
}

/// Percent of one processor that it uses while `meanwhile` runs.
pub fn percent(pid: i32, meanwhile: impl FnOnce()) -> f64 {
    let (before, begin) = (processor(pid), std::time::Instant::now());
    meanwhile();
    let used = processor(pid).saturating_sub(before);
    used.as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0
}

/// How much of it is in memory, and how much of that is its own alone: MiB, from smaps_rollup, proc_pid_smaps(5).
pub fn memory(pid: i32) -> (f64, f64) {
    let rollup = done(fs::read_to_string(format!("/proc/{pid}/smaps_rollup")));
    let of = |name: &str| -> f64 {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.trim_matches([':', ' ']).strip_suffix(" kB")?.trim().parse::<f64>().ok());
        kib.unwrap_or_else(|| panic!("there is no {name} in {rollup}")) / 1024.0
    };
    (of("Rss"), of("Private_Clean") + of("Private_Dirty"))
}
