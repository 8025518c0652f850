//! A network namespace in which there is only the loopback device, network_namespaces(7), netdevice(7).

// zoo: none, because a group with namespaces of its own is no program: see tests/capsules

use std::os::unix::ffi::OsStrExt;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use crate::kernel::{Errno, inet};
use crate::proc::{self, mountinfo};

/// The loopback device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loopback {
    /// It is up.
    pub up: bool,
}

const LOOPBACK: &str = "lo";
/// What modules of the kernel put into every network namespace, and what is nothing while it is down.
const OF_THE_KERNEL: [&str; 9] =
    ["tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"];

fn unread(errno: Errno) -> Problem {
    Problem::blocks(ProblemKind::Namespace, phrase!("its network cannot be looked at: {why}", why = errno.desc()))
}

/// What of the network of this process cannot be given back.
pub fn judge() -> Vec<Problem> {
    let mut problems = Vec::new();
    let devices = match proc::read_system("thread-self/net/dev") {
        Ok(devices) => devices,
        Err(error) => return vec![Problem::blocks(ProblemKind::Namespace, error.said())],
    };
    for name in names(&devices) {
        let idle = OF_THE_KERNEL.contains(&name.as_str()) && inet::is_up(&name) == Ok(false);
        if name != LOOPBACK && !idle {
            let what = phrase!("its network namespace has a device of its own, which cannot be given back yet");
            let problem = Problem::blocks(ProblemKind::Namespace, what).at(phrase!("network device {name}", name));
            problems.push(problem.way_out(phrase!("Take the device away first, or pause the group instead")));
        }
    }
    match inet::addresses() {
        Err(errno) => problems.push(unread(errno)),
        Ok(addresses) => {
            let usual = ["127.0.0.1", "::1"];
            for (device, address) in addresses
                .iter()
                .filter(|(device, address)| device == LOOPBACK && !usual.contains(&address.to_string().as_str()))
            {
                let what =
                    phrase!("the device {device} of its network has an address more: {address}", device, address);
                problems.push(Problem::loses(ProblemKind::Namespace, what, phrase!("that address")));
            }
        }
    }
    problems.extend(losses());
    problems
}

/// What else of it is not kept, and can be seen.
fn losses() -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut lose = |what: Phrase, loss: Phrase| problems.push(Problem::loses(ProblemKind::Namespace, what, loss));
    // One line of headings.
    if proc::read_system("thread-self/net/route").is_ok_and(|routes| routes.split(|byte| *byte == b'\n').count() > 2) {
        lose(phrase!("its network namespace has routes of its own"), phrase!("those routes"));
    }
    if proc::read_system("thread-self/net/ipv6_route").is_ok_and(|routes| has_own_ipv6_routes(&routes)) {
        lose(phrase!("its network namespace has IPv6 routes of its own"), phrase!("those routes"));
    }
    let has_old_ones = |list: &str| proc::read_system(list).is_ok_and(|tables| !tables.is_empty());
    // A module for another network may not be there, and a kernel that does not answer has none.
    let has_filters = inet::has_packet_filters().unwrap_or(false);
    if has_filters
        || ["thread-self/net/ip_tables_names", "thread-self/net/ip6_tables_names"].into_iter().any(has_old_ones)
    {
        lose(phrase!("its network namespace has packet filters of its own (nft, iptables)"), phrase!("those filters"));
    }
    if let Some(place) = kept_at() {
        let what = phrase!(
            "its network namespace lives on without it at {place} (ip netns): it comes back in another one, which looks the same",
            place
        );
        lose(what, phrase!("that it is the same one"));
    }
    problems
}

/// Where it is mounted, and lives on without any process in it, network_namespaces(7).
fn kept_at() -> Option<String> {
    let own = std::fs::read_link("/proc/thread-self/ns/net").ok()?;
    let mounts = proc::parsed_system("thread-self/mountinfo", mountinfo::parse).ok()?;
    let mount = mounts.iter().find(|mount| mount.filesystem == b"nsfs" && mount.root == own.as_os_str().as_bytes())?;
    Some(String::from_utf8_lossy(&mount.mount_point).escape_debug().to_string())
}

/// Whether a list of routes, proc_pid_net(5), has any but those that the kernel makes for the loopback device by itself: to addresses of
/// its own (RTF_LOCAL, RTF_ANYCAST), to nowhere (with the last of all metrics), to ::1, and to multicast.
fn has_own_ipv6_routes(routes: &[u8]) -> bool {
    const BY_ITSELF: u64 = 0x8000_0000 | 0x0010_0000;
    let text = String::from_utf8_lossy(routes);
    let is_own = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let flags = words.get(8).and_then(|flags| u64::from_str_radix(flags, 16).ok());
        let usual = words.first().is_some_and(|to| to.starts_with("ff") || *to == "00000000000000000000000000000001");
        let nowhere = words.get(5) == Some(&"ffffffff");
        flags.is_some_and(|flags| flags & BY_ITSELF == 0) && !usual && !nowhere
    };
    text.lines().any(is_own)
}

/// The names of the devices in proc_pid_net(5), `dev`.
fn names(devices: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(devices);
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect()
}

impl Loopback {
    /// That of this process.
    pub fn here() -> Result<Self, Problem> {
        Ok(Self { up: inet::is_up(LOOPBACK).map_err(unread)? })
    }

    /// Makes that of this process, whose network must be its own, the same.
    pub fn restore(self) -> Result<(), Problem> {
        if !self.up {
            return Ok(());
        }
        inet::bring_up(LOOPBACK).map_err(|errno| {
            let what = phrase!("the loopback device of its network cannot be brought up: {why}", why = errno.desc());
            Problem::blocks(ProblemKind::Namespace, what).way_out(phrase!("Run Dormouse as root"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_the_loopback_device_itself_do_not_count() {
        let nothing = "00000000000000000000000000000000";
        let line = |to: &str, metric: &str, flags: &str| {
            format!("{to} 40 {nothing} 00 {nothing} {metric} 00000001 00000000 {flags}       lo\n").into_bytes()
        };
        let own = "20010db8000000000000000000000000";
        assert!(has_own_ipv6_routes(&line(own, "00000400", "00200200")));
        assert!(!has_own_ipv6_routes(&line("00000000000000000000000000000001", "00000000", "80200001")));
        assert!(!has_own_ipv6_routes(&line(nothing, "ffffffff", "00200200")));
        assert!(!has_own_ipv6_routes(b""));
    }

    #[test]
    fn devices_are_read_from_their_table() {
        let table = b"Inter-|   Receive\n face |bytes\n    lo: 10 1 0\n  eth0:7 1\n";
        assert_eq!(names(table), ["lo", "eth0"]);
        assert!(names(&proc::read_system("thread-self/net/dev").unwrap_or_default()).contains(&"lo".to_owned()));
    }
}
