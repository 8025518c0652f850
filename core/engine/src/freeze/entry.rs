//! Threads that stand in a function of the vdso. Under another kernel its first bytes become a jump to the function of its own vdso, in
//! whose middle nobody can go on: such a thread runs them to their end before it is recorded.
//!
//! Whoever has read a clock there, and not yet added how far it is ahead, time_namespaces(7), would add what is true after the thaw. So
//! that a thread which is further inside goes on for a moment, and again, until it is met elsewhere.

use std::sync::OnceLock;
use std::time::Duration;

use dormouse_wire::{Pid, Tid};

use super::stopped::Stopped;
use crate::kernel::ptrace::{self, Event};
use crate::kernel::{Answer, memory};
use crate::model::RemotePtr;
use crate::puppet::arch;
use crate::resource::memory::vdso::{Function, KernelMappings, Vdso};

const PAGE: usize = 4096;

/// How often a thread goes on, and for how long: one that does nothing but read clocks may be met inside each time, and is taken so.
const TRIES: usize = 50;
const A_MOMENT: Duration = Duration::from_micros(50);

/// Where in the vdso a thread stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Elsewhere,
    /// In the first bytes of a function.
    Entry,
    /// Further inside of one that reads a clock.
    Inside,
}

impl Stopped {
    /// Lets a thread that has been interrupted out of there. Answers how it has stopped now.
    pub(super) fn leave_the_vdso(&mut self, pid: Pid, tid: Tid) -> Answer<Event> {
        for _ in 0..TRIES {
            let event = self.leave_the_entry(pid, tid)?;
            if event != Event::Interrupted || place(tid)? != Place::Inside {
                return Ok(event);
            }
            self.waits.forget(tid);
            ptrace::resume(tid, 0)?;
            std::thread::sleep(A_MOMENT);
            self.waits.look(pid, tid);
            ptrace::interrupt(tid)?;
            let event = self.wait_for(pid, tid)?;
            if event != Event::Interrupted {
                return Ok(event);
            }
        }
        self.leave_the_entry(pid, tid)
    }

    /// One step after the other: should the engine be killed meanwhile, the step may end the program, so that these are few.
    fn leave_the_entry(&mut self, pid: Pid, tid: Tid) -> Answer<Event> {
        let mut moved = false;
        // An instruction is a byte at least.
        for _ in 0..arch::JUMP {
            if place(tid)? != Place::Entry {
                break;
            }
            ptrace::step(tid)?;
            match self.wait_for(pid, tid)? {
                Event::Signal(libc::SIGTRAP) => moved = true,
                stopped @ (Event::Ended(_) | Event::Interrupted | Event::GroupStop(_)) => return Ok(stopped),
                other => {
                    // Something comes first, and the stop again right behind it.
                    ptrace::interrupt(tid)?;
                    return Ok(other);
                }
            }
        }
        if moved { self.stop_again(pid, tid) } else { Ok(Event::Interrupted) }
    }
}

/// A vdso of the running kernel.
struct Known {
    vdso: Vdso,
    functions: Vec<Function>,
    jump: usize,
}

impl Known {
    fn of(vdso: Option<Vdso>, jump: usize) -> Self {
        let vdso = vdso.unwrap_or_else(|| Vdso { code: Vec::new() });
        Self { functions: vdso.functions().unwrap_or_default(), vdso, jump }
    }

    /// What is so far behind the vdso's first byte.
    fn place(&self, offset: usize) -> Place {
        let functions = || self.functions.iter().filter(|function| function.offset < offset);
        if functions().any(|function| offset < function.offset + self.jump) {
            return Place::Entry;
        }
        // What gives random bytes may take long, and reads no clock.
        let mut clocks = functions()
            .filter(|function| function.name.starts_with(b"__vdso_") && function.name != b"__vdso_getrandom");
        if clocks.any(|function| offset < function.offset + function.size) { Place::Inside } else { Place::Elsewhere }
    }
}

/// Known by the code around it: the vdso may lie anywhere.
fn place(tid: Tid) -> Answer<Place> {
    static NATIVE: OnceLock<Known> = OnceLock::new();
    static NARROW: OnceLock<Known> = OnceLock::new();
    /// So much code is found nowhere else.
    const ENOUGH: usize = 16;
    let registers = ptrace::general_registers(tid)?;
    if arch::interrupted_call(&registers).is_some() {
        return Ok(Place::Elsewhere);
    }
    let known = if arch::is_narrow(&registers) {
        let narrow = || KernelMappings::narrow().ok().map(|narrow| narrow.vdso);
        NARROW.get_or_init(|| Known::of(narrow(), arch::NARROW_JUMP))
    } else {
        NATIVE.get_or_init(|| Known::of(Vdso::of_this_process(), arch::JUMP))
    };
    let within = registers.rip as usize % PAGE;
    let mut found = [0; ENOUGH];
    let found = &mut found[..ENOUGH.min(PAGE - within)];
    if memory::read(Pid(tid.0), RemotePtr(registers.rip), found).is_err() {
        return Ok(Place::Elsewhere);
    }
    let mut places = (within..known.vdso.code.len()).step_by(PAGE);
    let place = places.find(|place| known.vdso.code.get(*place..place + found.len()) == Some(found));
    Ok(place.map_or(Place::Elsewhere, |place| known.place(place)))
}
