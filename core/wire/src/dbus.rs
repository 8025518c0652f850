//! The service on the bus: its name, its objects and its interfaces, for whoever asks it.
//!
//! What is large or has many shapes crosses as one string of JSON: the same documents that the command writes with
//! `--json`, and the same types. What a program steers by (paths, properties of jobs, descriptors) has D-Bus types of its
//! own. The introspection files in `data/` say the same for other languages.

mod at_logout;
pub mod groups;
pub mod images;
mod job;
pub mod jobs;
pub mod service;
mod sleeping;

pub use at_logout::AtLogout;
pub use groups::GroupsProxy;
pub use images::ImagesProxy;
pub use job::{Failure, JobKind, JobState};
pub use jobs::JobProxy;
pub use service::ServiceProxy;
pub use sleeping::{Folder, Sleeping};

/// The name of the service, on the system bus or on that of a session.
pub const NAME: &str = "io.github.dormouse.Dormouse1";
/// The object that answers for groups, images and the service.
pub const PATH: &str = "/io/github/dormouse/Dormouse1";
/// Below this are the jobs.
pub const JOBS: &str = "/io/github/dormouse/Dormouse1/jobs";

/// What [`GroupsProxy::freeze`] can be told.
pub mod freeze_options {
    /// `b`: go on when something would be lost.
    pub const ACCEPT_LOSSES: &str = "accept-losses";
    /// How the memory is compressed, a string: a [`Compression`](crate::Compression) by its name.
    pub const COMPRESSION: &str = "compression";
    /// `as`: the connections to cut, each by its [boundary](crate::Problem::boundary).
    pub const DISCONNECT: &str = "disconnect";
    /// `b`: keep TCP connections to outside: their other ends are held off until the thaw.
    pub const KEEP_CONNECTIONS: &str = "keep-connections";
    /// `b`: keep copies of the files that are open, too.
    pub const KEEP_FILES: &str = "keep-files";
    /// `s`: what the image is called for a person.
    pub const LABEL: &str = "label";
    /// `s`: the id of the session that it is put to sleep with.
    pub const SESSION: &str = "session";
    /// `u`: the how manyeth of that it is.
    pub const SESSION_ORDER: &str = "session-order";
    /// `a{it}`: when the processes of the groups started that are meant, by their pids, in clock ticks since boot as proc_pid_stat(5) has
    /// it. No others are, whatever groups and pids may have become meanwhile; what has come from them since comes with them.
    pub const STARTED: &str = "started";
    /// `as`: ids of other groups of the same user that go into the same image.
    pub const WITH: &str = "with";
}

/// What [`ImagesProxy::thaw`] can be told.
pub mod thaw_options {
    use std::collections::HashMap;

    use zbus::zvariant::Value;

    use crate::ThawWish;

    /// `s`: what becomes of files that have changed: a [`ChangedFiles`](crate::thaw::ChangedFiles) by its name.
    pub const CHANGED_FILES: &str = "changed-files";
    /// `b`: give up TCP connections to outside that were kept.
    pub const RESET_CONNECTIONS: &str = "reset-connections";
    /// `s`: who counts as who: a [`UserNames`](crate::thaw::UserNames) by its name.
    pub const USERS: &str = "users";

    /// Those of a wish; a service of another version is not asked for what it does anyway.
    pub fn of(wish: ThawWish) -> HashMap<&'static str, Value<'static>> {
        let usual = ThawWish::default();
        let mut options = HashMap::new();
        if wish.reset_connections {
            options.insert(RESET_CONNECTIONS, Value::from(true));
        }
        if wish.changed_files != usual.changed_files {
            options.insert(CHANGED_FILES, Value::from(wish.changed_files.name()));
        }
        if wish.users != usual.users {
            options.insert(USERS, Value::from(wish.users.name()));
        }
        options
    }
}

/// What [`ImagesProxy::export_bundle`] can be told.
pub mod bundle_options {
    /// `b`: pack the files, too, that the group has open.
    pub const WORKING_FILES: &str = "working-files";
}

/// Refusals and failures: names of D-Bus errors. The first line of the message is a sentence; each line below it is one
/// reason, with its way out.
pub mod error {
    /// The caller may not do this, or has not authenticated.
    pub const NOT_AUTHORIZED: &str = "io.github.dormouse.Dormouse1.Error.NotAuthorized";
    /// There is no such group, image or job.
    pub const NOT_FOUND: &str = "io.github.dormouse.Dormouse1.Error.NotFound";
    /// It cannot be done, for the reasons that the message gives.
    pub const FAILED: &str = "io.github.dormouse.Dormouse1.Error.Failed";
    /// The caller asks for too much at a time.
    pub const BUSY: &str = "io.github.dormouse.Dormouse1.Error.Busy";
}
