//! One stopped thread: entered to run batches, left as it was found.

use std::time::Duration;

use dormouse_wire::{Pid, Tid};

use crate::kernel::memory;
use crate::kernel::ptrace::{self, Event, GeneralRegisters, PATIENCE, SyscallDispatch};
use crate::kernel::{Answer, Errno};
use crate::model::RemotePtr;

use super::arch::{self, Abi, RECORD};
use super::batch::{Batch, FailedCall, Slot};
use super::error::{PuppetError, kernel};
use super::stage::Desk;

/// A stopped thread in which the engine runs system calls.
#[derive(Debug)]
pub struct Puppet {
    /// Its process.
    pub pid: Pid,
    /// Its own id.
    pub tid: Tid,
    /// The registers it was stopped with.
    pub registers: GeneralRegisters,
    /// The signal mask it was stopped with.
    pub mask: u64,
    /// How it makes system calls, or has made the one that it stands in.
    pub abi: Abi,
    /// What became of its system calls when it was stopped.
    pub dispatch: Option<SyscallDispatch>,
    /// What it and its process are called in the pid namespace that they live in.
    pub(super) called: (Pid, Tid),
    pub(super) marker: i32,
    entered: bool,
    confined: bool,
    /// It was let run, and has not been seen to stop.
    pub(super) runs: bool,
    /// How long it may take for what it is told.
    pub patience: Duration,
    /// Stop signals that came while it worked: they are sent again when it is let go.
    pub stop_signals: Vec<i32>,
}

/// Signals that are ignored where they have no handler, and harmless where they have one.
const MARKERS: [i32; 3] = [libc::SIGURG, libc::SIGWINCH, libc::SIGCHLD];

/// The first one that does not wait.
fn marker(pending: u64) -> Answer<i32> {
    MARKERS.into_iter().find(|signal| pending & bit(*signal) == 0).ok_or(Errno::EBUSY)
}

pub(super) fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

impl Puppet {
    /// Takes over a thread that has been seized and has stopped. `pending`: its and its process's waiting signals.
    pub fn new(pid: Pid, tid: Tid, pending: u64) -> Answer<Self> {
        let registers = ptrace::general_registers(tid)?;
        let mask = ptrace::signal_mask(tid)?;
        let (marker, dispatch) = (marker(pending)?, ptrace::syscall_dispatch(tid)?);
        let (called, stop_signals, patience) = ((pid, tid), Vec::new(), PATIENCE);
        Ok(Self {
            pid,
            tid,
            called,
            registers,
            mask,
            abi: Abi::of(tid, &registers),
            dispatch,
            marker,
            entered: false,
            confined: false,
            runs: false,
            patience,
            stop_signals,
        })
    }

    /// Tells it what both are called in their own pid namespace, if that is not ours. Before the first batch.
    pub fn is_called(&mut self, process: Pid, thread: Tid) {
        self.called = (process, thread);
    }

    /// Keeps away from these signals: they wait for it or its process, or are to wait again. The engine's own signal
    /// must be none of them, or it would take one of the thread's for the end of its work.
    pub fn avoid(&mut self, pending: u64) -> Answer<()> {
        self.marker = marker(pending)?;
        if self.entered { ptrace::set_signal_mask(self.tid, !bit(self.marker)) } else { Ok(()) }
    }

    /// Lifts what confines its system calls, seccomp(2), for as long as it is traced. `end_with_us`: it dies when we do.
    pub fn lift_confinement(&mut self, end_with_us: bool) -> Answer<()> {
        ptrace::set_options(self.tid, ptrace::Options { end_with_us, suspend_seccomp: true })?;
        self.confined = true;
        Ok(())
    }

    /// Whether its confinement has been lifted.
    pub fn is_confined(&self) -> bool {
        self.confined
    }

    /// The process as its memory is reached: by this thread, for the leader may have exited.
    pub(super) fn space(&self) -> Pid {
        Pid(self.tid.0)
    }

    /// Blocks all signals but the marker, for as long as the engine works in the thread. After its registers have been
    /// set: from there on it finds its way back by itself, with its own mask, should the engine die.
    pub(super) fn enter(&mut self) -> Result<(), PuppetError> {
        if !self.entered {
            ptrace::set_signal_mask(self.tid, !bit(self.marker)).map_err(kernel("block the thread's signals"))?;
            if self.dispatch.is_some() {
                // The calls are ours now, and no business of the program's.
                let off = SyscallDispatch::default();
                ptrace::set_syscall_dispatch(self.tid, off)
                    .map_err(kernel("switch off its dispatch of system calls"))?;
            }
            self.entered = true;
        }
        Ok(())
    }

    /// Gives the thread the registers that it is to run on with, where these are not the ones it was stopped with: an
    /// interrupted call must be made again whatever becomes of the engine.
    pub fn settle(&self) -> Answer<()> {
        if ptrace::general_registers(self.tid)? == self.registers {
            return Ok(());
        }
        ptrace::set_general_registers(self.tid, &self.registers)
    }

    /// Puts back mask and registers as they were found. It must stand still.
    pub fn leave(&mut self) -> Result<(), PuppetError> {
        if self.runs {
            return Err(PuppetError::Stuck(self.tid));
        }
        if self.entered {
            // In this order: should the engine die in between, the thread goes on from its return frame.
            ptrace::set_signal_mask(self.tid, self.mask).map_err(kernel("give the thread its signal mask back"))?;
            ptrace::set_general_registers(self.tid, &self.registers)
                .map_err(kernel("give the thread its registers back"))?;
            if let Some(dispatch) = self.dispatch {
                ptrace::set_syscall_dispatch(self.tid, dispatch)
                    .map_err(kernel("switch on its dispatch of system calls"))?;
            }
            self.entered = false;
        }
        Ok(())
    }

    /// Runs all calls of the batch, in as many rounds as the desk asks for.
    pub fn run(&mut self, desk: &Desk, batch: &mut Batch) -> Result<(), PuppetError> {
        let mut next = 0;
        while next < batch.entries.len() {
            let round = Round::plan(batch, next, desk)?;
            self.start(desk, batch, &round)?;
            self.finish(desk, batch, &round)?;
            next = round.end;
        }
        Ok(())
    }

    /// Runs all calls of a small batch, and does something in the last moment before the first of them.
    pub fn run_at_once(
        &mut self,
        desk: &Desk,
        batch: &mut Batch,
        last: impl FnOnce() -> Answer<()>,
    ) -> Result<(), PuppetError> {
        let round = Round::plan(batch, 0, desk)?;
        if round.end < batch.entries.len() {
            return Err(PuppetError::TooLarge);
        }
        self.prepare(desk, batch, &round)?;
        last().map_err(kernel("choose the number of what it makes"))?;
        self.let_run()?;
        self.finish(desk, batch, &round)
    }

    /// Lets the thread begin; [`Puppet::finish`] waits for it. In between other threads can be started.
    pub fn start(&mut self, desk: &Desk, batch: &Batch, round: &Round) -> Result<(), PuppetError> {
        self.prepare(desk, batch, round)?;
        self.let_run()
    }

    fn prepare(&mut self, desk: &Desk, batch: &Batch, round: &Round) -> Result<(), PuppetError> {
        let mut bytes = self.return_frame();
        bytes.append(&mut round.encode(batch, desk));
        memory::write(self.space(), desk.frame, &bytes).map_err(kernel("write the engine's pages in the process"))?;
        let records = desk.records();
        let end = records + (round.count() * RECORD) as u64;
        let registers = arch::enter_stage(&self.registers, desk.code, records, end, desk.frame);
        ptrace::set_general_registers(self.tid, &registers).map_err(kernel("set the thread's registers"))?;
        self.enter()
    }

    /// What the thread goes back to by itself when the engine is gone.
    pub(super) fn return_frame(&self) -> Vec<u8> {
        let who = (self.called.0.0, self.called.1.0, self.marker);
        arch::return_frame(who, self.mask, &self.registers, self.abi)
    }

    /// Waits for the end of the round and takes the answers.
    pub fn finish(&mut self, desk: &Desk, batch: &mut Batch, round: &Round) -> Result<(), PuppetError> {
        self.wait_for_marker(desk)?;
        let mut bytes = vec![0; round.bytes()];
        memory::read(self.space(), desk.records(), &mut bytes)
            .map_err(kernel("read the engine's pages in the process"))?;
        round.decode(batch, &bytes);
        match batch.failed() {
            Some(failed) => Err(PuppetError::Call(failed)),
            None => Ok(()),
        }
    }

    fn wait_for_marker(&mut self, desk: &Desk) -> Result<(), PuppetError> {
        loop {
            let event = self.wait()?;
            match event {
                Event::Ended(_) => return Err(PuppetError::Ended),
                Event::Signal(signal) if signal == self.marker && self.sent_by_itself(desk)? => return Ok(()),
                Event::Signal(signal @ (libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)) => {
                    self.stop_signals.push(signal);
                }
                Event::Signal(
                    signal
                    @ (libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP | libc::SIGSYS),
                ) => return Err(PuppetError::Fault(signal)),
                // A stray marker from elsewhere, or a stop that was asked for earlier: nothing to do with the batch.
                Event::Signal(_) | Event::Interrupted | Event::GroupStop(_) | Event::Syscall | Event::Other(_) => {}
            }
            self.let_run()?;
        }
    }

    /// Whether the loop has sent the signal: the thread stands behind its last call. siginfo_t: si_code at byte 8, si_pid at
    /// byte 16, sigaction(2).
    fn sent_by_itself(&self, desk: &Desk) -> Result<bool, PuppetError> {
        let info = ptrace::stop_signal(self.tid).map_err(kernel("look at the thread's signal"))?;
        let number = |at: usize| i32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
        let registers = ptrace::general_registers(self.tid).map_err(kernel("read the registers"))?;
        Ok(number(8) == libc::SI_TKILL && number(16) == self.called.0.0 && arch::is_at_the_end(&registers, desk.code))
    }

    /// Makes one system call at a `syscall` instruction that the process has: for what a stage cannot do, which is to
    /// make itself and to vanish.
    pub fn single_call(
        &mut self,
        instruction: RemotePtr,
        number: i64,
        arguments: [u64; 6],
    ) -> Result<u64, PuppetError> {
        self.call_from(&arch::enter_call(&self.registers, instruction, number, arguments))
    }

    /// Makes the system call that these registers stand before.
    pub(super) fn call_from(&mut self, registers: &GeneralRegisters) -> Result<u64, PuppetError> {
        ptrace::set_general_registers(self.tid, registers).map_err(kernel("set the thread's registers"))?;
        self.enter()?;
        self.run_to_border_of_call()?;
        self.run_to_border_of_call()?;
        let result = arch::call_result(&ptrace::general_registers(self.tid).map_err(kernel("read the registers"))?);
        if (-4095..0).contains(&result) {
            let failed =
                FailedCall { purpose: "make a call in the process".into(), errno: Errno::from_raw(-result as i32) };
            return Err(PuppetError::Call(failed));
        }
        Ok(result as u64)
    }
}

/// As many calls of a batch, with their data, as fit on a desk.
#[derive(Debug)]
pub struct Round {
    begin: usize,
    /// The first call that is not in it.
    pub end: usize,
    /// Data: where in the batch, and where behind the records. None where all of the batch's data goes along.
    slots: Option<Vec<(Slot, usize)>>,
    data_bytes: usize,
}

impl Round {
    /// Takes calls from `begin` on while there is room.
    pub fn plan(batch: &Batch, begin: usize, desk: &Desk) -> Result<Self, PuppetError> {
        let (count, all) = (batch.entries.len(), batch.data.len());
        if begin == 0 && count * RECORD + all <= desk.room() {
            return Ok(Self { begin, end: count, slots: None, data_bytes: all });
        }
        let (mut round, mut slots) = (Self { begin, end: begin, slots: None, data_bytes: 0 }, Vec::new());
        for entry in &batch.entries[begin..] {
            let mut needed = Vec::new();
            for argument in &entry.arguments {
                if let super::Argument::Data(slot) = argument {
                    collect(batch, *slot, &mut needed);
                }
            }
            needed.retain(|slot| !slots.iter().any(|(known, _)| known == slot));
            let more: usize = needed.iter().map(|slot| slot.length.next_multiple_of(16)).sum();
            if (round.count() + 1) * RECORD + round.data_bytes + more > desk.room() {
                break;
            }
            for slot in needed {
                slots.push((slot, round.data_bytes));
                round.data_bytes += slot.length.next_multiple_of(16);
            }
            round.end += 1;
        }
        round.slots = Some(slots);
        if round.end == begin && begin < batch.entries.len() { Err(PuppetError::TooLarge) } else { Ok(round) }
    }

    fn count(&self) -> usize {
        self.end - self.begin
    }

    fn bytes(&self) -> usize {
        self.count() * RECORD + self.data_bytes
    }

    fn place(&self, slot: Slot) -> Option<usize> {
        let place = match &self.slots {
            None => slot.offset,
            Some(slots) => slots.iter().find(|(known, _)| *known == slot)?.1,
        };
        Some(self.count() * RECORD + place)
    }

    fn encode(&self, batch: &Batch, desk: &Desk) -> Vec<u8> {
        let base = desk.records().0;
        let data = |slot: Slot| self.place(slot).map_or(0, |place| base + place as u64);
        let result = |call: usize| {
            (call >= self.begin).then(|| base + ((call - self.begin) * RECORD + arch::record::RESULT) as u64)
        };
        let mut bytes = Vec::with_capacity(self.bytes());
        for index in self.begin..self.end {
            bytes.extend_from_slice(&batch.encode(index, data, result));
        }
        let Some(slots) = &self.slots else {
            let begin = bytes.len();
            bytes.extend_from_slice(&batch.data);
            for (at, target) in &batch.pointers {
                bytes[begin + at..begin + at + 8].copy_from_slice(&data(*target).to_ne_bytes());
            }
            return bytes;
        };
        bytes.resize(self.bytes(), 0);
        for (slot, _) in slots {
            let Some(place) = self.place(*slot) else { continue };
            bytes[place..place + slot.length].copy_from_slice(batch.read(*slot));
            for (at, target) in &batch.pointers {
                if (slot.offset..slot.offset + slot.length).contains(at) {
                    let at = place + at - slot.offset;
                    bytes[at..at + 8].copy_from_slice(&data(*target).to_ne_bytes());
                }
            }
        }
        bytes
    }

    fn decode(&self, batch: &mut Batch, bytes: &[u8]) {
        for index in self.begin..self.end {
            let at = (index - self.begin) * RECORD;
            batch.decode(index, &bytes[at..at + RECORD]);
        }
        let Some(slots) = &self.slots else {
            batch.data.copy_from_slice(&bytes[self.count() * RECORD..]);
            return;
        };
        for (slot, place) in slots {
            let place = self.count() * RECORD + place;
            batch.data[slot.offset..slot.offset + slot.length].copy_from_slice(&bytes[place..place + slot.length]);
        }
    }
}

/// A slot and all that it points to.
fn collect(batch: &Batch, slot: Slot, needed: &mut Vec<Slot>) {
    if needed.contains(&slot) {
        return;
    }
    needed.push(slot);
    for (at, target) in &batch.pointers {
        if (slot.offset..slot.offset + slot.length).contains(at) {
            collect(batch, *target, needed);
        }
    }
}

/// Runs one batch in each of several threads of a process, all at the same time where the batches are small.
pub fn run_together(puppets: &mut [Puppet], stage: &super::Stage, batches: &mut [Batch]) -> Result<(), PuppetError> {
    let mut rounds = Vec::with_capacity(batches.len());
    for (index, (puppet, batch)) in puppets.iter_mut().zip(batches.iter_mut()).enumerate() {
        let desk = stage.desk(index);
        let round = Round::plan(batch, 0, &desk)?;
        if round.end < batch.entries.len() {
            puppet.run(&desk, batch)?;
        } else if round.end > 0 {
            puppet.start(&desk, batch, &round)?;
            rounds.push((index, desk, round));
        }
    }
    let mut failure = None;
    for (index, desk, round) in rounds {
        // Whatever one thread met, all others are waited for: they must stand still again. They have had as long as the
        // one that was not done.
        if matches!(failure, Some(PuppetError::Frozen(_) | PuppetError::Stuck(_))) {
            puppets[index].patience = Duration::ZERO;
        }
        if let Err(error) = puppets[index].finish(&desk, &mut batches[index], &round) {
            failure.get_or_insert(error);
        }
    }
    failure.map_or(Ok(()), Err)
}
