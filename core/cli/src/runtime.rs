//! The folder for what must be known until the next boot: who was stopped by a pause.

use std::env;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::exit::Failure;
use crate::store;

/// Where that of root lies.
const OF_ROOT: &str = "/run/dormouse";

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
    let user = Uid::effective();
    if user.is_root() {
        return Ok(PathBuf::from(OF_ROOT));
    }
    // XDG Base Directory Specification: a path that is not absolute is as good as none.
    let named = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let usual = Path::new("/run/user").join(user.to_string());
    let runtime = named.or_else(|| usual.is_dir().then_some(usual));
    runtime.map(|runtime| runtime.join("dormouse")).ok_or_else(|| {
        Failure::new("There is no folder to write down who is paused: XDG_RUNTIME_DIR is not set.")
            .hint("Log in as this user instead of using su, or run Dormouse as root.")
    })
}
