//! A session: all groups of a user, put to sleep one after the other and woken in the opposite order.
//!
//! Which images belong to a session stands in the images themselves, as part of what they are called: a freeze that was interrupted
//! leaves images that are found, and nothing else. Who is being woken is written down beside them for that long, so that nobody is woken
//! twice.

pub mod at_logout;
mod bus;
mod direct;
mod plan;
mod sleep;
mod wake;
pub mod wish;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use dormouse_engine::Born;
use dormouse_wire::dbus::{Failure, Sleeping};
use dormouse_wire::{Frozen, Listed, Pid, Progress, SessionMark, ThawWish, Thawed, phrase};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use serde::Serialize;

pub use at_logout::is_booted_by_systemd;
pub use bus::OverBus;
pub use direct::Direct;
pub use plan::{Left, Plan, is_meant, plan};
pub use sleep::{Asleep, Slept, Stayed, sleep, there};
pub use wake::{Awake, SleepsOn, Woken, order, wake};

/// How groups are put to sleep.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Go on where something would be lost.
    pub accept_losses: bool,
    /// Keep TCP connections to outside.
    pub keep_connections: bool,
    /// Keep copies of the files that they have open or mapped, too.
    pub keep_files: bool,
    /// The session, and the how manyeth of it this is.
    pub mark: SessionMark,
    /// When the processes of all groups started that are meant.
    pub born: Born,
}

/// Whoever does the work for a user: a worker of our own, or the service.
pub trait Hands {
    /// Puts groups to sleep in one image.
    fn freeze(&mut self, groups: &[&Listed], wish: &Wish, progress: &dyn Progress) -> Result<Frozen, Failure>;
    /// The user's images.
    fn images(&mut self) -> Result<Vec<Sleeping>, Failure>;
    /// Wakes one by its name, in this way.
    fn thaw(&mut self, image: &str, wish: ThawWish, progress: &dyn Progress) -> Result<Thawed, Failure>;
    /// Deletes one.
    fn delete(&mut self, image: &str) -> Result<(), Failure>;
    /// The folder they are in, and with whose rights it is written to.
    fn note(&mut self, work: &mut dyn FnMut(&Path) -> std::io::Result<()>) -> Result<(), Failure>;
}

/// Nobody else puts this user's session to sleep, or wakes it, as long as the answer lives. None: there is no folder to hold.
pub fn alone(hands: &mut dyn Hands) -> Result<Option<Flock<File>>, Failure> {
    let mut lock = None;
    hands.note(&mut |folder| {
        // A FIFO in its place is not waited for.
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        // On a disk that is full or read-only it is done without.
        let Ok(file) = options.open(folder.join("session.lock")) else { return Ok(()) };
        lock = Some(Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno));
        Ok(())
    })?;
    match lock.transpose() {
        Ok(lock) => Ok(lock),
        Err(Errno::EWOULDBLOCK) => Err(Failure {
            sentence: phrase!("Another command puts this session to sleep or wakes it just now."),
            problems: Vec::new(),
        }),
        // On a filesystem without locks it is done without, too.
        Err(error) => {
            tracing::warn!(%error, "the session cannot be locked");
            Ok(None)
        }
    }
}

/// What a person calls a group, and its first process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its first process.
    pub first_pid: Pid,
}

impl From<&Listed> for Named {
    fn from(group: &Listed) -> Self {
        Self { id: group.id.clone(), name: group.name.clone(), first_pid: group.first_pid }
    }
}
