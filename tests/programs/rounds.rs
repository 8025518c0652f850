//! Twenty naps in a row of programs that hold much: nothing gathers and nothing goes missing. Descriptors, threads, timers and
//! mappings are as many behind as before, and memory is no more.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use harness::wait::until;
use harness::{Job, User};

const ROUNDS: u32 = 20;

/// What a process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holdings {
    descriptors: usize,
    threads: usize,
    timers: usize,
    /// Neighbours that are alike are joined and split by the kernel as it likes; counted are the pages that each is for, by path.
    mapped: BTreeMap<String, u64>,
    /// Bytes in memory that are its own.
    own: u64,
}

impl Holdings {
    fn of(pid: i32) -> Option<Self> {
        let count = |name: &str| Some(fs::read_dir(format!("/proc/{pid}/{name}")).ok()?.count());
        let text = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let mut mapped = BTreeMap::new();
        for line in text("maps")?.lines() {
            let mut words = line.splitn(6, ' ').map(str::trim);
            let (range, path) = (words.next()?, words.nth(4).unwrap_or_default());
            let (from, to) = range.split_once('-')?;
            let length = u64::from_str_radix(to, 16).ok()? - u64::from_str_radix(from, 16).ok()?;
            *mapped.entry(path.to_owned()).or_default() += length;
        }
        let own = |line: &str| line.strip_prefix("Private_Dirty:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok();
        Some(Self {
            descriptors: count("fd")?,
            threads: count("task")?,
            timers: text("timers")?.lines().filter(|line| line.starts_with("ID:")).count(),
            mapped,
            own: text("smaps_rollup")?.lines().find_map(own)? * 1024,
        })
    }
}

/// What each process of the group holds, once that stays as it is for a moment.
fn holdings(job: &mut Job) -> BTreeMap<i32, Holdings> {
    let mut last = BTreeMap::new();
    let settled = until(Duration::from_secs(20), || {
        std::thread::sleep(Duration::from_millis(300));
        // What scripts start to pass the time comes and goes.
        let passing = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n");
        let members = job.specimen().members().into_iter().filter(|pid| !passing(pid));
        let now: BTreeMap<i32, Holdings> = members.filter_map(|pid| Some((pid, Holdings::of(pid)?))).collect();
        let same = now == last;
        last = now;
        same.then_some(())
    });
    assert!(settled.is_some(), "the group never holds still");
    last
}

/// Naps twenty times; the program is at rest in between.
fn does_not_drift(job: &mut Job) {
    // What a program sets up when it is first used again, it has then.
    job.nap();
    let before = holdings(job);
    job.nap_often(ROUNDS);
    let after = holdings(job);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "the processes");
    for (pid, before) in &before {
        let after = &after[pid];
        let is = Holdings { own: before.own, ..after.clone() };
        assert_eq!(&is, before, "what pid {pid} holds after (left) and before (right)");
        let most = before.own + before.own / 20 + (1 << 20);
        assert!(after.own <= most, "pid {pid} has {} bytes of its own, and had {}", after.own, before.own);
    }
}

#[test]
fn redis_does_not_drift() {
    let port = super::free_port();
    let mut job = Job::script(&["sh"], User::Ordinary, ("redis.sh", super::redis::SCRIPT), &[&port]);
    job.wait_for("ready");
    does_not_drift(&mut job);
}

#[test]
fn postgres_does_not_drift() {
    let mut job = Job::script(
        &["bash"],
        User::Ordinary,
        ("clients.sh", super::postgres::SCRIPT),
        &[&super::postgres::programs()],
    );
    job.wait_for("ready");
    does_not_drift(&mut job);
}

#[test]
fn memcached_does_not_drift() {
    let port = super::free_port();
    let mut job = Job::script(&["python3", "-ISB"], User::Ordinary, ("client.py", super::memcached::SCRIPT), &[&port]);
    job.wait_for("ready");
    does_not_drift(&mut job);
}

#[cfg(feature = "heavy")]
#[test]
fn nginx_does_not_drift() {
    let port = super::free_port();
    let mut job = Job::script(&["python3", "-ISB"], User::Ordinary, ("clients.py", super::nginx::SCRIPT), &[&port]);
    job.wait_for("ready");
    does_not_drift(&mut job);
}

#[cfg(feature = "heavy")]
#[test]
fn ssh_does_not_drift() {
    let mut job = Job::script(&["bash"], User::Root, ("login.sh", super::ssh::SCRIPT), &[&super::free_port()]);
    job.wait_for("ready");
    does_not_drift(&mut job);
}

#[cfg(feature = "heavy")]
#[test]
fn mariadb_does_not_drift() {
    let mut job = Job::script(&["bash"], User::Ordinary, ("clients.sh", super::mariadb::SCRIPT), &[]);
    job.wait_for("ready");
    does_not_drift(&mut job);
}
