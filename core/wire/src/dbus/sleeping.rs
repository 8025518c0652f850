//! Images as a list shows them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::ByteSize;
use crate::listing::SessionMark;
use crate::verdict::{Problem, ProcessName};

/// An image in the folder of its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sleeping {
    /// What the service calls it: the name of its file. It means the same image as long as the file is there.
    pub id: String,
    /// What a person calls it.
    pub name: String,
    /// The icon's name or its file, Desktop Entry Specification, "Icon".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// The desktop file that its first process was started from, without `.desktop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// When it was frozen, in seconds since 1970-01-01 UTC.
    pub frozen: u64,
    /// How large its file is.
    pub size: ByteSize,
    /// The processes that sleep in it, the first one first.
    pub processes: Vec<ProcessName>,
    /// The kernel it was frozen under, uname(2): `6.1.0-18-amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The name of the machine it was frozen on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// What was announced as lost when it was frozen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Problem>,
    /// Why it cannot be looked into: it is damaged, too new, or no image. What else is said of it is then a guess by its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<Problem>,
    /// The session that it was put to sleep with, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionMark>,
    /// Whether it had a terminal outside of it, and gets that of whoever wakes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
    /// Whether its processes run: it has been woken, or was never ended.
    #[serde(default)]
    pub awake: bool,
    /// Whether it has been woken since it was frozen, as far as its filesystem can keep that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub woken: bool,
}

/// Where the images of somebody lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// The folder; it may not exist yet.
    pub path: PathBuf,
    /// Whether it was chosen; else it is the usual one.
    #[serde(default)]
    pub chosen: bool,
    /// How much room is left there, in bytes, if that could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<ByteSize>,
}
