//! `dormouse demo` as a person meets it.
#![allow(missing_docs, clippy::panic)]

use std::io::pipe;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use harness::command;

/// A terminal of an editor, say, leaves pipes of its own open in every shell.
#[test]
fn the_demonstration_shows_what_it_says_even_where_the_shell_has_left_a_pipe_open() {
    let (reading, writing) = pipe().unwrap_or_else(|error| panic!("{error}"));
    let left_open = OwnedFd::from(writing);
    // SAFETY: F_SETFD takes a number; the descriptor is ours and stays open.
    assert_eq!(unsafe { libc::fcntl(left_open.as_raw_fd(), libc::F_SETFD, 0) }, 0);
    let shown = Command::new(command::path()).args(["demo", "--no-pause"]).stdin(Stdio::null()).output();
    let shown = shown.unwrap_or_else(|error| panic!("{error}"));
    drop((left_open, reading));
    let (said, errors) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert!(shown.status.success(), "{said}\n{errors}");
    for step in [
        "$ dormouse freeze",
        "The processes are gone",
        "$ dormouse thaw",
        "with the same pids",
        "once and in its order",
    ] {
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(step), "`{step}` is not said:\n{said}\n{errors}");
    }
}
