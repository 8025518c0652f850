//! Seccomp's strict mode: a thread that may only read, write and exit. It adds one to each byte that it gets; at 255 it makes
//! another call, and that ends it alone.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsRawFd;

use crate::kernel::{self, at, call, into, prctl, status, tid};
use crate::stage::{Held, Stage, Wrong, cannot};

/// The life of the strict thread, which allocates nothing from then on.
fn live(reader: &PipeReader, writer: &PipeWriter) {
    let (reads, writes) = (reader.as_raw_fd() as usize, writer.as_raw_fd() as usize);
    let mut byte = [0_u8];
    // The mode of prctl(2): SECCOMP_MODE_STRICT.
    let strict = prctl(libc::PR_SET_SECCOMP, &[1, 0, 0, 0]).is_ok();
    while call(libc::SYS_read, &[reads, into(&mut byte), 1]).is_ok_and(|read| read == 1) {
        if byte[0] == 255 {
            let _ = call(libc::SYS_getppid, &[]);
        }
        byte[0] += u8::from(strict);
        let _ = call(libc::SYS_write, &[writes, at(&byte), 1]);
    }
    let _ = call(libc::SYS_exit, &[0]);
}

fn ask(wrong: &mut Wrong, to: &mut PipeWriter, from: &mut PipeReader) {
    let mut byte = [0];
    let answered = to.write_all(&[6]).and_then(|()| from.read_exact(&mut byte));
    wrong.gives("the thread answers", answered.map(|()| byte[0]), 7);
}

pub fn hold(stage: &mut Stage) -> Held {
    let (asked, mut ask_it) = pipe()?;
    let (mut answers, answer) = pipe()?;
    let (say, said) = std::sync::mpsc::channel();
    std::thread::Builder::new().spawn(move || {
        let _ = say.send(tid());
        live(&asked, &answer);
    })?;
    let thread = said.recv()?;
    let path = format!("/proc/self/task/{thread}");
    ask(&mut stage.wrong, &mut ask_it, &mut answers);
    if status(&format!("{path}/status"), "Seccomp") != "1" {
        return cannot("this kernel has no strict mode");
    }
    stage.keeps(|wrong| {
        wrong.equal("the mode", status(&format!("{path}/status"), "Seccomp"), "1".to_owned());
        wrong.equal("the mode of the others", status("/proc/self/status", "Seccomp"), "0".to_owned());
        ask(wrong, &mut ask_it, &mut answers);
    })?;
    ask_it.write_all(&[255])?;
    let is_gone = || !std::path::Path::new(&path).exists();
    stage.wrong.holds("another call ends it, and nobody else", kernel::until(is_gone));
    Ok(())
}
