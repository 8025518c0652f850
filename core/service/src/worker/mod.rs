//! One piece of work in a process of its own, as the user who asks wherever that will do.
//!
//! The order comes in the environment, which nobody but its user and root can read; answers go out line by line as JSON. A
//! file that is copied from or to is standard input. SIGTERM asks the worker to undo what it does: a cancelled job sends it,
//! and the kernel does when the service dies.

mod child;
mod images;
mod parent;
mod process;

use std::path::PathBuf;

use dormouse_engine::{Asker, Born};
use dormouse_wire::dbus::Failure;
use dormouse_wire::{Compression, Disconnect, Label, Phase, Pid, Problem, ThawWish};
use serde::{Deserialize, Serialize};

use crate::store;

pub use child::run;
pub use parent::{Ended, Progress, Worker, answer, start};

/// The name of the variable that the order comes in.
const ORDER: &str = "DORMOUSE_ORDER";

/// What a worker is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// For whom.
    pub who: Who,
    /// What.
    pub task: Task,
}

/// The user who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The user id.
    pub user: u32,
    /// The first group.
    pub group: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// The home folder.
    pub home: PathBuf,
    /// The folder of images; it may not exist yet.
    pub folder: PathBuf,
    /// The one where no other was chosen.
    pub usual: PathBuf,
    /// The link that leads to one that was chosen.
    pub choice: PathBuf,
    /// Whether the worker has the power of the service and must take care to use it for this user only.
    pub mightier: bool,
}

impl Who {
    /// For whom the engine works, if that is not its own user.
    pub fn asker(&self) -> Option<Asker> {
        let groups = self.groups.clone();
        (self.mightier && self.user != 0).then_some(Asker { user: self.user, group: self.group, groups })
    }

    /// With the folder that he has chosen, as far as he may look there himself.
    fn settled(self) -> Result<Self, Problem> {
        let _acting = self.asker().as_ref().map(Asker::acting).transpose()?;
        Ok(Self { folder: store::chosen(&self.choice).unwrap_or_else(|| self.usual.clone()), ..self })
    }
}

/// The processes that are meant: the first, and others that belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meant {
    /// The first.
    pub pid: Pid,
    /// The others.
    pub others: Vec<Pid>,
    /// When they started, as far as that is known: whoever has got the pid of one of them since is not meant.
    #[serde(default)]
    pub born: Born,
}

impl Meant {
    /// Those of whom it is known when they started; none where there is nobody.
    pub fn only(self, born: Born) -> Option<Self> {
        let mut known = std::iter::once(self.pid).chain(self.others).filter(|pid| born.knows(*pid));
        let (pid, others) = (known.next()?, known.collect());
        Some(Self { pid, others, born })
    }
}

/// A piece of work. Images are named by their file in the folder of the user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Task {
    /// What a freeze would say.
    Verdict(Meant),
    /// All that a check finds.
    Check(Meant),
    /// Puts them to sleep.
    Freeze {
        /// Whom.
        meant: Meant,
        /// Whether to go on when something would be lost.
        accept_losses: bool,
        /// What a person calls them.
        label: Label,
        /// How the memory is compressed.
        compression: Compression,
        /// Which connections are cut.
        disconnect: Disconnect,
        /// Whether TCP connections to outside are kept.
        keep_connections: bool,
        /// Whether copies of files that are open are kept, too.
        keep_files: bool,
    },
    /// Wakes an image.
    Thaw {
        /// Which.
        image: String,
        /// How.
        wish: ThawWish,
    },
    /// What stands in the way of that.
    Preflight(String),
    /// Holds them still.
    Pause(Meant),
    /// Lets them go on.
    Resume(Meant),
    /// What /proc tells of a process.
    Process(Pid),
    /// The images in the folder.
    Images,
    /// The folder, and how much room it has.
    Room,
    /// What is in an image.
    Inspect(String),
    /// Copies it out.
    Export(String),
    /// Packs it with what it needs, and the files that it has open, too, if that is wished.
    ExportBundle {
        /// Which.
        image: String,
        /// The files, too.
        working_files: bool,
    },
    /// Copies one in, under a name like this.
    Import(String),
    /// Deletes it.
    Delete(String),
    /// Makes another folder that of the images, none: the usual one. They come along.
    Move(Option<PathBuf>),
    /// Whether the session falls asleep at logout; chooses so before, if that is wanted.
    AtLogout(Option<bool>),
}

impl Task {
    /// Whether it takes the power of the service; the rest is done by the user's own.
    fn takes_power(&self) -> bool {
        matches!(self, Self::Verdict(_) | Self::Check(_) | Self::Freeze { .. } | Self::Thaw { .. } | Self::Preflight(_))
    }
}

impl Task {
    /// Whether the worker waits for the end of its input before it begins: it has to be put in its place first.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Thaw { .. })
    }
}

/// A line of what a worker says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Said {
    /// A phase begins, with so many bytes to move.
    Begins(Phase, u64),
    /// So many have been moved.
    Moved(u64),
    /// It is done: the result, JSON.
    Done(serde_json::Value),
    /// It was not.
    Failed(Failure),
    /// It was cancelled, and undone.
    Cancelled(Failure),
}
