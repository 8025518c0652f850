//! What crosses the bus and the screen, without one system call: [ids](id), [phrases](phrase), [problems and verdicts](verdict),
//! [progress](progress), [what depends on what](graph), [what a group needs](needs), [windows on displays](window), [names on buses](bus), [what a machine has for all that](doctor), what the
//! engine answers ([report]), and the groups of a machine ([listing]). With the feature `dbus` also the service's interfaces ([dbus]).
//!
//! The engine, the command, the service and the app all speak these types, so that a person reads the same words
//! everywhere.

pub mod bus;
pub mod compression;
#[cfg(feature = "dbus")]
pub mod dbus;
pub mod disconnect;
pub mod doctor;
pub mod graph;
pub mod id;
pub mod listing;
pub mod needs;
pub mod phrase;
pub mod progress;
pub mod report;
pub mod thaw;
pub mod verdict;
pub mod window;

pub use compression::Compression;
pub use disconnect::Disconnect;
pub use graph::{Edge, EdgeKind, Graph, Node, Strength, ThingKind};
pub use id::{ByteSize, FdNumber, Pid, Tid};
pub use listing::{GroupKind, Joined, Label, Listed, SessionMark};
pub use needs::Needs;
pub use phrase::Phrase;
pub use progress::{Phase, Progress, Quiet};
pub use report::{Checked, Descriptor, Details, Frozen, Paused, PausedBy, Reclaimed, Resumed, Thawed};
pub use thaw::{ChangedFiles, ThawWish, UserNames};
pub use verdict::{Problem, ProblemKind, ProcessName, Remedy, Severity, Verdict};
