//! The vdso: a thread asks it for the time without pause, all through the freeze; clocks go forwards only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::kernel;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let asking = {
        let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
        std::thread::spawn(move || {
            let mut backwards = 0_u64;
            let mut last = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                let now = Instant::now();
                backwards += u64::from(now < last);
                last = now;
                std::hint::black_box(SystemTime::now());
                asked.fetch_add(1, Ordering::Relaxed);
            }
            backwards
        })
    };
    stage.wrong.holds("the thread asks", kernel::until(|| asked.load(Ordering::Relaxed) > 1000));
    stage.ready_and_wait()?;
    let before = asked.load(Ordering::Relaxed);
    stage.wrong.holds("the thread asks on", kernel::until(|| asked.load(Ordering::Relaxed) > before + 1000));
    stop.store(true, Ordering::Relaxed);
    stage.wrong.equal("the clock went backwards", asking.join().unwrap_or(u64::MAX), 0);
    let begin = Instant::now();
    kernel::nap(Duration::from_millis(50));
    stage.wrong.holds("time passes", begin.elapsed() >= Duration::from_millis(50));
    Ok(())
}
