//! The descriptors, from `/proc/PID/fd` and proc_pid_fdinfo(5).

use std::fs;
use std::time::Duration;

use super::{Collector, processes};
use crate::process::numbers_in;

/// Surveys the descriptors of the collector's process.
pub(super) fn collect(collector: &mut Collector) {
    let live = collector.live;
    for fd in numbers_in(&format!("/proc/{live}/fd")) {
        let target = processes::link(&format!("/proc/{live}/fd/{fd}"));
        let target = collector.numbers.target(&target);
        collector.add(format!("fd/{fd}/target"), target);
        let text = fs::read(format!("/proc/{live}/fdinfo/{fd}")).unwrap_or_default();
        collect_info(collector, fd, &String::from_utf8_lossy(&text));
    }
}

/// Each line `name: value` is a fact; lines that come several times (`lock`, `tfd`, `inotify`) are numbered.
fn collect_info(collector: &mut Collector, fd: i32, text: &str) {
    let mut count = 0;
    let time = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).and_then(pair);
    let interval = time("it_interval:").unwrap_or_default();
    // The kernel keeps watches in the order of its own addresses.
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_by_key(|line| if line.starts_with("tfd") { line.split(" pos:").next() } else { None });
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let (name, value) = (name.trim(), value.trim());
        let fact = format!("fd/{fd}/{name}");
        match name {
            // A number that the kernel counts for eventfds.
            "eventfd-id" => {}
            "mnt_id" => {
                let number = collector.numbers.of("mount", value);
                collector.add(fact, number);
            }
            "ino" => {
                let number = collector.numbers.of("inode", value);
                collector.add(fact, number);
            }
            "it_value" => collector.add_left(fact, pair(value).unwrap_or_default(), interval),
            "lock" | "tfd" => {
                count += 1;
                let value = if name == "lock" { lock(collector, value) } else { watched(collector, value) };
                collector.add(format!("{fact}/{count}"), value);
            }
            _ if name.starts_with("inotify") || name.starts_with("fanotify") => {
                count += 1;
                collector.add(format!("fd/{fd}/watch/{count}"), line);
            }
            _ => collector.add(fact, value),
        }
    }
}

/// `(seconds, nanoseconds)`.
fn pair(text: &str) -> Option<Duration> {
    let (seconds, nanos) = text.trim().strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    Some(Duration::new(seconds.trim().parse().ok()?, nanos.trim().parse().ok()?))
}

/// `1: POSIX ADVISORY WRITE 359 00:13:11691 0 EOF`: the first number counts lines, the file is named by its numbers.
fn lock(collector: &mut Collector, value: &str) -> String {
    let words: Vec<&str> = value.split_whitespace().skip(1).collect();
    let canonical = |word: &&str| {
        if word.matches(':').count() == 2 { collector.numbers.of("object", word) } else { (*word).to_owned() }
    };
    words.iter().map(canonical).collect::<Vec<_>>().join(" ")
}

/// `5 events: 19 data: 5 pos:0 ino:61 sdev:f`: what an epoll set watches.
fn watched(collector: &mut Collector, value: &str) -> String {
    let words: Vec<&str> = value.split_whitespace().collect();
    let canonical = |word: &&str| match word.split_once(':') {
        Some(("ino", number)) if !number.is_empty() => {
            let number =
                u64::from_str_radix(number, 16).map_or_else(|_| number.to_owned(), |number| number.to_string());
            format!("ino:{}", collector.numbers.of("inode", &number))
        }
        _ => (*word).to_owned(),
    };
    words.iter().map(canonical).collect::<Vec<_>>().join(" ")
}
