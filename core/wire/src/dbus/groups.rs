//! The interface of the running groups.
//!
//! Methods that may ask for a password do so; what is asked on the side, such as a verdict, never does.
//! The macro makes items without docs of the arguments of signals.

#![allow(missing_docs)]

use std::collections::HashMap;

use zbus::zvariant::{OwnedObjectPath, Value};

/// The running groups.
#[zbus::proxy(
    interface = "io.github.dormouse.Dormouse1.Groups",
    default_service = "io.github.dormouse.Dormouse1",
    default_path = "/io/github/dormouse/Dormouse1"
)]
pub trait Groups {
    /// The caller's groups: JSON, a list of [`Listed`](crate::Listed). Everybody's with `everybody`, which wants an
    /// administrator's password of whoever is none.
    #[zbus(allow_interactive_auth)]
    fn list(&self, everybody: bool) -> zbus::Result<String>;

    /// What a freeze of a group would say: JSON, a [`Verdict`](crate::Verdict). The group stands still for milliseconds.
    fn verdict(&self, group: &str) -> zbus::Result<String>;

    /// All that a check finds: JSON, a [`Checked`](crate::Checked).
    #[zbus(allow_interactive_auth)]
    fn check(&self, group: &str) -> zbus::Result<String>;

    /// What a person may want to know of one process: JSON, a [`Details`](crate::Details).
    fn process(&self, pid: i32) -> zbus::Result<String>;

    /// Begins to freeze a group; answers the job. Its result is a [`Frozen`](crate::Frozen).
    #[zbus(allow_interactive_auth)]
    fn freeze(&self, group: &str, options: HashMap<&str, Value<'_>>) -> zbus::Result<OwnedObjectPath>;

    /// Holds a group still in memory: JSON, a [`Paused`](crate::Paused).
    #[zbus(allow_interactive_auth)]
    fn pause(&self, group: &str) -> zbus::Result<String>;

    /// Lets a paused group go on: JSON, a [`Resumed`](crate::Resumed).
    #[zbus(allow_interactive_auth)]
    fn resume(&self, group: &str) -> zbus::Result<String>;

    /// From now on the caller is told of changes, until it says [`unwatch`](Self::unwatch) or leaves the bus.
    fn watch(&self) -> zbus::Result<()>;

    /// The caller wants to hear no more.
    fn unwatch(&self) -> zbus::Result<()>;

    /// Sent to watchers alone: the groups that are new or look different (JSON, a list of [`Listed`](crate::Listed)), and
    /// the ids of those that are gone.
    #[zbus(signal)]
    fn changed(&self, groups: String, gone: Vec<String>) -> zbus::Result<()>;
}
