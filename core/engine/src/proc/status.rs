//! A process or thread in words: `/proc/PID/status` and `/proc/PID/task/TID/status`, proc_pid_status(5).

use dormouse_wire::{Pid, Tid};
use serde::{Deserialize, Serialize};

use super::stat::State;
use super::text::{self, Unreadable};

/// The value of one `status` file. What an older kernel or a kernel without an option does not show is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `Name`: the command name, unescaped.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
    /// `Umask`: of new files, umask(2); `None` for a zombie, which has none.
    pub umask: Option<u32>,
    /// `State`.
    pub state: State,
    /// `Tgid`: the process.
    pub tgid: Pid,
    /// `Ngid`: the NUMA group; 0 for none.
    pub ngid: i32,
    /// `Pid`: the thread.
    pub pid: Tid,
    /// `PPid`: the parent; 0 for none in this pid namespace.
    pub ppid: Pid,
    /// `TracerPid`: the thread that traces it; `None` for none.
    pub tracer: Option<Tid>,
    /// `Uid`, in the user namespace of the reader.
    pub uid: Ids,
    /// `Gid`, in the user namespace of the reader.
    pub gid: Ids,
    /// `FDSize`: how large the file table is.
    pub fd_size: u32,
    /// `Groups`: the supplementary groups.
    pub groups: Vec<u32>,
    /// `NStgid`: the process in this pid namespace and in those below it, the innermost last. `NStgid` and its like
    /// need a kernel with pid namespaces.
    pub namespace_tgid: Vec<i32>,
    /// `NSpid`: the thread likewise.
    pub namespace_pid: Vec<i32>,
    /// `NSpgid`: the process group likewise.
    pub namespace_pgid: Vec<i32>,
    /// `NSsid`: the session likewise.
    pub namespace_sid: Vec<i32>,
    /// `Kthread`: whether it belongs to the kernel (6.8).
    pub kernel_thread: Option<bool>,
    /// Memory; `None` for threads of the kernel and zombies, which have none.
    pub memory: Option<Memory>,
    /// `CoreDumping`: whether a core dump is being written.
    pub core_dumping: Option<bool>,
    /// `THP_enabled`: false after `PR_SET_THP_DISABLE`, or where the system has no huge pages (5.0).
    pub huge_pages: Option<bool>,
    /// `untag_mask`: bits of an address that mean something; all of them without linear address masking (6.4).
    pub address_mask: Option<u64>,
    /// `x86_Thread_features`: `shstk`, `wrss` (6.6).
    pub thread_features: Option<Vec<String>>,
    /// `x86_Thread_features_locked` (6.6).
    pub locked_thread_features: Option<Vec<String>>,
    /// `Threads`: how many the process has.
    pub threads: u32,
    /// `SigQ`: how many signals this user has queued, and may.
    pub queued_signals: (u64, u64),
    /// `SigPnd`: pending for the thread. Bit n is signal n + 1, here and below.
    pub pending_thread: u64,
    /// `ShdPnd`: pending for the process.
    pub pending_process: u64,
    /// `SigBlk`: blocked by the thread.
    pub blocked: u64,
    /// `SigIgn`: ignored by the process.
    pub ignored: u64,
    /// `SigCgt`: caught by the process.
    pub caught: u64,
    /// Its capabilities.
    pub capabilities: Capabilities,
    /// `NoNewPrivs`: `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// `Seccomp`: 0 off, 1 strict, 2 filter; `None` where the kernel has no seccomp.
    pub seccomp: Option<u32>,
    /// `Seccomp_filters`: how many are installed (5.9).
    pub seccomp_filters: Option<u32>,
    /// `Speculation_Store_Bypass`: such as `thread vulnerable`.
    pub store_bypass: Option<String>,
    /// `SpeculationIndirectBranch`: such as `conditional enabled` (5.11).
    pub indirect_branch: Option<String>,
    /// `Cpus_allowed`: bit n % 8 of byte n / 8 is processor n, as sched_setaffinity(2) takes it.
    #[serde(with = "serde_bytes")]
    pub cpus_allowed: Vec<u8>,
    /// `Mems_allowed`: NUMA nodes likewise.
    #[serde(with = "serde_bytes")]
    pub memory_nodes_allowed: Vec<u8>,
}

/// Four ids, credentials(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ids {
    /// Who started it.
    pub real: u32,
    /// Who it acts as.
    pub effective: u32,
    /// Who it may become again.
    pub saved: u32,
    /// Who it is to filesystems.
    pub filesystem: u32,
}

/// Five sets of capabilities, capabilities(7): bit n is capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Capabilities {
    /// `CapInh`.
    pub inheritable: u64,
    /// `CapPrm`.
    pub permitted: u64,
    /// `CapEff`.
    pub effective: u64,
    /// `CapBnd`.
    pub bounding: u64,
    /// `CapAmb`.
    pub ambient: u64,
}

/// Amounts of memory in bytes; the resident ones are not exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Memory {
    /// `VmSize`: the address space.
    pub size: u64,
    /// `VmLck`: locked by mlock(2).
    pub locked: u64,
    /// `VmPin`: pinned for devices.
    pub pinned: u64,
    /// `VmRSS`: in memory.
    pub resident: u64,
    /// `RssAnon`: in memory, of no file.
    pub resident_anonymous: u64,
    /// `RssFile`: in memory, of files.
    pub resident_file: u64,
    /// `RssShmem`: in memory, shared without a file.
    pub resident_shared: u64,
    /// `VmData`: private and writable, without the stack.
    pub data: u64,
    /// `VmStk`: stacks.
    pub stack: u64,
    /// `VmSwap`: in swap space, without shared memory.
    pub swap: u64,
    /// `HugetlbPages`: hugetlb memory, which the others leave out.
    pub hugetlb: u64,
}

impl Status {
    /// What the lines are written onto.
    fn blank() -> Self {
        Self {
            name: Vec::new(),
            umask: None,
            state: State::Other(b'?'),
            tgid: Pid(0),
            ngid: 0,
            pid: Tid(0),
            ppid: Pid(0),
            tracer: None,
            uid: Ids::default(),
            gid: Ids::default(),
            fd_size: 0,
            groups: Vec::new(),
            namespace_tgid: Vec::new(),
            namespace_pid: Vec::new(),
            namespace_pgid: Vec::new(),
            namespace_sid: Vec::new(),
            kernel_thread: None,
            memory: None,
            core_dumping: None,
            huge_pages: None,
            address_mask: None,
            thread_features: None,
            locked_thread_features: None,
            threads: 0,
            queued_signals: (0, 0),
            pending_thread: 0,
            pending_process: 0,
            blocked: 0,
            ignored: 0,
            caught: 0,
            capabilities: Capabilities::default(),
            no_new_privileges: false,
            seccomp: None,
            seccomp_filters: None,
            store_bypass: None,
            indirect_branch: None,
            cpus_allowed: Vec::new(),
            memory_nodes_allowed: Vec::new(),
        }
    }
}

/// The value of `/proc/PID/status`. Lines of a name that it does not know are passed over.
pub fn parse(bytes: &[u8]) -> Result<Status, Unreadable> {
    let mut status = Status::blank();
    let mut seen = 0;
    for line in text::lines(bytes) {
        let (key, value) = text::split_once(line, b':').ok_or_else(|| Unreadable::line(line))?;
        let known = take(key, value, &mut status).ok_or_else(|| Unreadable::line(line))?;
        seen += usize::from(known && REQUIRED.contains(&key));
    }
    if seen == REQUIRED.len() { Ok(status) } else { Err(Unreadable::line(b"a line is missing, or stands there twice")) }
}

/// What every kernel shows of every task: without one of these lines the rest is not to be trusted.
const REQUIRED: [&[u8]; 18] = [
    b"Name",
    b"State",
    b"Tgid",
    b"Pid",
    b"PPid",
    b"TracerPid",
    b"Uid",
    b"Gid",
    b"Groups",
    b"Threads",
    b"SigPnd",
    b"ShdPnd",
    b"SigBlk",
    b"SigIgn",
    b"SigCgt",
    b"CapPrm",
    b"CapEff",
    b"NoNewPrivs",
];

/// Takes one line; false for a key that is not known, `None` for a value that cannot be read.
fn take(key: &[u8], value: &[u8], status: &mut Status) -> Option<bool> {
    Some(
        process(key, value, status)?
            || family(key, value, status)?
            || memory(key, value, status)?
            || signals(key, value, status)?
            || rights(key, value, status)?,
    )
}

/// Each of these takes the keys of one group: false for a key of another group, `None` for a value that cannot be read.
fn process(key: &[u8], value: &[u8], status: &mut Status) -> Option<bool> {
    let word = value.trim_ascii();
    match key {
        b"Name" => status.name = unescape(value.strip_prefix(b"\t").unwrap_or(value)),
        b"Umask" => status.umask = Some(text::octal(word)?),
        b"State" => status.state = State::from_letter(*word.first()?),
        b"FDSize" => status.fd_size = text::decimal(word)?,
        b"Kthread" => status.kernel_thread = Some(flag(word)?),
        b"CoreDumping" => status.core_dumping = Some(flag(word)?),
        b"THP_enabled" => status.huge_pages = Some(flag(word)?),
        b"untag_mask" => status.address_mask = Some(text::hexadecimal(word.strip_prefix(b"0x")?)?),
        b"x86_Thread_features" => status.thread_features = Some(strings(word)),
        b"x86_Thread_features_locked" => status.locked_thread_features = Some(strings(word)),
        b"Threads" => status.threads = text::decimal(word)?,
        b"Cpus_allowed" => status.cpus_allowed = mask(word)?,
        b"Mems_allowed" => status.memory_nodes_allowed = mask(word)?,
        _ => return Some(false),
    }
    Some(true)
}

fn family(key: &[u8], value: &[u8], status: &mut Status) -> Option<bool> {
    let word = value.trim_ascii();
    match key {
        b"Tgid" => status.tgid = Pid(text::decimal(word)?),
        b"Ngid" => status.ngid = text::decimal(word)?,
        b"Pid" => status.pid = Tid(text::decimal(word)?),
        b"PPid" => status.ppid = Pid(text::decimal(word)?),
        b"TracerPid" => status.tracer = Some(Tid(text::decimal(word)?)).filter(|tid| tid.0 != 0),
        b"NStgid" => status.namespace_tgid = numbers(word)?,
        b"NSpid" => status.namespace_pid = numbers(word)?,
        b"NSpgid" => status.namespace_pgid = numbers(word)?,
        b"NSsid" => status.namespace_sid = numbers(word)?,
        _ => return Some(false),
    }
    Some(true)
}

fn memory(key: &[u8], value: &[u8], status: &mut Status) -> Option<bool> {
    let mut memory = status.memory.unwrap_or_default();
    let place = match key {
        b"VmSize" => &mut memory.size,
        b"VmLck" => &mut memory.locked,
        b"VmPin" => &mut memory.pinned,
        b"VmRSS" => &mut memory.resident,
        b"RssAnon" => &mut memory.resident_anonymous,
        b"RssFile" => &mut memory.resident_file,
        b"RssShmem" => &mut memory.resident_shared,
        b"VmData" => &mut memory.data,
        b"VmStk" => &mut memory.stack,
        b"VmSwap" => &mut memory.swap,
        b"HugetlbPages" => &mut memory.hugetlb,
        _ => return Some(false),
    };
    *place = text::kibibytes(value)?;
    status.memory = Some(memory);
    Some(true)
}

fn signals(key: &[u8], value: &[u8], status: &mut Status) -> Option<bool> {
    let word = value.trim_ascii();
    match key {
        b"SigQ" => {
            let (queued, limit) = text::split_once(word, b'/')?;
            status.queued_signals = (text::decimal(queued)?, text::decimal(limit)?);
        }
        b"SigPnd" => status.pending_thread = text::hexadecimal(word)?,
        b"ShdPnd" => status.pending_process = text::hexadecimal(word)?,
        b"SigBlk" => status.blocked = text::hexadecimal(word)?,
        b"SigIgn" => status.ignored = text::hexadecimal(word)?,
        b"SigCgt" => status.caught = text::hexadecimal(word)?,
        _ => return Some(false),
    }
    Some(true)
}

fn rights(key: &[u8], value: &[u8], status: &mut Status) -> Option<bool> {
    let word = value.trim_ascii();
    let capabilities = &mut status.capabilities;
    match key {
        b"Uid" => status.uid = ids(word)?,
        b"Gid" => status.gid = ids(word)?,
        b"Groups" => status.groups = numbers(word)?,
        b"CapInh" => capabilities.inheritable = text::hexadecimal(word)?,
        b"CapPrm" => capabilities.permitted = text::hexadecimal(word)?,
        b"CapEff" => capabilities.effective = text::hexadecimal(word)?,
        b"CapBnd" => capabilities.bounding = text::hexadecimal(word)?,
        b"CapAmb" => capabilities.ambient = text::hexadecimal(word)?,
        b"NoNewPrivs" => status.no_new_privileges = flag(word)?,
        b"Seccomp" => status.seccomp = Some(text::decimal(word)?),
        b"Seccomp_filters" => status.seccomp_filters = Some(text::decimal(word)?),
        b"Speculation_Store_Bypass" => status.store_bypass = Some(string(word)),
        b"SpeculationIndirectBranch" => status.indirect_branch = Some(string(word)),
        _ => return Some(false),
    }
    Some(true)
}

fn flag(word: &[u8]) -> Option<bool> {
    text::decimal::<u32>(word).map(|number| number != 0)
}

fn string(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

fn strings(value: &[u8]) -> Vec<String> {
    text::words(value).map(string).collect()
}

fn numbers<T: std::str::FromStr>(value: &[u8]) -> Option<Vec<T>> {
    text::words(value).map(text::decimal).collect()
}

fn ids(value: &[u8]) -> Option<Ids> {
    let [real, effective, saved, filesystem] = numbers(value)?.try_into().ok()?;
    Some(Ids { real, effective, saved, filesystem })
}

/// Groups of up to eight hexadecimal digits with commas between them, the lowest last; all but the first have eight.
fn mask(word: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for group in word.rsplit(|byte| *byte == b',') {
        bytes.extend_from_slice(&u32::try_from(text::hexadecimal(group)?).ok()?.to_le_bytes());
    }
    Some(bytes)
}

/// Undoes the escapes of a command name: `\\`, `\n`, and octal ones, which kernels have used too.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, behind)) = rest.split_first() {
        let (byte, length) = match (first, behind.first()) {
            (b'\\', Some(b'\\')) => (b'\\', 1),
            (b'\\', Some(b'n')) => (b'\n', 1),
            (b'\\', _) => text::octal_digits(behind).map_or((b'\\', 0), |byte| (byte, 3)),
            (byte, _) => (*byte, 0),
        };
        plain.push(byte);
        rest = &behind[length..];
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{self, ProcError};

    /// A thread of Linux 6.18, with the longer lines cut.
    const SAMPLE: &str = "Name:\ta\\\\b\\nc \nUmask:\t0022\nState:\tt (tracing stop)\nTgid:\t8025\nNgid:\t0\nPid:\t8026\n\
        PPid:\t8016\nTracerPid:\t9\nUid:\t0\t1\t2\t3\nGid:\t4\t5\t6\t7\nFDSize:\t256\nGroups:\t4 24 27 \nNStgid:\t8025\t1\n\
        NSpid:\t8026\t2\nNSpgid:\t8016\t0\nNSsid:\t3332\t0\nKthread:\t0\nVmPeak:\t    3060 kB\nVmSize:\t    3060 kB\n\
        VmLck:\t       4 kB\nVmRSS:\t    1776 kB\nVmSwap:\t       8 kB\nCoreDumping:\t0\nTHP_enabled:\t1\n\
        untag_mask:\t0xffffffffffffffff\nThreads:\t2\nSigQ:\t1/96364\nSigPnd:\t0000000000000001\n\
        ShdPnd:\t0000000000000002\nSigBlk:\t0000000000000004\nSigIgn:\t0000000000000008\nSigCgt:\t8000000000000010\n\
        CapInh:\t0000000000000000\nCapPrm:\t000001fffeffffff\nCapEff:\t000001fffefffffe\nCapBnd:\t000001fffefffffd\n\
        CapAmb:\t0000000000000007\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n\
        Speculation_Store_Bypass:\tthread vulnerable\nSpeculationIndirectBranch:\talways enabled\n\
        Cpus_allowed:\t1,00000003\nCpus_allowed_list:\t0-1,32\nMems_allowed:\t00000000,00000001\n\
        Mems_allowed_list:\t0\nvoluntary_ctxt_switches:\t0\n";

    #[test]
    fn who_a_thread_is_and_belongs_to_is_read() -> Result<(), Unreadable> {
        let status = parse(SAMPLE.as_bytes())?;
        assert_eq!((status.name.as_slice(), status.umask, status.state), (&b"a\\b\nc "[..], Some(0o22), State::Traced));
        assert_eq!((status.tgid, status.pid, status.ppid), (Pid(8025), Tid(8026), Pid(8016)));
        assert_eq!((status.tracer, status.ngid, status.threads, status.fd_size), (Some(Tid(9)), 0, 2, 256));
        assert_eq!(status.uid, Ids { real: 0, effective: 1, saved: 2, filesystem: 3 });
        assert_eq!(status.gid, Ids { real: 4, effective: 5, saved: 6, filesystem: 7 });
        assert_eq!(status.groups, [4, 24, 27]);
        assert_eq!((status.namespace_tgid, status.namespace_pid), (vec![8025, 1], vec![8026, 2]));
        assert_eq!((status.namespace_pgid, status.namespace_sid), (vec![8016, 0], vec![3332, 0]));
        assert_eq!(
            (status.kernel_thread, status.core_dumping, status.huge_pages),
            (Some(false), Some(false), Some(true))
        );
        Ok(())
    }

    #[test]
    fn memory_signals_and_rights_are_read() -> Result<(), Unreadable> {
        let status = parse(SAMPLE.as_bytes())?;
        let memory = Memory { size: 3060 << 10, locked: 4096, resident: 1776 << 10, swap: 8192, ..Memory::default() };
        assert_eq!(status.memory, Some(memory));
        assert_eq!((status.queued_signals, status.pending_thread, status.pending_process), ((1, 96364), 1, 2));
        assert_eq!((status.blocked, status.ignored, status.caught), (4, 8, 1 << 63 | 0x10));
        let Capabilities { inheritable, permitted, effective, bounding, ambient } = status.capabilities;
        assert_eq!((inheritable, permitted, effective), (0, 0x1fffeffffff, 0x1fffefffffe));
        assert_eq!((bounding, ambient), (0x1fffefffffd, 7));
        assert_eq!((status.no_new_privileges, status.seccomp, status.seccomp_filters), (true, Some(2), Some(3)));
        assert_eq!(status.store_bypass.as_deref(), Some("thread vulnerable"));
        assert_eq!(status.cpus_allowed, [3, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(status.memory_nodes_allowed, [1, 0, 0, 0, 0, 0, 0, 0]);
        Ok(())
    }

    #[test]
    fn what_an_older_kernel_does_not_show_may_be_absent() -> Result<(), Unreadable> {
        let gone = ["Kthread", "Vm", "THP_enabled", "Seccomp", "Spec", "Umask", "NS", "CoreDumping"];
        let lines: Vec<_> = SAMPLE.lines().filter(|line| !gone.iter().any(|key| line.starts_with(key))).collect();
        let status = parse(lines.join("\n").as_bytes())?;
        assert_eq!((status.kernel_thread, status.memory, status.huge_pages, status.umask), (None, None, None, None));
        assert_eq!((status.seccomp, status.store_bypass, status.namespace_pid), (None, None, Vec::new()));
        Ok(())
    }

    #[test]
    fn a_file_that_is_cut_is_refused() {
        assert!(parse(&SAMPLE.as_bytes()[..SAMPLE.len() / 2]).is_err());
        assert!(parse(SAMPLE.replace("Uid:\t0\t1", "Uid:\t0").as_bytes()).is_err());
        assert!(parse(b"").is_err());
    }

    #[test]
    fn every_live_process_can_be_read() -> Result<(), ProcError> {
        for pid in proc::list_pids()? {
            match proc::parsed(pid, "status", parse) {
                Err(ProcError::Gone) => {}
                status => assert_eq!(status?.tgid, pid),
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, lines in "((Name|Uid|SigQ|VmLck|Cpus_allowed):\t[\\\\n0-9a-f, /]{0,20}\n){0,5}") {
            let _ = (parse(&bytes), parse(lines.as_bytes()));
        }

        #[test]
        fn what_the_kernel_escapes_comes_back(name: Vec<u8>) {
            let escaped: Vec<u8> = name.iter().flat_map(|byte| match byte {
                b'\n' => b"\\n".to_vec(),
                b'\\' => b"\\\\".to_vec(),
                _ => vec![*byte],
            }).collect();
            prop_assert_eq!(unescape(&escaped), name);
        }
    }
}
