//! Letting go: every thread runs on as it was found.
//!
//! Who does as told has all the time it needs for that. Where somebody does not, for it was frozen or gets no processor, the
//! others have a moment more; what cannot be done in time stays undone as after the death of the engine: pages of the engine
//! that are in nobody's way, and a thread that finds its way back by itself when it runs again.

use std::time::{Duration, Instant};

use crate::kernel::ptrace::{self, Event};
use crate::puppet::{Puppet, PuppetError};

use super::stopped::{Stopped, StoppedProcess};

/// So long the undoing goes on after somebody has not done as told.
const A_MOMENT: Duration = Duration::from_secs(2);

/// By when all must be let go, once somebody has not done as told.
#[derive(Debug, Default)]
pub struct Undo(Option<Instant>);

impl Undo {
    /// From now on there is only a moment left.
    fn hurry(&mut self) -> Instant {
        *self.0.get_or_insert_with(|| Instant::now() + A_MOMENT)
    }

    /// How long one may take.
    fn patience(&self) -> Duration {
        self.0.map_or(ptrace::PATIENCE, |end| end.saturating_duration_since(Instant::now()))
    }
}

impl StoppedProcess {
    /// Lets it run on as it was.
    pub(super) fn release(&mut self, undo: &mut Undo) {
        for puppet in &mut self.puppets {
            puppet.stand_still(undo);
        }
        let (pid, stage) = (self.pid.0, self.stage.take());
        let Some((first, others)) = self.puppets.split_first_mut() else { return };
        // The others leave the engine's pages before these go: should the engine die in between, nobody misses them.
        let mut all_left = true;
        for puppet in others {
            all_left &= leave(puppet);
        }
        if let Some((stage, ground)) = stage.filter(|_| all_left && !first.runs()) {
            first.patience = undo.patience();
            if let Err(error) = stage.remove(first, ground) {
                tracing::warn!(pid, %error, "the engine's pages stay in the process");
                first.stand_still(undo);
            }
            leave(first);
            if let Err(error) = ground.clear(first) {
                tracing::warn!(pid, %error, "the engine's foothold stays in the process");
            }
        }
        leave(first);
        for puppet in &self.puppets {
            let _ = ptrace::detach(puppet.tid, 0);
            for signal in &puppet.stop_signals {
                let signal = nix::sys::signal::Signal::try_from(*signal).ok();
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid.0), signal);
            }
        }
    }
}

impl Puppet {
    /// Brings a thread to a stop that has not done as told; there is only a moment left from then on.
    fn stand_still(&mut self, undo: &mut Undo) {
        if self.runs() && !self.halt(undo.hurry()) {
            tracing::warn!(tid = self.tid.0, "a thread does not stop");
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let mut undo = Undo::default();
        for process in &mut self.processes {
            process.release(&mut undo);
            for puppet in &process.puppets {
                self.seized.remove(&puppet.tid);
            }
        }
        // Those that were told to stop and have not been waited for. Who does not stop now is let go by the kernel at the
        // end of this thread.
        for tid in &self.seized {
            if let Ok(event) = ptrace::wait_until(*tid, undo.hurry()) {
                let signal = if let Event::Signal(signal) = event { signal } else { 0 };
                let _ = ptrace::detach(*tid, signal);
            }
        }
    }
}

/// False: it does not stand as it was found.
fn leave(puppet: &mut Puppet) -> bool {
    match puppet.leave() {
        Ok(()) | Err(PuppetError::Ended) => true,
        Err(error) => {
            tracing::warn!(tid = puppet.tid.0, %error, "a thread was not left as it was found");
            false
        }
    }
}
