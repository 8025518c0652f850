//! Confinement of system calls, seccomp(2), as a tracer sees it. Both wants CAP_SYS_ADMIN and an engine that is not
//! confined itself, ptrace(2).

use dormouse_wire::Tid;

use super::ptrace::call;
use super::{Answer, Errno, checked, identity};

/// A filter that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// `struct sock_filter`s, as they were given to the kernel.
    pub program: Vec<u8>,
    /// SECCOMP_FILTER_FLAG_LOG.
    pub log: bool,
}

mod request {
    pub const GET_FILTER: u32 = 0x420c;
    pub const GET_METADATA: u32 = 0x420d;
}

/// SECCOMP_FILTER_FLAG_LOG.
const LOG: u64 = 1 << 1;

/// Size of a `struct sock_filter` in bytes.
pub const INSTRUCTION: usize = 8;

/// The filters of a stopped tracee, oldest first. EMEDIUMTYPE: one of them was not made by seccomp(2).
pub fn filters(thread: Tid) -> Answer<Vec<Installed>> {
    let mut filters = Vec::new();
    loop {
        let index = filters.len() as u64;
        let length = match call(request::GET_FILTER, thread, index, 0) {
            Err(Errno::ENOENT) => return Ok(filters),
            length => length? as usize,
        };
        let mut program = vec![0_u8; length * INSTRUCTION];
        // As many instructions are written as have just been counted: filters never change.
        call(request::GET_FILTER, thread, index, program.as_mut_ptr() as u64)?;
        filters.push(Installed { program, log: flags(thread, index)? & LOG != 0 });
    }
}

/// What a filter was installed with, `struct seccomp_metadata`. Linux 4.16.
fn flags(thread: Tid, index: u64) -> Answer<u64> {
    let mut metadata = [index, 0];
    call(request::GET_METADATA, thread, size_of_val(&metadata) as u64, metadata.as_mut_ptr() as u64)?;
    Ok(metadata[1])
}

/// Whether this thread may read filters and suspend them.
pub fn may_suspend() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    // SAFETY: prctl with integers only. In strict mode it would end us, and so would all we do.
    let own = checked(unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) }.into());
    identity::has_capability(CAP_SYS_ADMIN) && matches!(own, Ok(0) | Err(Errno::EINVAL))
}
