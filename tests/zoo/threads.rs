//! Fifty threads: each with its own memory (TLS), signal mask, alternate stack, name and place on its stack.

use std::cell::Cell;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::kernel::{at, call, into, status, tid};
use crate::memory::Mapping;
use crate::stage::{Held, Stage};

thread_local! {
    static OWN: Cell<usize> = const { Cell::new(0) };
}

/// What a thread has of its own: TLS, mask, alternate stack, name, tid.
fn own_things(number: usize) -> String {
    let mut mask = 0_u64;
    let _ = call(libc::SYS_rt_sigprocmask, &[0, 0, into(&mut mask), 8]);
    let mut stack = [0_usize; 3];
    let _ = call(libc::SYS_sigaltstack, &[0, into(&mut stack)]);
    let name = status(&format!("/proc/self/task/{}/status", tid()), "Name");
    format!("{number}: tls {} mask {mask:x} stack {stack:x?} name {name} tid {}", OWN.get(), tid())
}

fn set_up(number: usize) -> Held {
    OWN.set(number * 1000 + 1);
    let mask = 1_u64 << (33 + number % 30) | 1 << (libc::SIGUSR1 - 1);
    call(libc::SYS_rt_sigprocmask, &[libc::SIG_SETMASK as usize, at(&mask), 0, 8])?;
    let place = Mapping::anonymous(4)?;
    call(libc::SYS_sigaltstack, &[at(&[place.start, 0, place.length]), 0])?;
    Ok(())
}

pub fn hold(stage: &mut Stage) -> Held {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let (say, heard) = channel();
    let threads: Vec<_> = (0..50)
        .map(|number| {
            let (gate, say) = (Arc::clone(&gate), say.clone());
            thread::Builder::new().name(format!("thread {number}")).stack_size(256 << 10).spawn(move || {
                let on_the_stack = [number; 100];
                let set_up = set_up(number);
                let before = own_things(number);
                let _ = say.send(set_up.is_ok() && before.contains(&format!("tls {} ", number * 1000 + 1)));
                let (open, condition) = &*gate;
                let mut open = open.lock().map_err(|error| error.to_string())?;
                while !*open {
                    open = condition.wait(open).map_err(|error| error.to_string())?;
                }
                drop(open);
                let after = own_things(number);
                let stack_holds = std::hint::black_box(on_the_stack).iter().all(|one| *one == number);
                if before == after && stack_holds {
                    Ok(())
                } else {
                    Err(format!("before {before}, after {after}, stack {stack_holds}"))
                }
            })
        })
        .collect::<Result<_, _>>()?;
    for _ in 0..50 {
        stage.wrong.equal("a thread sets itself up", heard.recv()?, true);
    }
    stage.ready_and_wait()?;
    *gate.0.lock().map_err(|_| crate::stage::Trouble::Failed("the lock is poisoned".to_owned()))? = true;
    gate.1.notify_all();
    for thread in threads {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(what)) => stage.wrong.say(what),
            Err(_) => stage.wrong.say("a thread panicked"),
        }
    }
    Ok(())
}
