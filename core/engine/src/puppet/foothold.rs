//! A foothold: where a thread can make one system call although the engine has no pages in its process yet, or none any
//! more, and still find its way back by itself should the engine be killed meanwhile.
//!
//! It lies in the bytes behind the vdso's code, which nobody uses: the vdso is there in every process, may be run, and
//! a debugger may write into it. The process gets a page of its own for it; when the engine is done, it holds what it
//! held.

use crate::kernel::{memory, ptrace};
use crate::model::RemotePtr;

use super::arch::{self, FRAME_USED};
use super::error::{PuppetError, kernel};
use super::thread::Puppet;

/// More than code and frame take.
const ROOM: u64 = 320;
const WORD: usize = 8;

/// A place for one system call with a way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foothold {
    code: RemotePtr,
}

impl Foothold {
    /// Looks whether the end of the vdso, which lies at `start..end`, is unused.
    pub fn find(puppet: &Puppet, start: RemotePtr, end: RemotePtr) -> Option<Self> {
        if end - start < ROOM {
            return None;
        }
        let code = RemotePtr(end.0 - ROOM);
        let mut found = vec![0; ROOM as usize];
        memory::read(dormouse_wire::Pid(puppet.tid.0), code, &mut found).ok()?;
        is_unused(&found).then_some(Self { code })
    }

    fn frame(self) -> RemotePtr {
        self.code + arch::foothold_code().len().next_multiple_of(WORD) as u64
    }

    /// Lets the thread make one system call.
    pub fn call(self, puppet: &mut Puppet, number: i64, arguments: [u64; 6]) -> Result<u64, PuppetError> {
        // The code last: it stands only where the frame does.
        write(puppet, self.frame(), puppet.return_frame().get(..FRAME_USED).unwrap_or_default())?;
        write(puppet, self.code, &arch::foothold_code())?;
        puppet.call_from(&arch::enter_foothold(&puppet.registers, self.code, self.frame(), (number, arguments)))
    }

    /// Leaves the place as it was found. The thread must not stand in it any more.
    pub fn clear(self, puppet: &Puppet) -> Result<(), PuppetError> {
        write(puppet, self.code, &[0; ROOM as usize])
    }
}

/// Also where the process itself may not write.
fn write(puppet: &Puppet, to: RemotePtr, bytes: &[u8]) -> Result<(), PuppetError> {
    for (index, bytes) in bytes.chunks(WORD).enumerate() {
        let mut word = [0; WORD];
        word[..bytes.len()].copy_from_slice(bytes);
        ptrace::poke(puppet.tid, to.0 + (index * WORD) as u64, u64::from_ne_bytes(word))
            .map_err(kernel("write behind the vdso of the process"))?;
    }
    Ok(())
}

/// Whether nobody uses these bytes. What an engine has left that was killed is as good as nothing.
fn is_unused(found: &[u8]) -> bool {
    let own = arch::foothold_code();
    let (left, rest) = found.split_at(own.len().next_multiple_of(WORD));
    let is_own = left.chunks(WORD).zip(own.chunks(WORD)).all(|(left, own)| is_zero(left) || left.starts_with(own));
    is_own && rest.get(FRAME_USED..).is_some_and(is_zero)
}

/// Takes the engine's own bytes out of a copy of the vdso.
pub fn blank(vdso: &mut [u8]) {
    if let Some((_, end)) = vdso.len().checked_sub(ROOM as usize).map(|at| vdso.split_at_mut(at))
        && is_unused(end)
    {
        end.fill(0);
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// From where a thread makes single system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// A `syscall` that the process has. Should the engine die meanwhile, the thread is lost.
    Instruction(RemotePtr),
    /// A foothold.
    Foothold(Foothold),
}

impl Ground {
    /// Lets the thread make one system call.
    pub fn call(self, puppet: &mut Puppet, number: i64, arguments: [u64; 6]) -> Result<u64, PuppetError> {
        match self {
            Self::Instruction(instruction) => puppet.single_call(instruction, number, arguments),
            Self::Foothold(foothold) => foothold.call(puppet, number, arguments),
        }
    }

    /// Leaves everything as it was found.
    pub fn clear(self, puppet: &Puppet) -> Result<(), PuppetError> {
        match self {
            Self::Instruction(_) => Ok(()),
            Self::Foothold(foothold) => foothold.clear(puppet),
        }
    }
}
