//! Pseudo-terminals, pts(4): the master, and all that belongs to the pair. Openings of its slave are [`terminal`]'s.
//!
//! [`terminal`]: super::terminal

// zoo: terminal

mod number;
mod queue;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, ProcessName, phrase};
use nix::poll::PollFlags;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, path_of};
use crate::kernel::terminal::{self, Settings};
use crate::kernel::{Errno, files, identity};
use crate::proc::{self, stat};
use crate::resource::moves::Moving;
use crate::resource::named_file::{Owner, shown};
use crate::resource::owners::Walk;
pub use number::node;
use queue::Queue;

/// The kind.
#[derive(Debug)]
pub struct Master;

/// A pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Where the master was opened, such as `/dev/ptmx`.
    path: ByteBuf,
    /// Who opened it.
    owner: Owner,
    /// The N of /dev/pts/N.
    number: u32,
    /// Permissions, user and group of the slave's name.
    node: (u32, u32, u32),
    /// `struct termios2`.
    settings: ByteBuf,
    /// Rows, columns, width and height in pixels.
    size: [u16; 4],
    /// TIOCPKT.
    packets: bool,
    /// TIOCSPTLCK: the slave cannot be opened.
    locked: bool,
    /// TIOCEXCL of master and slave.
    exclusive: (bool, bool),
    /// The slave has been opened once: from then on its last close hangs up.
    used: bool,
    /// The session whose controlling terminal it is, and the process group in the foreground.
    session: Option<(Pid, Pid)>,
    /// What is on its way.
    queue: Queue,
}

/// The major number of pseudo-terminals' slaves, and the device numbers of /dev/ptmx and /dev/tty.
pub const SLAVES: u32 = 136;
const MULTIPLEXER: (u32, u32) = (5, 2);

/// Whether a file is a master.
pub fn is_master(facts: &FileFacts) -> bool {
    let device = (libc::major(facts.stat.st_rdev), libc::minor(facts.stat.st_rdev));
    facts.file_type() == libc::S_IFCHR && device == MULTIPLEXER && facts.info.flags as i32 & libc::O_PATH == 0
}

/// The master of the group whose slave this device is.
pub fn master_of(device: (u32, u32), files: &FilesFacts) -> Option<&FileFacts> {
    let is_its = |file: &&FileFacts| is_master(file) && terminal::device(&file.file) == Ok(device);
    files.files.iter().find(is_its)
}

/// Whether the other end has been closed.
pub fn is_hung_up(file: &File) -> bool {
    terminal::events(file, PollFlags::empty(), Duration::ZERO).is_ok_and(|events| events.contains(PollFlags::POLLHUP))
}

/// The session whose terminal a pair of the image is, and the process group in the foreground.
pub fn session(file: &OpenFile) -> Option<(Pid, Pid)> {
    if file.kind != FileKind::name(&Master) {
        return None;
    }
    super::typed::<Record>(file).ok()?.session
}

impl FileKind for Master {
    type Record = Record;

    fn name(&self) -> &'static str {
        "pty"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        is_master(facts)
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        let mut problems = files.refuse_shared(facts, ProblemKind::Terminal);
        match terminal::device(&facts.file) {
            Ok((SLAVES, number)) => problems.extend(judge_pair(facts, files, number)),
            Ok(_) => problems.push(
                facts.problem(ProblemKind::Terminal, phrase!("it is no pseudo-terminal of a kind that can be frozen")),
            ),
            Err(error) => {
                let what = phrase!("it cannot be looked at: {why}", why = error.desc());
                problems.push(facts.problem(ProblemKind::Terminal, what));
            }
        }
        problems
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Record, Problem> {
        let failed = |error: Errno| {
            facts.problem(
                ProblemKind::Terminal,
                phrase!("the pseudo-terminal cannot be read: {why}", why = error.desc()),
            )
        };
        let master = &facts.file;
        let number = terminal::number(master).map_err(failed)?;
        let found = node(number).metadata().map_err(|_| failed(Errno::ENOENT))?;
        let used = is_used(facts, capture.files);
        let (mut queue, mut exclusive) = (Queue::default(), false);
        if used {
            let slave = slave(master).map_err(failed)?;
            queue = Queue::look(master, &slave).map_err(failed)?;
            exclusive = terminal::is_exclusive(&slave).map_err(failed)?;
        }
        let session = terminal::session(master).ok().filter(|session| *session > 0).map(Pid);
        let foreground = terminal::foreground(master).ok().filter(|group| *group > 0).map(Pid);
        Ok(Record {
            path: ByteBuf::from(facts.link.clone()),
            owner: facts.owner.clone(),
            number,
            node: (found.mode() & 0o777, found.uid(), found.gid()),
            settings: ByteBuf::from(terminal::settings(master).map_err(failed)?.bytes()),
            size: terminal::size(master).map_err(failed)?,
            packets: terminal::has_packets(master).map_err(failed)?,
            locked: terminal::is_locked(master).map_err(failed)?,
            exclusive: (terminal::is_exclusive(master).map_err(failed)?, exclusive),
            used,
            session: session.map(|session| (session, foreground.unwrap_or(session))),
            queue,
        })
    }

    fn moved(&self, record: &mut Record, moving: &mut Moving<'_>) {
        moving.path(&mut record.path);
    }

    fn led(&self, record: &mut Record, walk: &mut Walk<'_>) {
        record.owner.led(walk);
        walk.user(&mut record.node.1);
        walk.group(&mut record.node.2);
    }

    fn preflight(&self, record: &Record, _file: &OpenFile) -> Vec<Problem> {
        let name = node(record.number).display().to_string();
        let mut problems = Vec::new();
        if !record.queue.is_possible() || Settings::from_bytes(&record.settings).is_none() {
            problems.push(
                Problem::blocks(ProblemKind::Image, phrase!("the image describes a terminal that cannot be")).at(name),
            );
        }
        problems.extend(judge_number(&path_of(&record.path), &record.owner, record.number));
        if !identity::has_capability(CAP_SYS_ADMIN) {
            problems.push(lacks_privilege());
        }
        problems
    }

    fn restore(
        &self,
        record: &Record,
        _id: FileId,
        file: &OpenFile,
        restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        let failed = |error: Errno| {
            let what = phrase!("a pseudo-terminal cannot be made again: {why}", why = error.desc());
            Problem::blocks(ProblemKind::Terminal, what).at(node(record.number).display().to_string())
        };
        let flags = file.flags_again() & !libc::O_NOFOLLOW;
        let master = master(&path_of(&record.path), &record.owner, flags, record.number, restore.open_files);
        let master = master.map_err(failed)?;
        let number = terminal::number(&master).map_err(failed)?;
        terminal::set_locked(&master, false).map_err(failed)?;
        own(number, record.node).map_err(failed)?;
        let settings = Settings::from_bytes(&record.settings).ok_or(Errno::EINVAL).map_err(failed)?;
        if record.used {
            let slave = slave(&master).map_err(failed)?;
            record.queue.put(&master, &slave, &settings).map_err(failed)?;
            if record.exclusive.1 {
                terminal::set_exclusive(&slave).map_err(failed)?;
            }
        } else {
            terminal::set_settings(&master, &settings).map_err(failed)?;
        }
        terminal::set_size(&master, record.size).map_err(failed)?;
        Ok(master)
    }

    /// What would be in the way of opening slaves, or of setting them.
    fn start(&self, record: &Record, _file: &OpenFile, made: &OwnedFd) -> Result<(), Problem> {
        let set = || {
            if record.packets {
                terminal::set_packets(made, true)?;
            }
            if record.exclusive.0 {
                terminal::set_exclusive(made)?;
            }
            terminal::set_locked(made, record.locked)
        };
        set().map_err(|error: Errno| {
            let what = phrase!("a pseudo-terminal cannot be set as it was: {why}", why = error.desc());
            Problem::blocks(ProblemKind::Terminal, what)
        })
    }
}

const CAP_SYS_ADMIN: u32 = 21;

fn lacks_privilege() -> Problem {
    let what = phrase!("what is on its way in a pseudo-terminal can be put into it only with CAP_SYS_ADMIN");
    Problem::blocks(ProblemKind::Privilege, what).way_out(phrase!("Run Dormouse as root"))
}

/// The numbers that pairs of an image have.
fn wanted(files: &[OpenFile]) -> Vec<u32> {
    let pairs = files.iter().filter(|file| file.kind == FileKind::name(&Master));
    pairs.filter_map(|file| super::typed::<Record>(file).ok()).map(|pair| pair.number).collect()
}

/// A master with its number, or with another where that is taken: [`judge_number`] has announced it.
fn master(path: &Path, owner: &Owner, flags: i32, number: u32, files: &[OpenFile]) -> Result<OwnedFd, Errno> {
    match number::master_with(path, owner, flags, number) {
        Err(Errno::EBUSY) => number::any_master(path, owner, flags, &wanted(files)),
        made => made,
    }
}

/// Whether a pair can be made, and whether it can have its number.
pub fn judge_number(path: &Path, owner: &Owner, number: u32) -> Vec<Problem> {
    match number::master_with(path, owner, libc::O_RDWR, number) {
        Ok(_) => Vec::new(),
        Err(Errno::EBUSY) => {
            let what = phrase!("another terminal has this name now; it comes back under another one");
            let loss = phrase!("the terminal's name, which programs in it may have noted");
            vec![Problem::loses(ProblemKind::Terminal, what, loss).at(node(number).display().to_string())]
        }
        Err(error) => {
            let what = phrase!("pseudo-terminals cannot be made here: {why}", why = error.desc());
            vec![Problem::blocks(ProblemKind::Device, what).at(shown(path))]
        }
    }
}

/// Where pairs are made that nobody has the master of.
pub const MULTIPLEXER_PATH: &str = "/dev/ptmx";

/// A pair of its own: a new slave whose master is closed again.
pub fn hung_up(flags: i32, number: u32, owner: &Owner, files: &[OpenFile]) -> Result<OwnedFd, Errno> {
    let master = master(MULTIPLEXER_PATH.as_ref(), owner, libc::O_RDWR, number, files)?;
    terminal::set_locked(&master, false)?;
    terminal::peer(&master, flags)
}

/// Opens the slave for the engine itself, whether it is locked or not.
fn slave(master: &(impl std::os::fd::AsFd + ?Sized)) -> Result<OwnedFd, Errno> {
    let master = &master.as_fd();
    let locked = terminal::is_locked(master)?;
    if locked {
        terminal::set_locked(master, false)?;
    }
    let slave = terminal::peer(master, libc::O_RDWR | libc::O_NONBLOCK);
    if locked {
        terminal::set_locked(master, true)?;
    }
    slave
}

/// Whether the slave is open, or has been.
fn is_used(facts: &FileFacts, files: &FilesFacts) -> bool {
    let Ok(device) = terminal::device(&facts.file) else { return false };
    let is_open = |file: &FileFacts| !is_master(file) && terminal::device(&file.file) == Ok(device);
    is_hung_up(&facts.file) || files.files.iter().any(is_open)
}

/// Gives the slave's name to whom it belonged.
fn own(number: u32, (mode, user, group): (u32, u32, u32)) -> Result<(), Errno> {
    use std::os::unix::fs::PermissionsExt;
    let set = || {
        std::os::unix::fs::chown(node(number), Some(user), Some(group))?;
        std::fs::set_permissions(node(number), std::fs::Permissions::from_mode(mode & 0o777))
    };
    set().map_err(|error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

fn judge_pair(facts: &FileFacts, files: &FilesFacts, number: u32) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |what: Phrase, way_out: Phrase| {
        problems.push(facts.problem(ProblemKind::Terminal, what).way_out(way_out));
    };
    let name = node(number);
    if !name.metadata().is_ok_and(|found| found.rdev() == libc::makedev(SLAVES, number)) {
        refuse(
            phrase!("its slave is not in /dev/pts: it belongs to another place"),
            phrase!("Pause the group instead"),
        );
    }
    for process in users_outside(number, files) {
        let what = phrase!(
            "{process} is on this terminal ({name}) and is not part of the group",
            process,
            name = name.display()
        );
        refuse(what, phrase!("Freeze them together, or end that process"));
    }
    if terminal::discipline(&facts.file) != Ok(0) {
        refuse(phrase!("it has a line discipline other than the usual one"), phrase!("Pause the group instead"));
    }
    let news = terminal::events(&facts.file, PollFlags::POLLPRI, Duration::ZERO);
    if news.is_ok_and(|news| news.contains(PollFlags::POLLPRI)) {
        refuse(
            phrase!("the news of a change waits to be read from it, as packet mode tells it"),
            phrase!("Try again in a moment"),
        );
    }
    if !identity::has_capability(CAP_SYS_ADMIN) {
        problems.push(lacks_privilege().of(&facts.process).at(facts.shown()));
    }
    if !is_used(facts, files) {
        let what = phrase!("nobody has opened its slave yet, so that it cannot be seen what was written to it");
        problems.push(facts.loss(ProblemKind::Terminal, what, phrase!("what was written to it, if anything")));
    }
    let foreground = terminal::foreground(&facts.file).ok().filter(|group| *group > 0);
    let in_group =
        |pid: &Pid| proc::parsed(*pid, "stat", stat::parse).is_ok_and(|stat| Some(stat.pgrp.0) == foreground);
    if foreground.is_some() && terminal::session(&facts.file).is_ok() && !files.members.iter().any(in_group) {
        let what = phrase!("the process group in its foreground has ended");
        problems.push(facts.loss(
            ProblemKind::Terminal,
            what,
            phrase!("that: the leader of the session is in the foreground again"),
        ));
    }
    problems
}

/// Processes outside the group that have the slave open, or whose controlling terminal it is.
pub fn users_outside(number: u32, files: &FilesFacts) -> Vec<ProcessName> {
    let held = files::identity(&node(number)).map(|place| files.held_outside_at(place)).unwrap_or_default();
    let mut users: Vec<ProcessName> = held.iter().map(|holder| holder.process.clone()).collect();
    users.extend(files.on_terminal_outside((SLAVES, number)).iter().cloned());
    users.sort();
    users.dedup();
    users
}
