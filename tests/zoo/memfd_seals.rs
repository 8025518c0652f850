//! Memory files and their seals: one that may never be executed, one that may, one that is sealed against all changes.

use std::os::unix::fs::{FileExt, MetadataExt};

use crate::descriptors::{fcntl, owned};
use crate::kernel::{at, call};
use crate::stage::{Held, Stage, Trouble, cannot};

/// `linux/memfd.h` and `linux/fcntl.h`, Linux 6.3.
const MFD_NOEXEC_SEAL: u32 = 8;
const MFD_EXEC: u32 = 16;
const F_SEAL_EXEC: i32 = 0x20;
const ALL: i32 = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

fn make(flags: u32) -> Result<std::fs::File, Trouble> {
    match call(libc::SYS_memfd_create, &[at(c"sealed".to_bytes_with_nul()), (flags | libc::MFD_ALLOW_SEALING) as usize])
    {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => cannot("this kernel does not know MFD_EXEC"),
        made => Ok(owned(made?).into()),
    }
}

pub fn hold(stage: &mut Stage) -> Held {
    let (never, may, whole) = (make(MFD_NOEXEC_SEAL)?, make(MFD_EXEC)?, make(MFD_EXEC)?);
    whole.write_all_at(b"for good", 0)?;
    fcntl(&whole, libc::F_ADD_SEALS, ALL | F_SEAL_EXEC)?;
    let sealed = fcntl(&whole, libc::F_GET_SEALS, 0)?;
    stage.keeps(|wrong| {
        for (name, file, seals, mode) in
            [("never", &never, F_SEAL_EXEC, 0o666), ("may", &may, 0, 0o777), ("whole", &whole, sealed, 0o777)]
        {
            wrong.gives(name, fcntl(file, libc::F_GET_SEALS, 0), seals);
            wrong.gives(name, file.metadata().map(|data| data.mode() & 0o777), mode);
        }
        let mut content = [0; 8];
        wrong.gives("reading", whole.read_exact_at(&mut content, 0), ());
        wrong.equal("content", content, *b"for good");
        wrong.holds("it cannot be written", whole.write_all_at(b"x", 0).is_err());
    })
}
