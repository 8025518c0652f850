//! Threads of the engine that share one piece of work, pthreads(7).

use std::thread;

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
