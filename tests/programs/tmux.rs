//! tmux with two panes: its server sleeps with the terminals it holds, and clients find it at its socket again.

use std::path::PathBuf;
use std::process::Command;

use harness::wait::{PATIENCE, until};
use harness::{Job, User};

as_each_user!(carries_on);

/// A server, and a way to talk to it.
struct Server {
    job: Job,
    socket: PathBuf,
}

impl Server {
    fn start(user: User) -> Self {
        let job = Job::start("tmux", user, |folder| {
            let mut command = Command::new("tmux");
            command.args(["-D", "-f", "/dev/null", "-S"]).arg(folder.join("socket"));
            command.env("TERM", "xterm").env("SHELL", "/bin/sh");
            command
        });
        let mut server = Self { socket: PathBuf::new(), job };
        server.socket = server.job.specimen().folder().join("socket");
        until(PATIENCE, || server.socket.exists().then_some(())).unwrap_or_else(|| panic!("tmux makes no socket"));
        server
    }

    fn tell(&self, words: &[&str]) -> String {
        let said = Command::new("tmux").args(["-f", "/dev/null", "-S"]).arg(&self.socket).args(words).output();
        let said = said.unwrap_or_else(|error| panic!("tmux does not start: {error}"));
        let errors = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "tmux {words:?}: {errors}");
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    /// Waits until a pane shows something that fits.
    fn shows(&self, pane: &str, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let mut shown = String::new();
        until(PATIENCE, || {
            shown = self.tell(&["capture-pane", "-p", "-t", pane]);
            fits(&shown).then_some(())
        })
        .unwrap_or_else(|| panic!("pane {pane} does not show {what}, but:\n{shown}"));
        shown
    }
}

/// The last number that a pane which counts has shown.
fn counted(shown: &str) -> u32 {
    shown.lines().filter_map(|line| line.strip_prefix("number ")?.trim().parse().ok()).max().unwrap_or(0)
}

fn carries_on(user: User) {
    let _alone = harness::alone::with_terminals();
    const COUNT: &str = "n=0; while sleep 0.05; do n=$((n + 1)); echo number $n; done";
    let mut server = Server::start(user);
    server.tell(&["new-session", "-d", "-s", "work", "-x", "80", "-y", "24", COUNT]);
    server.tell(&["split-window", "-t", "work", "cat"]);
    server.tell(&["send-keys", "-t", "work.1", "half a li"]);
    server.shows("work.1", "what was typed", |shown| shown.contains("half a li"));
    for _ in 0..2 {
        let before = counted(&server.shows("work.0", "a number", |shown| counted(shown) > 3));
        server.job.nap();
        server.shows("work.0", "the numbers that follow", |shown| counted(shown) > before + 3);
    }
    server.tell(&["send-keys", "-t", "work.1", "ne", "Enter"]);
    server.shows("work.1", "the whole line twice", |shown| shown.matches("half a line").count() == 2);
    server.tell(&["split-window", "-t", "work", "echo a third pane; cat"]);
    server.shows("work.2", "the new pane", |shown| shown.contains("a third pane"));
    server.tell(&["kill-server"]);
    server.job.end();
}
