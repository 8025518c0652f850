//! Settings of the kernel that each namespace has for itself, sysctl(8): limits of IPC, and the network's.

// zoo: none, because a group with namespaces of its own is no program: see tests/capsules

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::resource::named_file::shown;
use crate::resource::owners::Walk;

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Setting {
    /// Its path below `/proc/sys`.
    pub name: ByteBuf,
    /// Its value, as it is read.
    pub value: ByteBuf,
}

/// Those of an ipc namespace, ipc_namespaces(7), proc_sys_kernel(5), mq_overview(7).
const OF_IPC: [&str; 10] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
    "fs/mqueue/msg_max",
    "fs/mqueue/msgsize_max",
];
/// So many of a network are looked at.
const MOST: usize = 20_000;
/// So long is a value at most, bytes: what is longer is a table, and no setting.
const LONGEST: usize = 4096;

const FOLDER: &str = "/proc/sys";

fn read(name: &Path) -> Option<Setting> {
    let value = std::fs::read(Path::new(FOLDER).join(name)).ok().filter(|value| value.len() <= LONGEST)?;
    Some(Setting { name: ByteBuf::from(name.as_os_str().as_bytes()), value: ByteBuf::from(value) })
}

/// Those of the ipc namespace of this process.
pub fn of_ipc() -> Vec<Setting> {
    OF_IPC.iter().filter_map(|name| read(Path::new(name))).collect()
}

/// Those of its network that can be written.
pub fn of_network() -> Vec<Setting> {
    use std::os::unix::fs::PermissionsExt;
    let (mut found, mut waiting) = (Vec::new(), vec![PathBuf::from("net")]);
    while let Some(name) = waiting.pop() {
        let Ok(inside) = std::fs::read_dir(Path::new(FOLDER).join(&name)) else { continue };
        for inside in inside.flatten() {
            let (name, Ok(metadata)) = (name.join(inside.file_name()), inside.metadata()) else { continue };
            if metadata.is_dir() {
                waiting.push(name);
            } else if metadata.permissions().mode() & 0o600 == 0o600 && found.len() < MOST {
                found.extend(read(&name));
            }
        }
    }
    found.sort();
    found
}

/// Whether it is one that is kept: anything else in /proc/sys belongs to the whole system.
pub fn is_kept(setting: &Setting) -> bool {
    let name = Path::new(std::ffi::OsStr::from_bytes(&setting.name));
    let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
    let of_network = name.starts_with("net") && name.components().count() > 1;
    plain && !setting.name.contains(&0) && (of_network || OF_IPC.iter().any(|own| Path::new(own) == name))
}

/// Whether it is one of a namespace of this kind: any other would be that of somebody else.
pub fn is_of(kind: &str, setting: &Setting) -> bool {
    let of_network = setting.name.starts_with(b"net/");
    is_kept(setting) && (kind == "net" && of_network || kind == "ipc" && !of_network)
}

/// From which group to which one may ping, icmp(7): the numbers of groups outside. Where the first is the higher one, none may.
pub const PING: &str = "net/ipv4/ping_group_range";

/// What that says, if it is that.
pub fn ping_groups(setting: &Setting) -> Option<(u32, u32)> {
    let mut numbers =
        std::str::from_utf8(&setting.value).ok()?.split_ascii_whitespace().map(|number| number.parse().ok());
    let is_it = setting.name == PING.as_bytes();
    is_it.then_some((numbers.next()??, numbers.next()??))
}

/// Leads the group that may ping to the number that it has here, where that is one alone.
pub fn lead(setting: &mut Setting, walk: &mut Walk<'_>) {
    if let Some((before, _)) = ping_groups(setting).filter(|(first, last)| first == last) {
        let mut group = before;
        walk.group(&mut group);
        if group != before {
            setting.value = ByteBuf::from(format!("{group}\t{group}\n"));
        }
    }
}

/// Gives them to the namespaces of this process, which must be its own, where they differ. What a kernel does not take is lost.
pub fn restore(settings: &[Setting]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for setting in settings.iter().filter(|setting| is_kept(setting)) {
        let name = Path::new(std::ffi::OsStr::from_bytes(&setting.name));
        if read(name).is_some_and(|now| now == *setting) {
            continue;
        }
        if let Err(error) = std::fs::write(Path::new(FOLDER).join(name), &setting.value) {
            let what = phrase!("a setting of the kernel cannot be made as it was: {why}", why = error);
            let problem = Problem::loses(ProblemKind::Namespace, what, phrase!("that it differs from the usual"));
            problems.push(problem.at(shown(&Path::new(FOLDER).join(name))));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_of_namespaces_are_kept() {
        let setting = |name: &str| Setting { name: ByteBuf::from(name), value: ByteBuf::from("1\n") };
        for name in ["net/ipv4/ip_forward", "kernel/shmmax", "fs/mqueue/msg_max"] {
            assert!(is_kept(&setting(name)), "{name}");
        }
        for name in ["kernel/core_pattern", "net/../kernel/core_pattern", "/proc/sys/net/x", "net", "", "net/a\0"] {
            assert!(!is_kept(&setting(name)), "{name}");
        }
        assert!(is_of("net", &setting("net/ipv4/ip_forward")) && is_of("ipc", &setting("kernel/shmmax")));
        assert!(!is_of("ipc", &setting("net/ipv4/ip_forward")) && !is_of("uts", &setting("kernel/shmmax")));
    }
}
