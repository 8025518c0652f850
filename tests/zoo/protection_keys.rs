//! Protection keys: which key a mapping has, and that the key still forbids (pkeys(7)).

use crate::kernel::{call, checked};
use crate::memory::{Mapping, READ_WRITE};
use crate::stage::{Held, Stage, cannot};

const PKEY_DISABLE_WRITE: usize = 2;

pub fn hold(stage: &mut Stage) -> Held {
    let key = match call(libc::SYS_pkey_alloc, &[0, PKEY_DISABLE_WRITE]) {
        Ok(key) => key as usize,
        Err(error) => return cannot(format!("protection keys: {error}")),
    };
    let mapping = Mapping::anonymous(4)?;
    mapping.fill(1);
    call(libc::SYS_pkey_mprotect, &[mapping.start, mapping.length, READ_WRITE as usize, key])?;
    // A key that was given back and is free again, but still protects a mapping.
    let stale = call(libc::SYS_pkey_alloc, &[0, 0])? as usize;
    let left = Mapping::anonymous(1)?;
    left.fill(2);
    call(libc::SYS_pkey_mprotect, &[left.start, left.length, READ_WRITE as usize, stale])?;
    call(libc::SYS_pkey_free, &[stale])?;
    let execute_only = Mapping::anonymous(1)?;
    let last = call(libc::SYS_pkey_alloc, &[0, 0])? as usize;
    execute_only.protect(libc::PROT_EXEC)?;
    call(libc::SYS_pkey_free, &[last])?;
    let kernels = execute_only.smaps_line("ProtectionKey");
    let mut pipe = [0; 2];
    // SAFETY: `pipe` lives through the call.
    checked(unsafe { libc::pipe(pipe.as_mut_ptr()) })?;
    stage.keeps(|wrong| {
        wrong.equal("key", mapping.smaps_line("ProtectionKey"), key.to_string());
        wrong.equal("content", mapping.first_wrong_page(1), None);
        wrong.equal("the key that was given back", left.smaps_line("ProtectionKey"), stale.to_string());
        wrong.equal("the kernel's own key", execute_only.smaps_line("ProtectionKey"), kernels.clone());
        // SAFETY: one byte is written to a pipe; the kernel then fails to read it into the protected page.
        let written = unsafe { libc::write(pipe[1], c"x".as_ptr().cast(), 1) };
        wrong.equal("writing to the pipe", written, 1);
        // SAFETY: the kernel finds the page write-protected and says EFAULT.
        let read = unsafe { libc::read(pipe[0], mapping.start as *mut libc::c_void, 1) };
        wrong.equal("writing to the protected page", read, -1);
    })?;
    stage.wrong.gives("the key that was given back is free", call(libc::SYS_pkey_alloc, &[0, 0]), stale as i64);
    stage.wrong.holds("no other is", kernels != stale.to_string() && kernels != key.to_string());
    stage.wrong.gives("the key can be given back", call(libc::SYS_pkey_free, &[key]), 0);
    Ok(())
}
