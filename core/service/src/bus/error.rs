//! Refusals, as the bus carries them: a name, and words for people.

use dormouse_wire::dbus::Failure;
use dormouse_wire::phrase;

use crate::watch::NotFound;

/// Why a call was refused or has failed.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "io.github.dormouse.Dormouse1.Error")]
pub enum Error {
    /// Of the bus itself.
    #[zbus(error)]
    Bus(zbus::Error),
    /// The caller may not do this.
    NotAuthorized(String),
    /// There is no such thing.
    NotFound(String),
    /// It cannot be done.
    Failed(String),
    /// The caller asks for too much at a time.
    Busy(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.to_string())
    }
}

impl From<NotFound> for Error {
    fn from(reason: NotFound) -> Self {
        match reason {
            NotFound::Absent => {
                Self::NotFound(phrase!("There is no such group of yours; it may have ended.").to_string())
            }
            NotFound::Foreign => Self::NotAuthorized(
                phrase!("This group belongs to another user. An administrator can freeze it: sudo dormouse freeze")
                    .to_string(),
            ),
            NotFound::Unlisted(why) => Self::Failed(format!("The processes cannot be listed: {why}.")),
        }
    }
}
