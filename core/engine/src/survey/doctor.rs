//! What the engine takes of the kernel and of its own rights, in one table: each thing is tried, and not told from a version.

use dormouse_wire::doctor::{Ability, Examined, State, Weight};
use dormouse_wire::{FdNumber, Pid, Tid};

use crate::kernel::pagemap::PageMap;
use crate::kernel::ptrace::{self, Options};
use crate::kernel::{
    Answer, Errno, clocks, clone, features, identity, inet, kcmp, netlink, pidfd, repair, seccomp, threads,
};
use crate::proc::{self, maps};
use crate::resource::fd::network::hold;
use crate::resource::memory::vdso::Vdso;

/// What a try comes to; `None`: what it takes is missing itself.
type Tried = Option<Answer<()>>;

struct Row {
    name: &'static str,
    weight: Weight,
    gives: &'static str,
    from: &'static str,
    without: &'static str,
    way_out: &'static str,
    tried: fn(&Trial) -> Tried,
}

const CAP_NET_RAW: u32 = 13;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_RESOURCE: u32 = 24;
const ROOT: &str = "Run Dormouse as root, outside of containers and sandboxes";
const NEWER: &str = "Start the machine with a newer kernel";
const BUILT: &str = "Use a kernel that is built with it, as those of Debian, Fedora and Ubuntu are";

/// All of it, what is needed first.
const TABLE: [Row; 21] = [
    Row {
        name: "own-pids",
        weight: Weight::Needed,
        gives: "processes with the pids they had",
        from: "clone3 with set_tid, Linux 5.5; CAP_CHECKPOINT_RESTORE",
        without: "nothing can be thawed",
        way_out: ROOT,
        tried: |trial| Some(trial.child.map(drop)),
    },
    Row {
        name: "tracing",
        weight: Weight::Needed,
        gives: "processes held still and worked in",
        from: "ptrace; CAP_SYS_PTRACE, kernel.yama.ptrace_scope below 3",
        without: "nothing can be frozen or thawed",
        way_out: "Run Dormouse as root; where it is root, start the machine without kernel.yama.ptrace_scope=3",
        // A child may be traced without it, and a group is no child of ours.
        tried: |trial| trial.stopped.map(|stopped| stopped.and_then(|()| may(CAP_SYS_PTRACE))),
    },
    Row {
        name: "restartable-sequences",
        weight: Weight::Needed,
        gives: "restartable sequences, which the C library registers in every thread",
        from: "PTRACE_GET_RSEQ_CONFIGURATION, Linux 5.13",
        without: "nothing can be frozen",
        way_out: NEWER,
        tried: |trial| trial.of_stopped(|tid| ptrace::restartable_sequences(tid).map(drop)),
    },
    Row {
        name: "comparing",
        weight: Weight::Needed,
        gives: "what processes share: memory, files, tables of descriptors",
        from: "kcmp, CONFIG_KCMP",
        without: "what is one thing would become several",
        way_out: BUILT,
        tried: |_| {
            Some(
                kcmp::files((own().leader(), FdNumber(0)), (own().leader(), FdNumber(0))).map(drop).or_else(or_no_file),
            )
        },
    },
    Row {
        name: "layouts",
        weight: Weight::Needed,
        gives: "the layout of memory: heap, stack, arguments",
        from: "PR_SET_MM_MAP, CONFIG_CHECKPOINT_RESTORE",
        without: "nothing can be thawed",
        way_out: BUILT,
        tried: |_| Some(features::layouts()),
    },
    Row {
        name: "taking-files",
        weight: Weight::Needed,
        gives: "open files of other processes",
        from: "pidfd_getfd, Linux 5.6",
        without: "nothing can be frozen",
        way_out: NEWER,
        tried: |_| Some(taking_files()),
    },
    Row {
        name: "vdso",
        weight: Weight::Needed,
        gives: "the page of system calls that the kernel puts into processes (vdso)",
        from: "every kernel, unless it is started with vdso=0",
        without: "nothing can be thawed",
        way_out: "Start the machine without vdso=0",
        tried: |_| Some(Vdso::of_this_process().map(drop).ok_or(Errno::ENOENT)),
    },
    Row {
        name: "movable-vdso",
        weight: Weight::Needed,
        gives: "that page in the place where a program knows it",
        from: "a kernel without CONFIG_MSEAL_SYSTEM_MAPPINGS",
        without: "nothing can be thawed",
        way_out: "Use a kernel that is built without CONFIG_MSEAL_SYSTEM_MAPPINGS",
        tried: |_| Some(if is_sealed(own()) { Err(Errno::EPERM) } else { Ok(()) }),
    },
    Row {
        name: "confinement",
        weight: Weight::Wanted,
        gives: "programs that are confined by seccomp, such as browsers",
        from: "PTRACE_O_SUSPEND_SECCOMP, CONFIG_CHECKPOINT_RESTORE; CAP_SYS_ADMIN, in a process that is not confined itself",
        without: "they are refused",
        way_out: ROOT,
        tried: |_| Some(if seccomp::may_suspend() { Ok(()) } else { Err(Errno::EPERM) }),
    },
    Row {
        name: "dispatch",
        weight: Weight::Wanted,
        gives: "programs that handle system calls of others, such as Wine",
        from: "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, Linux 6.4",
        without: "nobody sees that they do, and they come back without it",
        way_out: NEWER,
        tried: |trial| trial.of_stopped(ptrace::tells_dispatch),
    },
    Row {
        name: "unix-sockets",
        weight: Weight::Wanted,
        gives: "who is connected to whom by unix sockets",
        from: "sock_diag, CONFIG_UNIX_DIAG",
        without: "programs with unix sockets are refused",
        way_out: "Load the module: modprobe unix_diag",
        tried: |_| Some(netlink::unix_sockets().map(drop)),
    },
    Row {
        name: "tcp",
        weight: Weight::Wanted,
        gives: "TCP connections within a group",
        from: "TCP_REPAIR; CAP_NET_ADMIN",
        without: "programs with such connections are not thawed",
        way_out: ROOT,
        tried: |_| Some(tcp()),
    },
    Row {
        name: "kept-connections",
        weight: Weight::Wanted,
        gives: "TCP connections to outside, kept through the sleep (--keep-connections)",
        from: "nf_tables, CONFIG_NF_TABLES_INET, Linux 5.12; CAP_NET_ADMIN and CAP_NET_RAW",
        without: "they are found reset",
        way_out: "Run Dormouse as root, and load the module: modprobe nf_tables",
        tried: |_| Some(hold::rehearse().and_then(|()| may(CAP_NET_RAW))),
    },
    Row {
        name: "time-namespaces",
        weight: Weight::Wanted,
        gives: "steady clocks that go on where they stopped, also after a restart of the machine",
        from: "time namespaces, Linux 5.6, CONFIG_TIME_NS; CAP_SYS_ADMIN and CAP_SYS_TIME",
        without: "CLOCK_MONOTONIC jumps: timers may come too early or too late",
        way_out: ROOT,
        tried: |_| Some(clocks()),
    },
    Row {
        name: "pid-namespaces",
        weight: Weight::Wanted,
        gives: "groups whose pids others have meanwhile, and sandboxes",
        from: "pid namespaces, CONFIG_PID_NS; CAP_SYS_ADMIN",
        without: "they are not thawed",
        way_out: ROOT,
        tried: |_| Some(pid_namespaces()),
    },
    Row {
        name: "timer-ids",
        weight: Weight::Wanted,
        gives: "POSIX timers with high ids at once",
        from: "PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15",
        without: "timers are made and deleted until the id comes round: slower",
        way_out: NEWER,
        tried: |_| Some(if features::timer_ids() { Ok(()) } else { Err(Errno::EINVAL) }),
    },
    Row {
        name: "page-scan",
        weight: Weight::Wanted,
        gives: "a quick look for the pages that hold something",
        from: "PAGEMAP_SCAN, Linux 6.7",
        without: "the whole page map is read: slower",
        way_out: NEWER,
        tried: |_| Some(page_map().and_then(|mut map| map.scans())),
    },
    Row {
        name: "guard-pages",
        weight: Weight::Wanted,
        gives: "guard pages within mappings (MADV_GUARD_INSTALL)",
        from: "PAGEMAP_SCAN with PAGE_IS_GUARD, Linux 6.15",
        without: "under kernels that have such pages they come back as ordinary empty ones",
        way_out: NEWER,
        tried: |_| Some(page_map().and_then(|mut map| map.tells_guards())),
    },
    Row {
        name: "barriers",
        weight: Weight::Wanted,
        gives: "registrations for memory barriers as they were",
        from: "MEMBARRIER_CMD_GET_REGISTRATIONS, Linux 6.3",
        without: "each process is registered for the usual ones",
        way_out: NEWER,
        tried: |_| Some(features::barriers()),
    },
    Row {
        name: "seals",
        weight: Weight::Wanted,
        gives: "sealed mappings (mseal)",
        from: "mseal, Linux 6.10",
        without: "programs that have them are not thawed; under such a kernel none are made",
        way_out: NEWER,
        tried: |_| Some(features::seals()),
    },
    Row {
        name: "same-rights",
        weight: Weight::Wanted,
        gives: "high limits of processes, such as that on core files",
        from: "CAP_SYS_RESOURCE, or limits of Dormouse's own that are as high",
        without: "a process whose limits are higher than those of Dormouse is refused",
        way_out: "Run Dormouse as root, with all capabilities",
        tried: |_| Some(limits()),
    },
];

/// Tries all of it.
pub fn examine() -> Examined {
    let trial = Trial::begin();
    let abilities = TABLE.iter().map(|row| row.ability(&trial)).collect();
    let release = nix::sys::utsname::uname().map(|names| names.release().to_string_lossy().into_owned());
    Examined { kernel: release.unwrap_or_default(), machine: std::env::consts::ARCH.to_owned(), abilities }
}

impl Row {
    fn ability(&self, trial: &Trial) -> Ability {
        let tried = (self.tried)(trial);
        let state = match tried {
            Some(Ok(())) => State::Works,
            Some(Err(_)) => State::Missing,
            None => State::Untried,
        };
        Ability {
            name: self.name.to_owned(),
            state,
            weight: self.weight,
            gives: self.gives.to_owned(),
            from: self.from.to_owned(),
            without: self.without.to_owned(),
            answer: tried.and_then(Result::err).map(|errno| errno.desc().to_owned()),
            way_out: (state == State::Missing).then(|| self.way_out.to_owned()),
        }
    }
}

/// By its number, capabilities(7).
fn may(capability: u32) -> Answer<()> {
    if identity::has_capability(capability) { Ok(()) } else { Err(Errno::EPERM) }
}

fn own() -> Pid {
    Pid(std::process::id() as i32)
}

/// A process that is made with a pid of its own, held still, and ends with the trial.
struct Trial {
    child: Answer<Pid>,
    stopped: Tried,
}

impl Trial {
    fn begin() -> Self {
        let child = Self::child();
        let stopped = child.ok().map(|child| {
            let tid = child.leader();
            ptrace::seize(tid, Options::default())?;
            ptrace::interrupt(tid)?;
            ptrace::wait(tid).map(drop)
        });
        Self { child, stopped }
    }

    /// Others may take a pid at the same moment.
    fn child() -> Answer<Pid> {
        const TIMES: usize = 16;
        let highest =
            std::fs::read_to_string("/proc/sys/kernel/pid_max").ok().and_then(|text| text.trim().parse().ok());
        let free = (300..highest.unwrap_or(32768_i32)).rev().filter(|pid| !proc::folder(Pid(*pid)).exists());
        let mut made = free.take(TIMES).map(|pid| clone::sleeping_child(Pid(pid), libc::SIGCHLD));
        made.find(|made| *made != Err(Errno::EEXIST)).unwrap_or(Err(Errno::EEXIST))
    }

    fn of_stopped(&self, look: impl Fn(Tid) -> Answer<()>) -> Tried {
        match (self.child, self.stopped) {
            (Ok(child), Some(Ok(()))) => Some(look(child.leader())),
            _ => None,
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Ok(child) = self.child {
            let pid = nix::unistd::Pid::from_raw(child.0);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(pid, None);
        }
    }
}

/// Standard input may be closed: the kernel compares all the same.
fn or_no_file(errno: Errno) -> Answer<()> {
    if errno == Errno::EBADF { Ok(()) } else { Err(errno) }
}

fn taking_files() -> Answer<()> {
    let itself = pidfd::open(own())?;
    let number = FdNumber(std::os::fd::AsRawFd::as_raw_fd(&itself));
    pidfd::get_fd(std::os::fd::AsFd::as_fd(&itself), number).map(drop)
}

/// Whether the kernel has sealed what it maps into a process: CONFIG_MSEAL_SYSTEM_MAPPINGS, Linux 6.15.
pub fn is_sealed(pid: Pid) -> bool {
    proc::detailed_mappings(pid, pid.leader()).is_ok_and(|mappings| has_sealed_vdso(&mappings))
}

fn has_sealed_vdso(mappings: &[maps::DetailedMapping]) -> bool {
    mappings.iter().any(|found| found.name == maps::MappingName::Vdso && found.flags.contains(maps::VmFlags::SEALED))
}

fn page_map() -> Answer<PageMap> {
    PageMap::open(own()).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

fn tcp() -> Answer<()> {
    let socket = inet::open(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_TCP)?;
    repair::begin(&socket)
}

/// In a thread of its own: what it makes is for that one's children, and it has none.
fn clocks() -> Answer<()> {
    let made = threads::apart(|| clocks::shift_for_children(0, 0));
    made.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

fn pid_namespaces() -> Answer<()> {
    threads::apart(|| nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID))
}

fn limits() -> Answer<()> {
    let own = proc::parsed(own(), "limits", proc::limits::parse);
    let is_high = own.is_ok_and(|own| own.iter().all(|limit| limit.hard == libc::RLIM_INFINITY));
    if is_high { Ok(()) } else { may(CAP_SYS_RESOURCE) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_what_is_needed_comes_first() {
        let names: BTreeSet<&str> = TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), TABLE.len());
        assert!(TABLE.is_sorted_by_key(|row| row.weight == Weight::Wanted));
    }

    #[test]
    fn a_sealed_vdso_is_seen() -> Result<(), Box<dyn std::error::Error>> {
        let text = |flags: &str| {
            format!(
                "7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0    [vdso]\nSize: 8 kB\nVmFlags: rd ex mr mw me de {flags}\n"
            )
        };
        for (flags, sealed) in [("", false), ("sl", true)] {
            assert_eq!(has_sealed_vdso(&maps::parse_smaps(text(flags).as_bytes())?), sealed, "{flags}");
        }
        Ok(())
    }

    #[test]
    fn what_is_tried_leaves_nothing_behind() -> Result<(), Box<dyn std::error::Error>> {
        let examined = examine();
        assert_eq!(examined.abilities.len(), TABLE.len());
        let children = std::fs::read_to_string("/proc/thread-self/children")?;
        assert_eq!(children, "");
        Ok(())
    }
}
