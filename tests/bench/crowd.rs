//! Many processes, and one processor to look at them from.

use std::process::{Child, Command, Stdio};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Processes that do nothing; they end with this.
#[derive(Debug, Default)]
pub struct Crowd(Vec<Child>);

impl Crowd {
    /// Adds one, which has what this process has open for its children.
    pub fn join(&mut self) {
        let started = Command::new("sleep").arg("600").stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        self.0.push(started.unwrap_or_else(|error| panic!("sleep: {error}")));
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Keeps this thread, and those it makes, on one processor from now on.
pub fn stay_on_one_processor() {
    let mut one = CpuSet::new();
    one.set(0).and_then(|()| sched_setaffinity(Pid::from_raw(0), &one)).unwrap_or_else(|error| panic!("{error}"));
}
