//! Everybody on the machine: one pass over /proc, again and again, that yields every process the caller may see.
//!
//! [`Everyone`] remembers what the last survey saw. What cannot change of a process is not read again, so that the next
//! survey costs a part of the first, and the processor time spent between the two becomes a share. Nothing is stopped or
//! changed. Used by whoever lists groups: [`super::groups`] sorts the processes, [`super::listing`] tells of them.
//!
//! What the caller may not read is `None`, and never guessed. A process that ends while it is read is left out.

mod frozen;
mod process;

pub use process::{Cgroups, Process, started};

use std::time::Instant;

use dormouse_wire::Pid;

use crate::kernel::threads::each;
use crate::proc::{self, ProcError};
use process::Moment;

/// Everybody, as the last survey saw them.
#[derive(Debug, Default)]
pub struct Everyone {
    /// In rising order of their pids.
    processes: Vec<Process>,
    /// When the last survey began.
    looked: Option<Instant>,
}

impl Everyone {
    /// Nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at everybody, and answers them in rising order of their pids. Fails only where /proc itself cannot be read.
    pub fn look(&mut self) -> Result<&[Process], ProcError> {
        let now = Instant::now();
        let moment = Moment::now(self.looked.map(|before| now.duration_since(before)));
        let pids = proc::list_pids()?;
        let seen = each(&pids, |pid| process::read(*pid, self.known(*pid), &moment));
        let mut processes: Vec<Process> = seen.into_iter().flatten().collect();
        frozen::mark(&mut processes);
        self.processes = processes;
        self.looked = Some(now);
        Ok(&self.processes)
    }

    /// Everybody, as the last survey saw them.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    fn known(&self, pid: Pid) -> Option<&Process> {
        let index = self.processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        self.processes.get(index)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn me() -> Pid {
        Pid(std::process::id() as i32)
    }

    /// A process that does nothing, until it is dropped.
    struct Sleeper(Child);

    impl Sleeper {
        fn start() -> Self {
            Self(Command::new("sleep").arg("60").spawn().expect("it starts"))
        }

        fn pid(&self) -> Pid {
            Pid(self.0.id() as i32)
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill().and_then(|()| self.0.wait());
        }
    }

    #[test]
    fn a_process_sees_itself() -> Result<(), ProcError> {
        let mut everyone = Everyone::new();
        everyone.look()?;
        let own = everyone.known(me()).expect("this process is there");
        let executable = std::env::current_exe().expect("it is known");
        assert_eq!(own.executable.as_deref(), Some(executable.as_os_str().as_encoded_bytes()));
        assert_eq!(own.uid, Some(nix::unistd::getuid().as_raw()));
        assert!(own.resident.is_some_and(|size| size.0 > 0) && own.threads > 0 && !own.kernel_thread && !own.paused);
        assert!(own.cpu_share.is_none(), "nothing to compare with yet");
        let age = own.started.and_then(|started| SystemTime::now().duration_since(started).ok());
        assert!(age.is_some_and(|age| age < Duration::from_mins(10)), "{age:?}");
        Ok(())
    }

    #[test]
    fn a_second_survey_keeps_what_cannot_change_and_knows_the_share_of_the_processor() -> Result<(), ProcError> {
        let mut everyone = Everyone::new();
        let arguments = |everyone: &Everyone| everyone.known(me()).and_then(|own| own.arguments.clone());
        everyone.look()?;
        let first = arguments(&everyone).expect("it has arguments");
        let end = Instant::now() + Duration::from_millis(300);
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        everyone.look()?;
        let second = arguments(&everyone).expect("it has arguments");
        assert!(Arc::ptr_eq(&first, &second), "the arguments have been read again");
        let share = everyone.known(me()).and_then(|own| own.cpu_share);
        assert!(share.is_some_and(|share| share > 0.1), "{share:?}");
        Ok(())
    }

    #[test]
    fn a_process_that_has_ended_is_not_there_any_more() -> Result<(), ProcError> {
        let mut everyone = Everyone::new();
        let child = Sleeper::start();
        everyone.look()?;
        assert!(everyone.known(child.pid()).is_some_and(|process| process.parent == me()));
        let pid = child.pid();
        drop(child);
        everyone.look()?;
        assert!(everyone.known(pid).is_none());
        Ok(())
    }

    #[test]
    fn a_stopped_process_is_paused() -> Result<(), ProcError> {
        let child = Sleeper::start();
        let raw = nix::unistd::Pid::from_raw(child.pid().0);
        nix::sys::signal::kill(raw, nix::sys::signal::SIGSTOP).expect("a signal can be sent");
        nix::sys::wait::waitpid(raw, Some(nix::sys::wait::WaitPidFlag::WUNTRACED)).expect("it stops");
        let mut everyone = Everyone::new();
        everyone.look()?;
        assert_eq!(everyone.known(child.pid()).map(|process| process.paused), Some(true));
        Ok(())
    }
}
