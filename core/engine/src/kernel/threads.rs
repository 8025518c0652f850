//! Threads of the engine that share one piece of work, pthreads(7).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};

use nix::sys::signal::{SigSet, SigmaskHow};

/// Does the work on so many threads, this one among them, and returns when all have ended. Where not so many can be had, those
/// that are there do it: limits apply (EAGAIN, pthread_create(3)), and Linux 6.1 makes no thread for one whose children are
/// to have other clocks (EINVAL, time_namespaces(7)).
pub fn together(threads: usize, work: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 1..threads {
            let _ = thread::Builder::new().spawn_scoped(scope, &work);
        }
        work();
    });
}

/// Does two things at once, the second in this thread; one after the other where no other thread can be had.
pub fn beside<A: Send, B>(aside: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    let work = Mutex::new(Some(aside));
    let take = || work.lock().unwrap_or_else(PoisonError::into_inner).take();
    thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, || take().map(|aside| aside()));
        let here = here();
        let aside = match other.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(Some(aside))) => aside,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Ok(Ok(None)) | Err(_) => match take() {
                Some(aside) => aside(),
                None => unreachable!("the work is taken by the thread that was made, or by nobody"),
            },
        };
        (aside, here)
    })
}

/// Does something in a thread of its own, which ends with it: the kernel lets go whoever that thread still traces then,
/// ptrace(2). In this one where no other can be had. No signal comes to it meanwhile: see [`undisturbed`].
pub fn apart<A: Send>(work: impl FnOnce() -> A + Send) -> A {
    let caller = thread::current().id();
    beside(|| undisturbed(work, caller), || ()).0
}

/// Does something while this thread takes no signals: those of the process go to another of its threads. Were this one traced
/// by somebody, it would stop for each of them, and the SIGCHLD for every stop of whom it traces itself comes unasked for:
/// ptrace(2), "Signal-delivery-stop". A thread of its own, which is not the caller's, takes none to its end: what still waits
/// then is for the others.
fn undisturbed<A>(work: impl FnOnce() -> A, caller: ThreadId) -> A {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let answer = work();
    if let (Ok(before), true) = (before, thread::current().id() == caller) {
        let _ = before.thread_set_mask();
    }
    answer
}

/// Items that one thread takes at a time.
const HANDFUL: usize = 8;
/// So many threads at most read what the kernel tells: more would wait for each other's locks.
const READERS: usize = 4;

/// Does the work on each item and returns the answers in the items' order. Several threads do it where there are many
/// items, for one has to bring back what making it has cost.
pub fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, usize::from).min(READERS);
    let threads = processors.min(items.len() / (2 * HANDFUL));
    if threads < 2 {
        return items.iter().map(work).collect();
    }
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    together(threads, || {
        let mut own = Vec::new();
        loop {
            let first = next.fetch_add(HANDFUL, Ordering::Relaxed);
            let Some(rest) = items.get(first..).filter(|rest| !rest.is_empty()) else { break };
            own.extend(rest.iter().take(HANDFUL).enumerate().map(|(index, item)| (first + index, work(item))));
        }
        if let Ok(mut done) = done.lock() {
            done.append(&mut own);
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, answer)| answer).collect()
}
