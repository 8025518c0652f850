//! The folder for what must be known until the next boot, with words for what can go wrong.

use std::path::PathBuf;

use dormouse_service::{runtime, store};

use crate::exit::Failure;

/// The folder, which exists when this returns, and is closed to others.
pub fn folder() -> Result<PathBuf, Failure> {
    let folder = place()?;
    store::make(&folder).map_err(|error| {
        Failure::system(format_args!("The folder {} cannot be made or closed to others", folder.display()), &error)
    })?;
    Ok(folder)
}

/// Where it lies; it may not exist yet.
pub fn place() -> Result<PathBuf, Failure> {
    runtime::place().ok_or_else(|| {
        Failure::new("There is no folder to write down who is paused: XDG_RUNTIME_DIR is not set.")
            .hint("Log in as this user instead of using su, or run Dormouse as root.")
    })
}
