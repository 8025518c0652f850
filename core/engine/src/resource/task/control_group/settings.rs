//! What can be set in a control group and is set again in one that has been made anew:
//! Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.

// zoo: no kind

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::hierarchies::{Folder, Hierarchies};
use super::{ControlGroup, is_unit};
use crate::proc::text;

/// Something that is set in a control group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlSetting {
    /// The file, such as `memory.max`.
    pub name: String,
    /// What is written to it.
    pub value: ByteBuf,
}

impl ControlSetting {
    /// Whether it is one that can be set, in cgroup v2 or in v1.
    pub fn is_known(&self, unified: bool) -> bool {
        let limit = if self.name == DEVICES { 1 << 16 } else { 1 << 12 };
        let known = table(unified).iter().any(|known| known.name == self.name);
        let devices = !unified && self.name == DEVICES;
        (known || devices) && self.value.len() <= limit && !self.value.contains(&0)
    }

    /// Sets it in a group that has just been made.
    pub fn restore(&self, folder: &Folder) -> crate::kernel::Answer<()> {
        if self.name != DEVICES {
            return folder.write(&self.name, &self.value);
        }
        // What is not allowed any more is taken first, and then given one by one.
        folder.write("devices.deny", b"a")?;
        text::lines(&self.value).try_for_each(|line| folder.write("devices.allow", line))
    }
}

/// How a new group has something.
#[derive(Clone, Copy, Debug)]
enum Fresh {
    /// Like this.
    Is(&'static str),
    /// Without a limit: `max`, -1, or more than there can be.
    Unlimited,
    /// Like the group above it.
    AsAbove,
}

/// What can be set.
#[derive(Clone, Copy, Debug)]
struct Known {
    name: &'static str,
    fresh: Fresh,
}

const fn known(name: &'static str, fresh: Fresh) -> Known {
    Known { name, fresh }
}

use Fresh::{AsAbove, Is, Unlimited};

/// In cgroup v2. What decides on what else there is comes first, but for `cgroup.subtree_control`, which is for those below.
const UNIFIED: [Known; 32] = [
    known("cgroup.type", Is("domain")),
    known("cgroup.max.depth", Unlimited),
    known("cgroup.max.descendants", Unlimited),
    known("cpuset.cpus", Is("")),
    known("cpuset.mems", Is("")),
    known("cpuset.cpus.exclusive", Is("")),
    known("cpuset.cpus.partition", Is("member")),
    known("cpu.weight", Is("100")),
    known("cpu.max", Is("max 100000")),
    known("cpu.max.burst", Is("0")),
    known("cpu.uclamp.min", Is("0.00")),
    known("cpu.uclamp.max", Is("max")),
    known("cpu.idle", Is("0")),
    known("memory.min", Is("0")),
    known("memory.low", Is("0")),
    known("memory.high", Unlimited),
    known("memory.max", Unlimited),
    known("memory.swap.high", Unlimited),
    known("memory.swap.max", Unlimited),
    known("memory.zswap.max", Unlimited),
    known("memory.zswap.writeback", AsAbove),
    known("memory.oom.group", Is("0")),
    known("pids.max", Unlimited),
    known("io.weight", Is("default 100")),
    known("io.bfq.weight", Is("default 100")),
    known("io.prio.class", Is("no-change")),
    known("hugetlb.2MB.max", Unlimited),
    known("hugetlb.2MB.rsvd.max", Unlimited),
    known("hugetlb.1GB.max", Unlimited),
    known("hugetlb.1GB.rsvd.max", Unlimited),
    known("cgroup.pressure", Is("1")),
    known("cgroup.subtree_control", Is("")),
];

/// In cgroup v1. A limit on memory and swap together cannot be below that on memory alone.
const OLD: [Known; 38] = [
    known("cgroup.clone_children", AsAbove),
    known("notify_on_release", AsAbove),
    known("cpuset.cpus", Is("")),
    known("cpuset.mems", Is("")),
    known("cpuset.cpu_exclusive", Is("0")),
    known("cpuset.mem_exclusive", Is("0")),
    known("cpuset.mem_hardwall", Is("0")),
    known("cpuset.memory_migrate", Is("0")),
    known("cpuset.memory_spread_page", AsAbove),
    known("cpuset.memory_spread_slab", AsAbove),
    known("cpuset.sched_load_balance", Is("1")),
    known("cpuset.sched_relax_domain_level", Is("-1")),
    known("cpu.rt_period_us", Is("1000000")),
    known("cpu.rt_runtime_us", Is("0")),
    known("cpu.shares", Is("1024")),
    known("cpu.cfs_period_us", Is("100000")),
    known("cpu.cfs_quota_us", Unlimited),
    known("cpu.cfs_burst_us", Is("0")),
    known("cpu.uclamp.min", Is("0.00")),
    known("cpu.uclamp.max", Is("max")),
    known("cpu.idle", Is("0")),
    known("memory.limit_in_bytes", Unlimited),
    known("memory.memsw.limit_in_bytes", Unlimited),
    known("memory.soft_limit_in_bytes", Unlimited),
    known("memory.kmem.limit_in_bytes", Unlimited),
    known("memory.kmem.tcp.limit_in_bytes", Unlimited),
    known("memory.swappiness", AsAbove),
    known("memory.oom_control", Is("0")),
    known("memory.move_charge_at_immigrate", Is("0")),
    known("pids.max", Unlimited),
    known("blkio.weight", Is("500")),
    known("blkio.bfq.weight", Is("100")),
    known("net_cls.classid", Is("0")),
    known("hugetlb.2MB.limit_in_bytes", Unlimited),
    known("hugetlb.2MB.rsvd.limit_in_bytes", Unlimited),
    known("hugetlb.1GB.limit_in_bytes", Unlimited),
    known("hugetlb.1GB.rsvd.limit_in_bytes", Unlimited),
    known("blkio.prio.class", Is("no-change")),
];

/// Which devices may be used: said in one file, and set by two others.
const DEVICES: &str = "devices.list";

/// A limit on processes and threads, which systemd sets for each of its units.
const TASKS: &str = "pids.max";

/// Limits on single disks and other devices, which have other numbers and names after a restart.
const OF_DEVICES: [&str; 11] = [
    "io.max",
    "io.latency",
    "blkio.throttle.read_bps_device",
    "blkio.throttle.write_bps_device",
    "blkio.throttle.read_iops_device",
    "blkio.throttle.write_iops_device",
    "blkio.weight_device",
    "blkio.bfq.weight_device",
    "dmem.max",
    "misc.max",
    "rdma.max",
];

fn table(unified: bool) -> &'static [Known] {
    if unified { &UNIFIED } else { &OLD }
}

/// Adds what is set in a group to its record.
pub fn capture(hierarchies: &Hierarchies, record: &mut ControlGroup) {
    let Some((mut above, names)) = hierarchies.way(record) else { return };
    let Some((last, before)) = names.split_last() else { return };
    let most = most_tasks(above.read(TASKS).as_deref());
    for name in before {
        let Ok(next) = above.below(name) else { return };
        above = next;
    }
    let Ok(folder) = above.below(last) else { return };
    let mut settings = Vec::new();
    for known in table(record.controllers.is_empty()) {
        let Some(value) = folder.read(known.name).and_then(|text| meant(known.name, &text)) else { continue };
        let above = || above.read(known.name).and_then(|text| meant(known.name, &text));
        let usual = known.name == TASKS && is_unit(last) && is_usual(&value, most);
        if !usual && !known.fresh.is(&value, above) {
            settings.push(ControlSetting { name: known.name.to_owned(), value: ByteBuf::from(value) });
        }
    }
    if let Some(allowed) = folder.read(DEVICES)
        && above.read(DEVICES).is_some_and(|above| above != allowed)
    {
        settings.push(ControlSetting { name: DEVICES.to_owned(), value: ByteBuf::from(allowed) });
    }
    let is_limit = |line: &[u8]| text::words(line).skip(1).any(|word| !word.ends_with(b"max"));
    let is_set = |name: &&&str| folder.read(name).is_some_and(|text| text::lines(&text).any(is_limit));
    let mut unkept: Vec<String> = OF_DEVICES.iter().filter(is_set).map(|name| (*name).to_owned()).collect();
    let of_several = |name: &&&str| folder.read(name).is_some_and(|text| text::lines(&text).count() > 1);
    unkept.extend(["io.weight", "io.bfq.weight"].iter().filter(of_several).map(|name| (*name).to_owned()));
    (record.settings, record.unkept) = (settings, unkept);
}

/// How many processes and threads the machine can have; `root`: what the root of the hierarchy says of it, in a container.
fn most_tasks(root: Option<&[u8]>) -> Option<u64> {
    let kernel = |name: &str| std::fs::read(format!("/proc/sys/kernel/{name}")).ok();
    let limits = [kernel("pid_max"), kernel("threads-max"), root.map(<[u8]>::to_vec)];
    limits.into_iter().flatten().filter_map(|text| text::decimal(text.trim_ascii())).min()
}

/// Whether a unit has the limit that systemd gives units of whose number of tasks nobody has said anything: a share of what the machine
/// can have, systemd-system.conf(5) (`DefaultTasksMax=`) and, for the slice of a user, `user-.slice.d/10-defaults.conf`.
/// Wherever the group is woken, it has such a share as well.
fn is_usual(value: &[u8], most: Option<u64>) -> bool {
    let (Some(value), Some(most)) = (text::decimal::<u64>(value), most) else { return false };
    // Shares are rounded in several ways.
    [15, 33].into_iter().any(|percent| value.abs_diff(most.saturating_mul(percent) / 100) <= 1)
}

/// What is to be written for a file to say this; none: nothing.
fn meant(name: &str, text: &[u8]) -> Option<Vec<u8>> {
    let first_word = || text::words(text).next().unwrap_or_default().to_vec();
    match name {
        // A parent of threaded groups becomes what it is by them.
        "cgroup.type" => Some(if text == b"threaded" { text.to_vec() } else { b"domain".to_vec() }),
        "cgroup.subtree_control" => {
            let added: Vec<Vec<u8>> = text::words(text).map(|name| [b"+", name].concat()).collect();
            Some(added.join(&b' '))
        }
        // Of a group that runs only where nobody else does; it cannot be set.
        "cpu.weight" => (text != b"0").then(|| text.to_vec()),
        "cpuset.cpus.partition" => Some(first_word()),
        // The line for all devices.
        "io.weight" | "io.bfq.weight" => text::lines(text).next().map(<[u8]>::to_vec),
        "memory.oom_control" => {
            text::lines(text).find_map(|line| line.strip_prefix(b"oom_kill_disable ")).map(<[u8]>::to_vec)
        }
        _ => Some(text.to_vec()),
    }
}

impl Fresh {
    fn is(self, value: &[u8], above: impl FnOnce() -> Option<Vec<u8>>) -> bool {
        /// Limits in bytes are rounded to pages, and those on huge pages to huge ones.
        const MORE_THAN_THERE_CAN_BE: i64 = 1 << 62;
        match self {
            Self::Is(fresh) => value == fresh.as_bytes(),
            Self::AsAbove => above().is_none_or(|above| above == value),
            Self::Unlimited => {
                let number = text::decimal::<i64>(value);
                value == b"max" || number.is_some_and(|number| !(0..MORE_THAN_THERE_CAN_BE).contains(&number))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_new_group_has_is_not_set() {
        let nothing = || None;
        for unlimited in [&b"max"[..], b"-1", b"9223372036854771712", b"9223372036852678656"] {
            assert!(Unlimited.is(unlimited, nothing), "{unlimited:?}");
        }
        assert!(!Unlimited.is(b"0", nothing) && !Unlimited.is(b"67108864", nothing));
        assert!(AsAbove.is(b"60", || Some(b"60".to_vec())) && !AsAbove.is(b"60", || Some(b"1".to_vec())));
    }

    #[test]
    fn a_share_of_the_machine_is_what_systemd_gives_by_itself() {
        assert!(is_usual(b"1150", Some(7671)) && is_usual(b"2531", Some(7671)) && is_usual(b"2532", Some(7671)));
        assert!(!is_usual(b"100", Some(7671)) && !is_usual(b"max", Some(7671)) && !is_usual(b"0", None));
        assert_eq!(most_tasks(Some(b"10")), Some(10));
        assert!(most_tasks(None).is_some_and(|most| most > 300) && most_tasks(Some(b"max")) == most_tasks(None));
    }

    #[test]
    fn some_files_are_written_otherwise_than_they_read() {
        assert_eq!(meant("cgroup.subtree_control", b"cpu memory"), Some(b"+cpu +memory".to_vec()));
        assert_eq!(meant("cgroup.type", b"domain threaded"), Some(b"domain".to_vec()));
        assert_eq!(meant("memory.oom_control", b"oom_kill_disable 1\nunder_oom 0"), Some(b"1".to_vec()));
        assert_eq!(meant("io.weight", b"default 200\n8:0 300"), Some(b"default 200".to_vec()));
        assert_eq!(meant("cpu.weight", b"0"), None);
    }
}
