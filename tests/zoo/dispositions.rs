//! What happens when a signal comes: handlers with every flag and mask, ignored ones, the default ones.

use std::sync::atomic::Ordering;

use crate::kernel::checked;
use crate::memory::Mapping;
use crate::signals::{Action, COUNT, action, bit, count, handle};
use crate::stage::{Held, Stage};

const FLAGS: [i32; 7] = [
    0,
    libc::SA_RESTART,
    libc::SA_ONSTACK,
    libc::SA_NODEFER,
    libc::SA_RESETHAND,
    libc::SA_NOCLDSTOP,
    libc::SA_NOCLDWAIT | libc::SA_RESTART,
];

pub fn hold(stage: &mut Stage) -> Held {
    let stack = Mapping::anonymous(8)?;
    crate::kernel::call(libc::SYS_sigaltstack, &[crate::kernel::at(&[stack.start, 0, stack.length]), 0])?;
    let handler = count as *const () as usize;
    for (number, flags) in FLAGS.into_iter().enumerate() {
        let signal = libc::SIGRTMIN() + number as i32;
        handle(signal, handler, flags | libc::SA_SIGINFO, bit(signal + 10) | bit(libc::SIGHUP))?;
    }
    handle(libc::SIGCHLD, handler, libc::SA_SIGINFO | libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT, 0)?;
    handle(libc::SIGUSR1, libc::SIG_IGN, 0, 0)?;
    handle(libc::SIGUSR2, libc::SIG_DFL, libc::SA_RESTART, bit(libc::SIGINT))?;
    let all = || (1..=64).map(|signal| action(signal).unwrap_or_default()).collect::<Vec<_>>();
    let before = all();
    let own = |actions: &[Action]| actions.iter().filter(|action| action.handler == handler).count();
    stage.wrong.equal("handlers", own(&before), FLAGS.len() + 1);
    stage.keeps(|wrong| {
        for (number, (now, then)) in all().iter().zip(&before).enumerate() {
            wrong.equal(&format!("action of signal {}", number + 1), *now, *then);
        }
    })?;
    for number in 0..FLAGS.len() as i32 {
        // SAFETY: the signal has a handler.
        checked(unsafe { libc::raise(libc::SIGRTMIN() + number) })?;
    }
    stage.wrong.equal("handlers that ran", COUNT.load(Ordering::SeqCst), FLAGS.len() as u32);
    stage.wrong.gives("the one that is used once", action(libc::SIGRTMIN() + 4).map(|action| action.handler), 0);
    Ok(())
}
