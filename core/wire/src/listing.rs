//! The groups of a machine as a list shows them: `dormouse list --json`, the service and the app.

use serde::{Deserialize, Serialize};

use crate::id::{ByteSize, Pid};
use crate::verdict::{ProcessName, Verdict};

/// What makes processes a group. Stable names: programs match on them in `--json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupKind {
    /// An app that the desktop, Flatpak or Snap has started in a unit of its own, systemd.unit(5).
    App,
    /// Another service or scope of systemd.
    Service,
    /// A session, setsid(2): what was started from one terminal, say.
    Session,
    /// A process and its descendants that share their session with init.
    Tree,
}

/// A group of processes: what a person calls an app or a job. What is not known is absent, and never guessed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// What a person types to mean this group: the unit (with `:UID` behind it where several users have one of that name),
    /// `session-PID`, or the pid of the first process.
    pub id: String,
    /// What makes it a group.
    pub kind: GroupKind,
    /// What a person calls it, in the person's language.
    pub name: String,
    /// The icon's name or its file, Desktop Entry Specification, "Icon".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// The desktop file it was started from, without `.desktop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The systemd unit, such as `app-gnome-org.gnome.Calculator-1234.scope`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The process that the others came from.
    pub first_pid: Pid,
    /// How many processes it has.
    pub processes: usize,
    /// They, the first one first and then by age.
    pub members: Vec<ProcessName>,
    /// Groups that were joined to it by what cannot be cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Joined>,
    /// The memory of its processes in bytes; what several share counts for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// How many bytes of it are private: of no file, and shared with nobody but by copy-on-write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<ByteSize>,
    /// How many bytes of them are in swap space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<ByteSize>,
    /// What part of one processor it has used since the list before: 0.5 is half of one, 2 are two. Absent in a first list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// When the first process started, in seconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// The user id that the first process belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The name of that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether all of it stands still: stopped by signals, or frozen with its control group.
    pub paused: bool,
    /// Whether all of it has ended, and only waits for its parents to take note.
    pub ended: bool,
    /// What a freeze of it would say, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none", flatten)]
    pub verdict: Option<Verdict>,
}

/// What a person calls a group: kept in its image, and as untrusted as all that is in one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// [`Listed::name`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// [`Listed::icon`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// [`Listed::application`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The session that it was put to sleep with, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionMark>,
}

/// What tells the images of one session from others.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionMark {
    /// The same for all of one session.
    pub id: String,
    /// The how manyeth of it this was, from 0: the last one is woken first.
    pub order: u32,
}

/// A group that would stand for itself, were it not joined to another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Its id, which means the whole group as well.
    pub id: String,
    /// What they share, for a person.
    pub through: String,
}
