//! The small things prctl(2) and /proc know of a thread or a process.

// zoo: dumpable

use dormouse_wire::Pid;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::controls::{self, Controls};
use super::membarrier;
use crate::arguments;
use crate::kernel::Answer;
use crate::puppet::{Batch, Call, Slot};
use crate::resource::memory::policy::{self, MemoryPolicy};

/// Numbers that libc has no names for, linux/prctl.h.
mod prctl {
    pub const SET_MDWE: i32 = 65;
    pub const GET_MDWE: i32 = 66;
    pub const GET_THP_DISABLE: i32 = 42;
    pub const SET_THP_DISABLE: i32 = 41;
    /// arch_prctl(2), asm/prctl.h: which registers the process may use that the kernel gives only to who asks.
    pub const ARCH_GET_XCOMP_PERM: i32 = 0x1022;
    pub const ARCH_REQ_XCOMP_PERM: i32 = 0x1023;
    pub const SET_MEMORY_MERGE: i32 = 67;
    pub const GET_MEMORY_MERGE: i32 = 68;
}

/// The component of the extended registers that holds AMX tiles.
pub const TILES: u32 = 18;

/// What belongs to one thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadAttributes {
    /// Its name, PR_SET_NAME.
    pub name: ByteBuf,
    /// Timer slack in nanoseconds.
    pub timer_slack: u64,
    /// The signal it gets when its parent dies; 0: none.
    pub parent_death_signal: i32,
    /// personality(2).
    pub personality: u64,
    /// How the processor treats it.
    pub controls: Controls,
    /// On which nodes its memory is put.
    pub memory_policy: Option<MemoryPolicy>,
}

/// What belongs to the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessAttributes {
    /// PR_SET_DUMPABLE: 0, 1, or 2 where the kernel has set it.
    pub dumpable: u32,
    /// PR_SET_CHILD_SUBREAPER.
    pub child_subreaper: bool,
    /// PR_SET_THP_DISABLE.
    pub huge_pages_disabled: u64,
    /// PR_SET_MDWE: memory is never writable and executable.
    pub deny_write_execute: u64,
    /// proc_pid_oom_score_adj(5).
    pub oom_score_adjustment: i32,
    /// core(5), which mappings go into a core file.
    pub coredump_filter: u32,
    /// Whether it may use AMX tiles, ARCH_REQ_XCOMP_PERM.
    pub tiles: bool,
    /// Nice value of the autogroup of its session, sched(7).
    pub autogroup_nice: Option<i32>,
    /// PR_SET_MEMORY_MERGE: its pages are merged with equal ones.
    pub merge_memory: bool,
    /// The commands it has registered with for membarrier(2).
    pub membarriers: u32,
}

/// What /proc tells of them.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// [`ProcessAttributes::oom_score_adjustment`].
    pub oom_score_adjustment: i32,
    /// [`ProcessAttributes::coredump_filter`].
    pub coredump_filter: u32,
    /// [`ProcessAttributes::autogroup_nice`].
    pub autogroup_nice: Option<i32>,
}

/// What was asked of a thread.
#[derive(Debug)]
pub struct AskedThread {
    death: Call,
    signal: Slot,
    slack: Call,
    personality: Call,
    controls: controls::Asked,
    policy: policy::Asked,
}

/// Asks a thread.
pub fn ask_thread(batch: &mut Batch) -> AskedThread {
    let signal = batch.space(4);
    AskedThread {
        death: batch.ask(libc::SYS_prctl, arguments![libc::PR_GET_PDEATHSIG, signal]),
        signal,
        slack: batch.ask(libc::SYS_prctl, arguments![libc::PR_GET_TIMERSLACK]),
        personality: batch.ask(libc::SYS_personality, arguments![u64::from(u32::MAX)]),
        controls: controls::ask(batch),
        policy: policy::ask_thread(batch),
    }
}

/// The thread's record; `flags` are those of `/proc/PID/stat`.
pub fn answer_thread(asked: &AskedThread, batch: &Batch, name: &[u8], flags: u32) -> Answer<ThreadAttributes> {
    batch.result(asked.death)?;
    Ok(ThreadAttributes {
        name: ByteBuf::from(name),
        timer_slack: batch.result(asked.slack)?,
        parent_death_signal: batch.read_u32(asked.signal, 0) as i32,
        personality: batch.result(asked.personality)?,
        controls: controls::answer(&asked.controls, batch, flags)?,
        memory_policy: policy::answer(&asked.policy, batch),
    })
}

/// Gives a thread its own, but for the parent death signal, which a change of credentials clears.
pub fn restore_thread(record: &ThreadAttributes, batch: &mut Batch) {
    let name = batch.text(&record.name);
    batch.must("set the thread's name", libc::SYS_prctl, arguments![libc::PR_SET_NAME, name]);
    batch.must("set the timer slack", libc::SYS_prctl, arguments![libc::PR_SET_TIMERSLACK, record.timer_slack]);
    batch.must("set the personality", libc::SYS_personality, arguments![record.personality]);
    policy::restore_thread(record.memory_policy, batch);
    controls::restore(&record.controls, batch);
}

/// The parent death signal: after the credentials.
pub fn restore_death_signal(record: &ThreadAttributes, batch: &mut Batch) {
    batch.must(
        "set the parent death signal",
        libc::SYS_prctl,
        arguments![libc::PR_SET_PDEATHSIG, record.parent_death_signal],
    );
}

/// What was asked of a process.
#[derive(Debug)]
pub struct AskedProcess {
    dumpable: Call,
    subreaper: Call,
    subreaper_word: Slot,
    huge_pages: Call,
    deny: Call,
    permitted: Call,
    permitted_word: Slot,
    merge: Call,
    membarriers: Call,
}

/// Asks a process.
pub fn ask_process(batch: &mut Batch) -> AskedProcess {
    let (subreaper_word, permitted_word) = (batch.space(4), batch.space(8));
    AskedProcess {
        dumpable: batch.ask(libc::SYS_prctl, arguments![libc::PR_GET_DUMPABLE]),
        subreaper: batch.ask(libc::SYS_prctl, arguments![libc::PR_GET_CHILD_SUBREAPER, subreaper_word]),
        subreaper_word,
        huge_pages: batch.ask(libc::SYS_prctl, arguments![prctl::GET_THP_DISABLE, 0, 0, 0, 0]),
        deny: batch.ask(libc::SYS_prctl, arguments![prctl::GET_MDWE, 0, 0, 0, 0]),
        permitted: batch.ask(libc::SYS_arch_prctl, arguments![prctl::ARCH_GET_XCOMP_PERM, permitted_word]),
        permitted_word,
        merge: batch.ask(libc::SYS_prctl, arguments![prctl::GET_MEMORY_MERGE, 0, 0, 0, 0]),
        membarriers: membarrier::ask(batch),
    }
}

/// The process's record.
pub fn answer_process(asked: &AskedProcess, batch: &Batch, told: Told) -> Answer<ProcessAttributes> {
    batch.result(asked.subreaper)?;
    Ok(ProcessAttributes {
        dumpable: batch.result(asked.dumpable)? as u32,
        child_subreaper: batch.read_u32(asked.subreaper_word, 0) != 0,
        huge_pages_disabled: batch.result(asked.huge_pages).unwrap_or(0),
        // EINVAL: a kernel before 6.3, where nothing can have set it.
        deny_write_execute: batch.result(asked.deny).unwrap_or(0),
        // A kernel that cannot be asked gives tiles to nobody.
        tiles: batch.result(asked.permitted).is_ok() && batch.read_u64(asked.permitted_word, 0) >> TILES & 1 != 0,
        oom_score_adjustment: told.oom_score_adjustment,
        coredump_filter: told.coredump_filter,
        autogroup_nice: told.autogroup_nice,
        // EINVAL: a kernel before 6.4.
        merge_memory: batch.result(asked.merge) == Ok(1),
        membarriers: membarrier::answer(asked.membarriers, batch),
    })
}

/// Gives a process its own, but for what comes last.
pub fn restore_process(record: &ProcessAttributes, batch: &mut Batch) {
    if record.tiles {
        batch.must("ask to use AMX tiles", libc::SYS_arch_prctl, arguments![prctl::ARCH_REQ_XCOMP_PERM, TILES]);
    }
    let subreaper = u32::from(record.child_subreaper);
    batch.must("set the child subreaper", libc::SYS_prctl, arguments![libc::PR_SET_CHILD_SUBREAPER, subreaper]);
    membarrier::restore(record.membarriers, batch);
    restore_merging(record, batch);
    if record.huge_pages_disabled != 0 {
        // Bit 0 says that it is on; the others are its flags (Linux 6.18).
        let flags = record.huge_pages_disabled & !1;
        batch.must("disable huge pages", libc::SYS_prctl, arguments![prctl::SET_THP_DISABLE, 1, flags, 0, 0]);
    }
}

/// Its mappings have what they are advised by now.
fn restore_merging(record: &ProcessAttributes, batch: &mut Batch) {
    if record.merge_memory {
        batch.must("let its memory be merged", libc::SYS_prctl, arguments![prctl::SET_MEMORY_MERGE, 1, 0, 0, 0]);
    }
}

/// After the credentials, which clear dumpable, and after the last mapping, which MDWE might forbid.
pub fn restore_process_last(record: &ProcessAttributes, batch: &mut Batch) {
    // 2 can only come from the kernel itself; it means the same as 0 to whoever is not root.
    let dumpable = u32::from(record.dumpable == 1);
    batch.must("set dumpable", libc::SYS_prctl, arguments![libc::PR_SET_DUMPABLE, dumpable]);
    if record.deny_write_execute != 0 {
        batch.must(
            "deny memory that is writable and executable",
            libc::SYS_prctl,
            arguments![prctl::SET_MDWE, record.deny_write_execute, 0, 0, 0],
        );
    }
}

/// What is written from outside, in /proc; the names of those that could not be. The autogroup is that of a session: it is
/// left alone where the session is not the group's.
pub fn write_process(record: &ProcessAttributes, pid: Pid, own_session: bool) -> Vec<(&'static str, std::io::Error)> {
    let nice = record.autogroup_nice.filter(|nice| own_session && Some(*nice) != autogroup_nice(pid));
    let files = [
        ("oom_score_adj", Some(record.oom_score_adjustment.to_string())),
        ("coredump_filter", Some(format!("{:#x}", record.coredump_filter))),
        ("autogroup", nice.map(|nice| nice.to_string())),
    ];
    files
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .filter_map(|(name, value)| Some((name, std::fs::write(format!("/proc/{pid}/{name}"), value).err()?)))
        .collect()
}

/// The nice value of a process's autogroup, such as in `/autogroup-57 nice 0`; none where the kernel makes none.
pub fn autogroup_nice(pid: Pid) -> Option<i32> {
    std::fs::read_to_string(crate::kernel::procfs::path(format!("{pid}/autogroup")))
        .ok()?
        .trim()
        .rsplit_once(' ')?
        .1
        .parse()
        .ok()
}
