//! The service, as the app knows it: what the app asks ([`Ask`]) and what it hears ([`News`]).
//!
//! One worker owns the connection. The pages hold a [`Bus`] to ask by and are told the news by the root; nothing here knows
//! GTK, and nothing but this folder knows D-Bus.

mod connect;
mod follow;
mod trouble;
mod worker;

use std::fs::File;
use std::sync::Arc;

use dormouse_wire::dbus::{AtLogout, Folder, JobKind, JobState, Sleeping};
use dormouse_wire::{Checked, Compression, Details, Listed, Phase, Problem, ThawWish, Verdict};
use tokio::sync::mpsc::UnboundedSender;

pub use self::trouble::{Trouble, TroubleKind};
pub use self::worker::start;

/// What came of something that was asked.
pub type Answer<T> = Result<T, Trouble>;

/// What the app asks.
#[derive(Debug)]
pub enum Ask {
    /// Look for the service again, and list all again.
    Refresh,
    /// From now on list everybody's groups, or the user's own.
    Everybody(bool),
    /// What a freeze of a group would say.
    Verdict(String),
    /// All that a check of a group finds.
    Check(String),
    /// What there is to know of a process.
    Process(i32),
    /// Freeze a group.
    Freeze { group: String, how: FreezeHow },
    /// Hold a group still in memory.
    Pause(String),
    /// Let it go on.
    Resume(String),
    /// What stands in the way of waking an image.
    Preflight(String),
    /// Wake it.
    Thaw { image: String, wish: ThawWish },
    /// Copy it into a file.
    Export { image: String, file: File },
    /// Pack it with what it needs into a file, with the files that it has open, too, or without.
    ExportBundle { image: String, file: File, working_files: bool },
    /// Copy a file into the folder of images.
    Import { name: String, file: File },
    /// Delete it.
    Delete(String),
    /// Make another folder that of the images; empty: the usual one.
    Move(String),
    /// Have the session fall asleep at logout, or not.
    AtLogout(bool),
    /// Undo a job.
    Cancel(String),
}

/// How a group is frozen.
#[derive(Clone, Debug, Default)]
pub struct FreezeHow {
    /// Also when something is lost.
    pub accept_losses: bool,
    /// These connections are cut.
    pub disconnect: Vec<String>,
    /// Connections in the network are kept.
    pub keep_connections: bool,
    /// Copies of open files are kept.
    pub keep_files: bool,
    /// How the image is compressed.
    pub compression: Compression,
}

/// What the app hears.
#[derive(Clone, Debug)]
pub enum News {
    /// Whether the service is there. All that was asked before has no answer any more.
    Service(Service),
    /// The groups that run, all of them.
    Groups(Arc<Vec<Listed>>),
    /// The groups cannot be listed.
    NoGroups(Trouble),
    /// Groups that are new or look different, and the ids of those that are gone.
    Changed { groups: Arc<Vec<Listed>>, gone: Arc<Vec<String>> },
    /// What a freeze of a group would say.
    Verdict { group: String, answer: Answer<Verdict> },
    /// What a check of a group found.
    Checked { group: String, answer: Arc<Answer<Checked>> },
    /// What there is to know of a process.
    Process { pid: i32, answer: Arc<Answer<Details>> },
    /// A group was to be paused, or else to go on.
    Paused { group: String, paused: bool, answer: Answer<()> },
    /// The images, all of them.
    Images(Arc<Vec<Sleeping>>),
    /// The images cannot be listed.
    NoImages(Trouble),
    /// Where they lie.
    Folder(Arc<Folder>),
    /// Whether the session falls asleep at logout.
    AtLogout(AtLogout),
    /// That could not be chosen.
    NotAtLogout(Trouble),
    /// What stands in the way of waking an image.
    Preflight { image: String, answer: Answer<Arc<Vec<Problem>>> },
    /// An image was to be deleted.
    Deleted { image: String, answer: Answer<()> },
    /// A job that was asked for from here has begun; its path on the bus.
    Begun(String),
    /// How far a job is.
    Job(Arc<Job>),
    /// A job could not even begin, or is not known any more.
    Refused { kind: JobKind, subject: String, job: Option<String>, trouble: Trouble },
}

impl News {
    /// The same where connections in the network are kept: what a freeze says then.
    #[must_use]
    pub fn once_kept(self) -> Self {
        match self {
            Self::Verdict { group, answer } => Self::Verdict { group, answer: answer.map(Verdict::once_kept) },
            Self::Checked { group, answer } => {
                let kept = |checked: Checked| Checked { verdict: checked.verdict.once_kept(), ..checked };
                Self::Checked { group, answer: Arc::new(Arc::unwrap_or_clone(answer).map(kept)) }
            }
            other => other,
        }
    }
}

/// Whether the service is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// It is looked for.
    #[default]
    Sought,
    /// It is on no bus, and no bus would start it.
    Missing,
    /// It answers.
    There {
        /// Its version.
        version: String,
        /// What it lacks for freezing and thawing, in a sentence.
        lacks: Option<String>,
    },
}

/// How far a job is.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its path on the bus.
    pub id: String,
    /// What it does.
    pub kind: JobKind,
    /// With which group, image or file.
    pub subject: String,
    /// Whether it is at work.
    pub state: JobState,
    /// What it is at.
    pub phase: Option<Phase>,
    /// How much of this has been moved, out of how much; nothing where nothing is moved.
    pub moved: Option<(u64, u64)>,
    /// How long this takes still.
    pub seconds_left: Option<u32>,
    /// Once it has ended well: the answer, in JSON.
    pub result: Option<serde_json::Value>,
    /// Once it has ended otherwise: why.
    pub trouble: Option<Trouble>,
}

impl Job {
    /// How far it is with what it is at, from 0 to 1.
    pub fn fraction(&self) -> Option<f64> {
        self.moved.map(|(bytes, total)| (bytes as f64 / total as f64).clamp(0.0, 1.0))
    }

    /// Whether it is still at work.
    pub fn runs(&self) -> bool {
        self.state == JobState::Running
    }
}

/// By this the pages ask. A clone asks the same worker.
#[derive(Clone, Debug)]
pub struct Bus(UnboundedSender<Ask>);

impl Bus {
    /// Asks. The answer is heard, if the service gives one.
    pub fn ask(&self, ask: Ask) {
        // The worker lives as long as the app.
        let _ = self.0.send(ask);
    }
}
