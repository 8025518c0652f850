//! The robust list: a thread that holds a robust mutex dies after the thaw, and the next owner is told.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::kernel::{self, at, call, into, tid};
use crate::stage::{Held, Stage};

const FUTEX_OWNER_DIED: u32 = 0x4000_0000;

/// `struct robust_list_head` with one lock in it, and the lock: futex(2), "robust futexes".
#[repr(C)]
struct Robust {
    first: usize,
    offset: i64,
    pending: usize,
    /// The list's entry; its futex lies 8 bytes behind it.
    entry: usize,
    lock: AtomicU32,
}

pub fn hold(stage: &mut Stage) -> Held {
    let robust: &'static mut Robust =
        Box::leak(Box::new(Robust { first: 0, offset: 8, pending: 0, entry: 0, lock: AtomicU32::new(0) }));
    robust.first = &raw const robust.entry as usize;
    robust.entry = &raw const robust.first as usize;
    let robust: &'static Robust = robust;
    let (say, heard) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        robust.lock.store(tid() as u32, Ordering::SeqCst);
        let set = call(libc::SYS_set_robust_list, &[at(robust), 24]);
        let _ = say.send((tid(), set.is_ok()));
        let _ = ended.recv();
    });
    let (owner, set) = heard.recv()?;
    stage.wrong.holds("set_robust_list", set);
    stage.keeps(|wrong| {
        let (mut head, mut length) = (0_usize, 0_usize);
        let got = call(libc::SYS_get_robust_list, &[owner as usize, into(&mut head), into(&mut length)]);
        wrong.gives("get_robust_list", got.map(|_| (head, length)), (at(robust), 24));
        wrong.equal("the lock's owner", robust.lock.load(Ordering::SeqCst), owner as u32);
    })?;
    drop(end);
    let _ = thread.join();
    kernel::nap(Duration::from_millis(20));
    stage.wrong.equal("the lock says that its owner died", robust.lock.load(Ordering::SeqCst), FUTEX_OWNER_DIED);
    Ok(())
}
