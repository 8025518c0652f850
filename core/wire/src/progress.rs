//! How far a freeze or a thaw has come, and whether it should stop.

use serde::{Deserialize, Serialize};

/// The steps a person sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Copies of programs and libraries are being made.
    Keeping,
    /// The processes are being stopped.
    Stopping,
    /// What they hold is being recorded.
    Recording,
    /// Memory is being written.
    Writing,
    /// The image is being synced to disk.
    Sealing,
    /// The image is being checked.
    Checking,
    /// The processes are being built.
    Building,
    /// Memory is being read back.
    Reading,
}

/// Whoever wants to watch a job. Called from the thread that does the work; must return at once.
pub trait Progress: Sync {
    /// A phase begins; `bytes` is how much memory it will move, 0 where it moves none.
    fn begins(&self, phase: Phase, bytes: u64);
    /// So many more bytes have been moved. Called from several threads.
    fn moved(&self, bytes: u64);
    /// Whether the job is to be undone. Asked between steps and between chunks.
    fn cancelled(&self) -> bool;
}

/// Nobody watches, nobody cancels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn begins(&self, _phase: Phase, _bytes: u64) {}
    fn moved(&self, _bytes: u64) {}
    fn cancelled(&self) -> bool {
        false
    }
}
