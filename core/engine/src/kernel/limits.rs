//! The engine's own limits, getrlimit(2).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Lets the engine open as many files as it may: it holds every file of a group at once.
pub fn raise_open_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where this fails, a large group meets "too many open files" and says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
