//! Single system calls of a thread that end otherwise than by coming back: it exits, stops with its process, or is interrupted.

use crate::kernel::memory;
use crate::kernel::ptrace::{self, Event};
use crate::model::RemotePtr;

use super::arch::{self, Abi};
use super::error::{PuppetError, kernel};
use super::stage::Desk;
use super::thread::{Puppet, bit};

impl Puppet {
    /// Lets the thread go to the entry of a system call from which it does not come back. No signal comes in between any
    /// more, whatever mask it is given there.
    pub fn go_to_call(&mut self, instruction: RemotePtr, number: i64, arguments: [u64; 6]) -> Result<(), PuppetError> {
        self.enter()?;
        let registers = arch::enter_call(&self.registers, instruction, number, arguments);
        ptrace::set_general_registers(self.tid, &registers).map_err(kernel("set the thread's registers"))?;
        self.run_to_border_of_call()
    }

    /// Lets the thread stop its whole process by a signal. Answers false where the kernel ignores the signal.
    pub fn stop_process(&mut self, instruction: RemotePtr, signal: i32) -> Result<bool, PuppetError> {
        self.single_call(instruction, libc::SYS_kill, [self.called.0.0 as u64, signal as u64, 0, 0, 0, 0])?;
        ptrace::set_signal_mask(self.tid, !bit(self.marker) & !bit(signal))
            .map_err(kernel("unblock the signal that stops it"))?;
        let stops = self.join_stop(instruction)?;
        ptrace::set_signal_mask(self.tid, !bit(self.marker)).map_err(kernel("block the thread's signals"))?;
        Ok(stops)
    }

    /// Lets the thread take part in the stop of its process. Answers false where it does not stop.
    pub fn join_stop(&mut self, instruction: RemotePtr) -> Result<bool, PuppetError> {
        self.enter()?;
        // If it is not stopped, it comes to the entry of this call.
        let registers = arch::enter_call(&self.registers, instruction, libc::SYS_getpid, [0; 6]);
        ptrace::set_general_registers(self.tid, &registers).map_err(kernel("set the thread's registers"))?;
        let mut taken = 0;
        loop {
            self.let_run_to_call(taken)?;
            taken = match self.wait()? {
                Event::GroupStop(_) => return Ok(true),
                Event::Syscall => return Ok(false),
                Event::Ended(_) => return Err(PuppetError::Ended),
                Event::Signal(signal @ (libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)) => signal,
                _ => 0,
            };
        }
    }

    /// Runs to the next entry to or exit from a system call.
    pub(super) fn run_to_border_of_call(&mut self) -> Result<(), PuppetError> {
        loop {
            self.let_run_to_call(0)?;
            match self.wait()? {
                Event::Syscall => return Ok(()),
                Event::Ended(_) => return Err(PuppetError::Ended),
                Event::Signal(signal @ (libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGTRAP)) => {
                    return Err(PuppetError::Fault(signal));
                }
                Event::Signal(signal) if signal != self.marker => self.stop_signals.push(signal),
                _ => {}
            }
        }
    }

    /// Makes one system call that is interrupted as soon as it waits, so that the kernel keeps what is left of it; answers
    /// the kernel's inner value, -ERESTART_RESTARTBLOCK where it waits, or what the call has answered at once. `data` is
    /// written to the desk's frame before. A 64-bit call is made at `instruction`, another one in the loop.
    pub fn interrupted_call(
        &mut self,
        instruction: RemotePtr,
        desk: &Desk,
        abi: Abi,
        (number, arguments): (i64, [u64; 6]),
        data: &[u8],
    ) -> Result<i64, PuppetError> {
        self.enter()?;
        memory::write(self.space(), desk.frame, data).map_err(kernel("write the engine's pages in the process"))?;
        let registers = match abi {
            Abi::Native => arch::enter_call(&self.registers, instruction, number, arguments),
            Abi::Ia32 => arch::enter_old_call(&self.registers, desk.code, number, arguments),
        };
        ptrace::set_general_registers(self.tid, &registers).map_err(kernel("set the thread's registers"))?;
        self.run_to_border_of_call()?;
        // It stands before the call: the interrupt is there already when it begins to wait.
        ptrace::interrupt(self.tid).map_err(kernel("interrupt the thread"))?;
        self.let_run()?;
        loop {
            match self.wait()? {
                Event::Interrupted | Event::GroupStop(_) => break,
                Event::Ended(_) => return Err(PuppetError::Ended),
                Event::Signal(signal) if signal != self.marker => self.stop_signals.push(signal),
                _ => {}
            }
            self.let_run()?;
        }
        let registers = ptrace::general_registers(self.tid).map_err(kernel("read the registers"))?;
        Ok(arch::call_result(&registers))
    }
}
