//! Threads that stand in the first instructions of a function of the vdso. Under another kernel these bytes become a jump to
//! the function of its own vdso, in whose middle nobody can go on: such a thread runs them to their end before it is recorded.

use std::sync::OnceLock;

use dormouse_wire::{Pid, Tid};

use super::stopped::Stopped;
use crate::kernel::Answer;
use crate::kernel::ptrace::{self, Event};
use crate::proc;
use crate::proc::maps::{MappingName, parse_maps};
use crate::puppet::arch;
use crate::resource::memory::vdso::Vdso;

const PAGE: u64 = 4096;

impl Stopped {
    /// Lets a thread that has been interrupted out of there. Answers how it has stopped now.
    pub(super) fn leave_the_entry(&mut self, pid: Pid, tid: Tid) -> Answer<Event> {
        let mut moved = false;
        // An instruction is a byte at least.
        for _ in 0..arch::JUMP {
            if !stands_in_an_entry(pid, tid)? {
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

fn stands_in_an_entry(pid: Pid, tid: Tid) -> Answer<bool> {
    static ENTRIES: OnceLock<Vec<u64>> = OnceLock::new();
    let entries = ENTRIES.get_or_init(|| {
        let functions = Vdso::of_this_process().and_then(|vdso| vdso.functions()).unwrap_or_default();
        functions.iter().map(|function| function.offset as u64).collect()
    });
    let at = ptrace::general_registers(tid)?.rip;
    // The vdso begins with a page: only where that fits is it worth a look at the mappings.
    let begins = entries.iter().filter_map(|entry| {
        let behind = at.checked_sub(*entry)?;
        (1..arch::JUMP as u64).contains(&(behind % PAGE)).then_some(behind - behind % PAGE)
    });
    let begins: Vec<u64> = begins.collect();
    if begins.is_empty() {
        return Ok(false);
    }
    let mappings = proc::parsed(pid, "maps", parse_maps).unwrap_or_default();
    let vdso = mappings.iter().find(|mapping| mapping.name == MappingName::Vdso);
    Ok(vdso.is_some_and(|vdso| begins.contains(&vdso.start)))
}
