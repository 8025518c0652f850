//! A Rust program with threads of the standard library: channels, mutexes, condition variables, parking, thread-locals.

use std::process::Command;

use harness::{Job, User};

as_each_user!(carries_on);

/// Numbers go through a chain of threads, each of which adds one; others take turns, park and are unparked.
const SOURCE: &str = r#"
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

thread_local!(static PASSED: Cell<u64> = const { Cell::new(0) });

fn main() {
    let (first, mut last) = mpsc::sync_channel::<u64>(3);
    let mut links = Vec::new();
    for _ in 0..20 {
        let (into, out) = mpsc::sync_channel(3);
        let from = std::mem::replace(&mut last, out);
        links.push(thread::spawn(move || {
            for number in from {
                PASSED.set(PASSED.get() + 1);
                into.send(number + 1).unwrap();
            }
            PASSED.get()
        }));
    }
    let turn = Arc::new((Mutex::new(0_u32), Condvar::new()));
    let players: Vec<_> = (0..4).map(|own| {
        let turn = Arc::clone(&turn);
        thread::spawn(move || {
            for _ in 0..100 {
                let (now, changed) = &*turn;
                let guard = changed.wait_while(now.lock().unwrap(), |now| *now % 4 != own).unwrap();
                let mut guard = guard;
                *guard += 1;
                changed.notify_all();
                drop(guard);
                thread::sleep(Duration::from_micros(300));
            }
        })
    }).collect();
    let wakings = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&wakings);
    let sleeper = thread::spawn(move || while counted.load(Ordering::Acquire) < 100 {
        thread::park_timeout(Duration::from_millis(50));
        counted.fetch_add(1, Ordering::AcqRel);
    });
    println!("ready");
    let begin = Instant::now();
    let feeder = thread::spawn(move || {
        for number in 0..1500 {
            first.send(number).unwrap();
            if number % 5 == 0 { thread::sleep(Duration::from_micros(500)); }
        }
        while !Path::new("go").exists() { thread::sleep(Duration::from_millis(10)); }
    });
    let sum: u64 = last.iter().inspect(|_| sleeper.thread().unpark()).sum();
    feeder.join().unwrap();
    let passed: u64 = links.into_iter().map(|link| link.join().unwrap()).sum();
    for player in players { player.join().unwrap(); }
    sleeper.join().unwrap();
    println!("{sum} {passed} {} {}", turn.0.lock().unwrap(), begin.elapsed() > Duration::from_millis(100));
}
"#;

fn carries_on(user: User) {
    let mut job = Job::start("threads", user, |folder| {
        let words = ["rustc", "--edition=2024", "-Copt-level=1", "-o", "threads", "main.rs"];
        super::compile(folder, ("main.rs", SOURCE), &words);
        Command::new(folder.join("threads"))
    });
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    // 0 to 1499, each with 20 added.
    assert_eq!(job.end(), "ready\n1154250 30000 400 true\n");
}
