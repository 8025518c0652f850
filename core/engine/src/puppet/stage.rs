//! The pages that the engine puts into a process: one of code, then a desk for each thread that works there.

use crate::kernel::memory;
use crate::kernel::ptrace;
use crate::model::RemotePtr;

use super::arch::{self, FRAME};
use super::error::{PuppetError, kernel};
use super::foothold::Ground;
use super::thread::Puppet;

const PAGE: u64 = 4096;

/// Room of the desk of a thread group leader, which does most of the work.
pub const LEADER_DESK: u64 = 256 * 1024;

/// Room of each other thread's desk.
pub const THREAD_DESK: u64 = 8 * 1024;

/// The engine's pages in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    base: RemotePtr,
    threads: usize,
}

/// A thread's part of the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Desk {
    /// Where the loop's code is.
    pub code: RemotePtr,
    /// Where the return frame is, the records behind it.
    pub frame: RemotePtr,
    size: u64,
}

impl Desk {
    /// Where the records begin.
    pub fn records(&self) -> RemotePtr {
        self.frame + FRAME as u64
    }

    /// Room for records and data in bytes.
    pub fn room(&self) -> usize {
        self.size as usize - FRAME
    }
}

impl Stage {
    /// How many bytes a stage for so many threads takes.
    pub fn length(threads: usize) -> u64 {
        PAGE + LEADER_DESK + threads.saturating_sub(1) as u64 * THREAD_DESK
    }

    /// A stage whose pages are at `base` already, as in a process that has inherited them.
    pub fn at(base: RemotePtr, threads: usize) -> Self {
        Self { base, threads }
    }

    /// Where it begins.
    pub fn base(&self) -> RemotePtr {
        self.base
    }

    /// The desk of the nth thread, the leader being the first.
    pub fn desk(&self, thread: usize) -> Desk {
        let (offset, size) = match thread {
            0 => (0, LEADER_DESK),
            n => (LEADER_DESK + (n as u64 - 1) * THREAD_DESK, THREAD_DESK),
        };
        Desk { code: self.base, frame: self.base + PAGE + offset, size }
    }

    /// Puts the pages into a process: wherever the kernel finds room, or at `place`.
    pub fn build(
        puppet: &mut Puppet,
        ground: Ground,
        place: Option<RemotePtr>,
        threads: usize,
    ) -> Result<Self, PuppetError> {
        let length = Self::length(threads);
        let flags =
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | if place.is_some() { libc::MAP_FIXED_NOREPLACE } else { 0 };
        let map = |puppet: &mut Puppet, at: u64, length: u64, protection: i32, flags: i32| {
            let arguments = [at, length, protection as u64, flags as u64, u64::MAX, 0];
            ground.call(puppet, libc::SYS_mmap, arguments)
        };
        let hint = place.map_or(0, |place| place.0);
        let base = map(puppet, hint, length, libc::PROT_READ | libc::PROT_WRITE, flags)?;
        // Never writable and executable at once, nor executable after having been writable: MDWE and security modules
        // forbid both. The debugger's way writes into it all the same.
        let fixed = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        map(puppet, base, PAGE, libc::PROT_READ | libc::PROT_EXEC, fixed)?;
        let stage = Self { base: RemotePtr(base), threads };
        for (index, word) in arch::stage_code().chunks(8).enumerate() {
            let mut bytes = [0x90; 8];
            bytes[..word.len()].copy_from_slice(word);
            ptrace::poke(puppet.tid, base + index as u64 * 8, u64::from_ne_bytes(bytes))
                .map_err(kernel("write the engine's code into the process"))?;
        }
        Ok(stage)
    }

    /// Takes the pages out again. No thread may stand in them any more but this one.
    pub fn remove(self, puppet: &mut Puppet, ground: Ground) -> Result<(), PuppetError> {
        let arguments = [self.base.0, Self::length(self.threads), 0, 0, 0, 0];
        ground.call(puppet, libc::SYS_munmap, arguments).map(drop)
    }
}

/// Finds a `syscall` instruction in `start..end` of the process.
pub fn find_instruction(puppet: &Puppet, start: RemotePtr, end: RemotePtr) -> Option<RemotePtr> {
    const AT_ONCE: usize = 64 * 1024;
    let mut buffer = vec![0; AT_ONCE];
    let mut from = start;
    while from < end {
        let length = usize::try_from(end - from).unwrap_or(AT_ONCE).min(AT_ONCE);
        memory::read(dormouse_wire::Pid(puppet.tid.0), from, &mut buffer[..length]).ok()?;
        let wanted = arch::SYSCALL_INSTRUCTION;
        if let Some(at) = buffer[..length].windows(wanted.len()).position(|window| window == wanted) {
            return Some(from + at as u64);
        }
        // One byte again: the instruction may lie across the border.
        from = from + (length as u64 - u64::from(length == AT_ONCE));
    }
    None
}
