//! Threads that stand in a function of the vdso. Under another kernel its first bytes become a jump to the function of its own vdso, in
//! whose middle nobody can go on; and whoever has read the clock there and not yet added how far it is ahead, time_namespaces(7), would
//! add what is true after the thaw. Such a thread runs the function to its end before it is recorded.

use std::sync::OnceLock;

use dormouse_wire::{Pid, Tid};

use super::stopped::Stopped;
use crate::kernel::ptrace::{self, Event};
use crate::kernel::{Answer, memory};
use crate::model::RemotePtr;
use crate::puppet::arch;
use crate::resource::memory::vdso::{Function, KernelMappings, Vdso};

const PAGE: usize = 4096;

/// More instructions than a function takes that reads a clock.
const MOST_STEPS: usize = 4000;

impl Stopped {
    /// Lets a thread that has been interrupted out of there. Answers how it has stopped now.
    pub(super) fn leave_the_entry(&mut self, pid: Pid, tid: Tid) -> Answer<Event> {
        let mut moved = false;
        for _ in 0..MOST_STEPS {
            if !stands_in_a_function(tid)? {
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

    /// Whether a thread that stands there, counted from the vdso's first byte, is to leave.
    fn is_inside(&self, offset: usize) -> bool {
        self.functions.iter().any(|function| {
            // What gives random bytes may take long, and reads no clock.
            let reads_a_clock = function.name.starts_with(b"__vdso_") && function.name != b"__vdso_getrandom";
            let length = if reads_a_clock { function.size.max(self.jump) } else { self.jump };
            (function.offset + 1..function.offset + length).contains(&offset)
        })
    }
}

/// Known by the code around it: the vdso may lie anywhere.
fn stands_in_a_function(tid: Tid) -> Answer<bool> {
    static NATIVE: OnceLock<Known> = OnceLock::new();
    static NARROW: OnceLock<Known> = OnceLock::new();
    /// So much code is found nowhere else.
    const ENOUGH: usize = 16;
    let registers = ptrace::general_registers(tid)?;
    if arch::interrupted_call(&registers).is_some() {
        return Ok(false);
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
        return Ok(false);
    }
    let mut places = (within..known.vdso.code.len()).step_by(PAGE);
    let place = places.find(|place| known.vdso.code.get(*place..place + found.len()) == Some(found));
    Ok(place.is_some_and(|place| known.is_inside(place)))
}
