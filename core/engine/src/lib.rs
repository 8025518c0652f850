//! The engine: a running group of processes goes into one file, and comes back from it.
//!
//! # The doors
//!
//! [`survey::everyone`] sees all that runs, for [`survey::listing`] to tell of it in groups. [`check()`] says whether a
//! [`Selection`] can be frozen ([`verdict()`] says only that), [`freeze()`] puts it to sleep in a file, [`thaw()`] wakes it, [`image::Reader`] looks into
//! the file between the two, and [`preflight`] tells what stands in the way of waking it. [`hold_connections`] holds off the
//! other ends of its connections again after the machine was started anew, and [`let_connections_go`] no longer. The engine never prints, never
//! asks, and knows no home directory: that is for its callers. What a person must know comes back as [`Problem`]s, all of
//! them at once.
//!
//! [`pause()`] holds a group still in memory and makes no file, [`resume()`] lets it go on, and [`paused`] tells which
//! processes stand still so. Begin reading at `pause/mod.rs`. The engine knows no bus either: who can ask systemd hands it a
//! [`Units`].
//!
//! # The way of the data
//!
//! ```text
//!  live group ── survey ──▶ facts ── judge ──▶ problems: refused, or announced as losses
//!      │                      │
//!   stopped ── freeze ──▶  record ── image ──▶ one sealed file
//!                                                  │
//!  running group ◀── thaw ── tree ◀── objects ◀── record, once the preflight has found nothing in the way
//! ```
//!
//! 1. `freeze` stops every thread, again and again until no new one shows, and joins to the group whoever
//!    cannot be cut from it. Begin reading at `freeze/mod.rs`: it tells the steps in their order.
//! 2. [`survey`] looks: what each process holds (`collect`), which descriptors are one open file (`files`), who outside has a
//!    part in it (`connect`), what stands in the way (`judge`), what ties everybody to everybody (`connections`, a graph). It
//!    changes nothing, and the group may run meanwhile.
//! 3. [`resource`] is the heart: one file a kind of thing. Each has its record, and says how it is recognised, judged,
//!    captured, checked before a thaw, and given back. [`resource::group::Group`] holds all records: it is what an image says.
//! 4. [`image`] keeps records and pages in one file that is there whole or not at all.
//! 5. `thaw` checks the record against this machine (`blueprint`), opens the files (`objects`), builds the processes
//!    with their memory (`tree`, `space`, `fill`), gives back the rest (`finish`) and lets go (`release`).
//!
//! # The rooms below
//!
//! [`pid_namespace`] sees to it that pids which others have are not in the way: there the whole work is done inside one; and it goes
//! into the set of namespaces that a sandbox has, or makes one, where [`resource::namespace`] knows what is in it.
//! [`puppet`] runs system calls inside a stopped process, a batch at a time, and puts back every register and byte.
//! [`survey::control_group`] knows the control groups of processes, for a freeze (which cannot work in a frozen one) and for a
//! pause. [`mod@proc`] turns the text of /proc into values. [`kernel`] has the safe faces of system calls. [`model`] has the nouns.
//! A module uses those below it and never one above: `tests/tidy.rs` holds that.
//!
//! # What is undone, and by whom
//!
//! A stopped group that is dropped runs on. An image that is dropped before its seal is no file. A half-built tree that is
//! dropped is gone, and the kernel ends it when the engine is killed. So every `?` on the way is safe.

mod asker;
mod freeze;
pub mod image;
pub mod kernel;
pub mod model;
mod pause;
pub mod pid_namespace;
pub mod proc;
pub mod puppet;
pub mod resource;
pub mod survey;
mod thaw;

pub use asker::Asker;
pub use freeze::{check, freeze, verdict};
pub use pause::{PausedNow, Units, WithoutUnits, pause, paused, resume};
pub use resource::moves::Move;
pub use resource::owners::Owners;
pub use survey::born::Born;
pub use thaw::{hold_connections, let_connections_go, owners, preflight, thaw};

use std::path::{Path, PathBuf};

use dormouse_wire::{Compression, Disconnect, Label, Pid, Problem, UserNames};

use image::kept::KeptFiles;

/// Which processes to freeze, and where they are cut off.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The process to start from; its descendants always come along.
    pub pid: Pid,
    /// Others that are to come along, with theirs.
    pub others: Vec<Pid>,
    /// When they started, as far as that is known: whoever has got the pid of one of them since is not meant.
    pub born: Born,
    /// Leave it at the descendants, even where something that cannot be cut leads out of them.
    pub tree_only: bool,
    /// Which connections that lead out of them are cut.
    pub disconnect: Disconnect,
    /// Keep TCP connections that lead out of them: their other ends are held off until the thaw.
    pub keep_connections: bool,
    /// For whom: then no process of anybody else is touched, and the image is made with this user's rights. None: the
    /// engine's own user, who may do whatever the kernel allows.
    pub asker: Option<Asker>,
}

impl Selection {
    /// The processes that are named.
    pub fn seeds(&self) -> Vec<Pid> {
        [self.pid].into_iter().chain(self.others.iter().copied()).collect()
    }
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
    /// What a person calls the group, for lists of images.
    pub label: Option<Label>,
    /// How the memory is compressed.
    pub compression: Compression,
    /// Where copies of the programs and libraries that the group has mapped are kept; none: nowhere.
    pub kept: Option<KeptFiles>,
    /// Keep copies of the files that are open, and of all that are mapped, too, as they are now.
    pub keep_files: bool,
}

/// How to thaw.
#[derive(Clone, Debug, Default)]
pub struct ThawOptions {
    /// The terminal that takes the place of one outside the group, such as `/dev/pts/3`.
    pub terminal: Option<PathBuf>,
    /// Do not give that terminal to the job that had the other one.
    pub background: bool,
    /// Give up the TCP connections to outside that were kept: the programs find them reset.
    pub reset_connections: bool,
    /// What becomes of pids that others have.
    pub pids: Pids,
    /// What has moved since the freeze.
    pub moves: Vec<Move>,
    /// Who takes whose place: what [`owners`] has answered.
    pub owners: Owners,
    /// Where copies of programs, libraries and files may have been kept: the first place that has one counts.
    pub kept: Vec<KeptFiles>,
    /// What becomes of working files that have changed.
    pub changed: ChangedFiles,
    /// For whom: then the image must be this user's own, is read with his rights, and may hold nothing that he could not
    /// have had. None: the image's owner may have written anything into it, but is trusted as far as his own rights go.
    pub asker: Option<Asker>,
}

/// Which users and groups take the place of those that an image speaks of.
#[derive(Clone, Debug, Default)]
pub struct OwnersWish {
    /// What becomes of those who have other numbers here.
    pub names: UserNames,
    /// Users, by names or numbers: that of the image, and that here.
    pub users: Vec<(String, String)>,
    /// Groups.
    pub groups: Vec<(String, String)>,
}

/// What becomes of files that the group had open, or had mapped without being its programs, and that have changed since the freeze.
#[derive(Clone, Copy, Debug, Default)]
pub enum ChangedFiles {
    /// They stand in the way.
    #[default]
    Stop,
    /// They are used as they are now.
    New,
    /// They stand in the way; of those that are missing copies are used that came along, as with `Kept`.
    Missing(fn(u32, &str) -> Option<PathBuf>),
    /// Copies that were kept at the freeze are used. They come into the folder that this answers for a user and the id of an image, under their paths;
    /// what is there already is used as it is.
    Kept(fn(u32, &str) -> Option<PathBuf>),
}

/// What becomes of pids that others have: see [`pid_namespace`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pids {
    /// They stand in the way.
    #[default]
    Free,
    /// For a [`preflight`]: they do not, for the caller makes a pid namespace then.
    Elsewhere,
    /// This is the pid namespace that was made for the group, which is told.
    Own,
}

/// What to pause or to resume, and how.
#[derive(Clone, Copy, Debug)]
pub struct PauseOptions<'a> {
    /// The process to start from; its descendants come along.
    pub pid: Pid,
    /// Others that belong to it, with their descendants.
    pub others: &'a [Pid],
    /// The folder that remembers who was stopped: it must be there, closed to others, and gone after a boot.
    pub records: &'a Path,
    /// Who freezes the units of the system.
    pub units: &'a dyn Units,
    /// Push the memory of what is paused to swap.
    pub reclaim: bool,
}

/// Why a pause did not happen. The group runs on.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// These things stand in the way.
    #[error("the group cannot be paused")]
    Refused(Vec<Problem>),
    /// Something failed on the way.
    #[error("{0}")]
    Failed(Box<Problem>),
}

/// Why a group does not go on, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// These things stand in the way; the group stands still as before.
    #[error("the group cannot be resumed")]
    Refused(Vec<Problem>),
    /// Something failed on the way.
    #[error("{0}")]
    Failed(Box<Problem>),
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
