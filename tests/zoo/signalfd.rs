//! Signalfds: which signals they take, and one that is waiting in it.

use std::os::fd::AsRawFd;

use crate::descriptors::{info, owned, read, would_wait};
use crate::kernel::{at, call};
use crate::signals::{bit, block};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let mask = bit(libc::SIGUSR1) | bit(libc::SIGRTMIN() + 5);
    block(mask | bit(libc::SIGUSR2))?;
    let create =
        |mask: u64, flags: i32| call(libc::SYS_signalfd4, &[usize::MAX, at(&mask), 8, flags as usize]).map(owned);
    let taking = create(mask, libc::SFD_NONBLOCK)?;
    let other = create(bit(libc::SIGUSR2), libc::SFD_NONBLOCK | libc::SFD_CLOEXEC)?;
    call(libc::SYS_kill, &[std::process::id() as usize, libc::SIGUSR1 as usize])?;
    stage.keeps(|wrong| {
        wrong.holds("its mask", info(&taking).contains(&format!("sigmask:\t{mask:016x}")));
        wrong.holds("the other one has nothing", would_wait(&read(&other, 128)));
    })?;
    let signal = read(&taking, 128)?;
    stage.wrong.equal("the signal", signal[..4].to_vec(), libc::SIGUSR1.to_ne_bytes().to_vec());
    stage.wrong.holds("no more", would_wait(&read(&taking, 128)));
    call(libc::SYS_kill, &[std::process::id() as usize, libc::SIGUSR2 as usize])?;
    stage.wrong.gives("one that comes afterwards", read(&other, 128).map(|bytes| bytes.len()), 128);
    stage.wrong.holds("it is open", other.as_raw_fd() > 2);
    Ok(())
}
