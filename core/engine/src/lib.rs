//! The engine: a running group of processes goes into one file, and comes back from it.
//!
//! Four doors: [`freeze`], [`thaw`], [`image::reader`] to look into a file, and (with the survey) `check`.

mod freeze;
pub mod image;
pub mod kernel;
pub mod model;
pub mod proc;
pub mod puppet;
pub mod resource;
pub mod survey;
mod thaw;

pub use freeze::freeze;
pub use thaw::thaw;

use std::path::PathBuf;

use dormouse_wire::{Pid, Problem};

/// Which processes to freeze.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The process to start from; its descendants always come along.
    pub pid: Pid,
    /// Leave it at the descendants, even where something that cannot be cut leads out of them.
    pub tree_only: bool,
}

/// How to freeze.
#[derive(Clone, Debug)]
pub struct FreezeOptions {
    /// The image file to make. It must not exist.
    pub image: PathBuf,
    /// Leave the group running after the image has been sealed: a copy, not a sleep.
    pub leave_running: bool,
    /// Go on when something would be lost.
    pub accept_losses: bool,
}

/// How to thaw.
#[derive(Clone, Debug, Default)]
pub struct ThawOptions {
    /// The terminal that takes the place of one outside the group, such as `/dev/pts/3`.
    pub terminal: Option<PathBuf>,
}

/// Why a freeze did not happen. The group runs on, and there is no image.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// These things stand in the way; losses among them are listed too.
    #[error("the group cannot be frozen")]
    Refused(Vec<Problem>),
    /// Something failed on the way.
    #[error("{0}")]
    Failed(Box<Problem>),
    /// The caller cancelled.
    #[error("the freeze was cancelled; the group runs on")]
    Cancelled,
}

/// Why a thaw did not happen. No process of the group exists, and the image is still there.
#[derive(Debug, thiserror::Error)]
pub enum ThawError {
    /// These things stand in the way.
    #[error("the image cannot be thawed here")]
    Refused(Vec<Problem>),
    /// Something failed on the way.
    #[error("{0}")]
    Failed(Box<Problem>),
    /// The caller cancelled.
    #[error("the thaw was cancelled; the image is unchanged")]
    Cancelled,
}
