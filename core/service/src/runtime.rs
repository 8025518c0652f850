//! The folder for what must be known until the next boot: who was stopped by a pause.

use std::env;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

/// Where that of root lies.
const OF_ROOT: &str = "/run/dormouse";

/// Where it lies for whoever runs this, by the environment; it may not exist yet. None: there is no such place.
pub fn place() -> Option<PathBuf> {
    let user = Uid::effective();
    if user.is_root() {
        return Some(PathBuf::from(OF_ROOT));
    }
    // XDG Base Directory Specification: a path that is not absolute is as good as none.
    let named = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let usual = Path::new("/run/user").join(user.to_string());
    named.or_else(|| usual.is_dir().then_some(usual)).map(|runtime| runtime.join("dormouse"))
}
