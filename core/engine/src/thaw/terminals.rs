//! Terminals and who has them: sessions take those of the group, ioctl_tty(2); the job of a terminal outside gets that of
//! the caller.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, phrase};

use super::objects::Objects;
use super::tree::Tree;
use crate::ThawOptions;
use crate::arguments;
use crate::kernel::terminal::{self, Settings};
use crate::kernel::{Answer, Errno};
use crate::puppet::Batch;
use crate::resource::fd::{FileId, pty};
use crate::resource::group::Group;

/// The pairs of the group that are terminals of sessions: the master's number in every process being built, the session,
/// and the process group in the foreground.
fn sessions<'a>(group: &'a Group, objects: &'a Objects) -> impl Iterator<Item = (i32, Pid, Pid)> + 'a {
    group.open_files.iter().enumerate().filter_map(|(index, file)| {
        let (session, foreground) = pty::session(file)?;
        Some((objects.open_file(FileId(index))?.as_raw_fd(), session, foreground))
    })
}

/// Lets the leader of a session take the session's terminal.
pub fn take(group: &Group, objects: &Objects, leader: Pid, batch: &mut Batch) {
    for (master, ..) in sessions(group, objects).filter(|(_, session, _)| *session == leader) {
        // By the master: the leader need not have the slave open.
        batch.must("take the terminal of its session", libc::SYS_ioctl, arguments![master, libc::TIOCSCTTY, 0]);
    }
}

/// Puts process groups into the foreground, now that they are there.
pub fn restore(tree: &mut Tree, group: &Group, objects: &Objects) -> Result<(), Problem> {
    let groups: HashSet<Pid> = group.processes.iter().map(|process| process.family.process_group).collect();
    for (master, session, foreground) in sessions(group, objects).filter(|(.., foreground)| groups.contains(foreground))
    {
        let leader = group.processes.iter().position(|process| process.pid() == session);
        let Some(leader) = leader.and_then(|leader| tree.built[leader].as_mut()) else { continue };
        let mut batch = Batch::new();
        let number = batch.bytes(&foreground.0.to_ne_bytes());
        batch.must(
            "put a process group into the foreground",
            libc::SYS_ioctl,
            arguments![master, libc::TIOCSPGRP, number],
        );
        leader.run(&mut batch)?;
    }
    Ok(())
}

/// Whether a terminal is there for a job that needs one.
pub fn preflight(group: &Group, options: &ThawOptions) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(outside) = &group.terminal else { return problems };
    let name = String::from_utf8_lossy(&outside.name).escape_debug().to_string();
    let needs = group.open_files.iter().any(crate::resource::fd::terminal::is_outside);
    let mut refuse = |kind, what: Phrase, way_out: Phrase| {
        problems.push(Problem::blocks(kind, what).at(name.clone()).way_out(way_out));
    };
    if Settings::from_bytes(&outside.settings).is_none() {
        refuse(
            ProblemKind::Image,
            phrase!("the image describes a terminal that cannot be"),
            phrase!("Freeze it again"),
        );
    }
    match &options.terminal {
        Some(path) if is_own(path) == Ok(true) || !needs && job(group, options).is_none() => {}
        Some(path) => {
            let what =
                phrase!("{path} is not the terminal of the session that the thaw runs in", path = path.display());
            refuse(ProblemKind::Terminal, what, phrase!("Run the thaw from a shell in a terminal"));
        }
        None if needs => {
            let what = phrase!("the job was on this terminal and needs one to come back on");
            refuse(
                ProblemKind::Terminal,
                what,
                phrase!("Run the thaw from a shell in a terminal, with the terminal as its input"),
            );
        }
        None => {}
    }
    let moved = group.processes.iter().filter(|process| process.family.session == process.pid());
    for process in moved.filter(|process| process.family.session_outside) {
        let what = phrase!("it led the session of its terminal; here it is a job of the session that the thaw runs in");
        problems.push(Problem::loses(ProblemKind::Family, what, phrase!("its session")).of(&process.shown()));
    }
    problems
}

/// Whether a terminal is the controlling terminal of the engine's own session.
fn is_own(path: &Path) -> Answer<bool> {
    let of = |path: &Path| terminal::device(&terminal::look(path)?);
    Ok(of(path)? == of("/dev/tty".as_ref())?)
}

/// The caller's terminal in the hands of the job. Dropped, it is as it was before.
#[derive(Debug)]
pub struct Lent {
    file: File,
    settings: Settings,
    foreground: i32,
    kept: bool,
}

/// The process group that the terminal is for: the one that was in the foreground; or a stopped one, for a person thaws
/// a job to go on with it. None, where the caller has no terminal or keeps it.
pub fn job(group: &Group, options: &ThawOptions) -> Option<Pid> {
    let outside = group.terminal.as_ref().filter(|_| options.terminal.is_some() && !options.background)?;
    let stopped =
        || group.processes.iter().find(|process| process.alive().is_some_and(|alive| alive.stop.by.is_some()));
    let of_foreground = |foreground| group.processes.iter().find(|process| process.family.process_group == foreground);
    let member = outside.foreground.map_or_else(stopped, of_foreground)?;
    let own = || Pid(nix::unistd::getpgrp().as_raw());
    Some(if member.family.process_group_outside { own() } else { member.family.process_group })
}

/// Gives the caller's terminal to the job, before it runs: one that reads without having it would be stopped. Nothing, where
/// the caller does not have it itself.
pub fn lend(group: &Group, options: &ThawOptions) -> Result<Option<Lent>, Problem> {
    let (Some(outside), Some(path)) = (&group.terminal, &options.terminal) else { return Ok(None) };
    let Some(job) = job(group, options) else { return Ok(None) };
    let failed = |errno: Errno| {
        let what = phrase!("the terminal cannot be given to the job: {why}", why = errno.desc());
        Problem::blocks(ProblemKind::Terminal, what).at(path.display().to_string())
    };
    let file = terminal::look(path).map_err(failed)?;
    let foreground = terminal::foreground(&file).map_err(failed)?;
    if foreground != nix::unistd::getpgrp().as_raw() {
        return Ok(None);
    }
    let before = terminal::settings(&file).map_err(failed)?;
    let lent = Lent { file, settings: before, foreground, kept: false };
    // The size of a window is the window's, and the job is told of it; one that has none is given that of the other.
    if terminal::size(&lent.file).map_err(failed)?[..2] == [0, 0] {
        terminal::set_size(&lent.file, outside.size).map_err(failed)?;
    }
    if let Some(settings) = Settings::from_bytes(&outside.settings).filter(|_| outside.foreground.is_some()) {
        terminal::set_settings(&lent.file, &settings).map_err(failed)?;
    }
    terminal::set_foreground(&lent.file, job.0).map_err(failed)?;
    Ok(Some(lent))
}

impl Lent {
    /// The job runs: it keeps the terminal.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let back = terminal::set_foreground(&self.file, self.foreground);
        if let Err(error) = back.and_then(|()| terminal::set_settings(&self.file, &self.settings)) {
            tracing::error!(%error, "the terminal could not be taken back");
        }
    }
}
