//! Openings of terminals: slaves of pairs in the group, such as /dev/pts/3, and /dev/tty; slaves whose master is gone;
//! and the terminal outside the group that a job is on, which is another one after the thaw.

// zoo: terminal_session

use std::os::fd::{AsFd, OwnedFd};

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, pty};
use crate::kernel::{Errno, files, terminal};
use crate::resource::named_file::Owner;
use crate::resource::owners::Walk;

/// The kind.
#[derive(Debug)]
pub struct Terminal;

/// An opening.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Of the slave of a pair in the group.
    Slave {
        /// The master.
        master: FileId,
        /// By the name /dev/tty.
        controlling: bool,
    },
    /// Of the terminal outside the group.
    Outside {
        /// By the name /dev/tty.
        controlling: bool,
    },
    /// Of a slave whose master is gone: nothing comes from it any more.
    HungUp {
        /// The N of the /dev/pts/N that it was.
        number: u32,
        /// Who opened it.
        owner: Owner,
    },
}

/// The device number of /dev/tty.
const CONTROLLING: (u32, u32) = (5, 0);

/// What an opening of a terminal leads to.
enum Place<'a> {
    Inside(&'a FileFacts),
    Outside((u32, u32)),
    HungUp,
    Other,
}

fn number_of(facts: &FileFacts) -> (u32, u32) {
    (libc::major(facts.stat.st_rdev), libc::minor(facts.stat.st_rdev))
}

/// Whether a slave can be that of a master with its number: a sandbox has pseudo-terminals of its own, with the same numbers, devpts(5).
fn may_be_of(slave: &FileFacts, master: &FileFacts) -> bool {
    const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
    let is_told = |facts: &FileFacts| files::filesystem(&facts.file) == Ok(DEVPTS_SUPER_MAGIC);
    !is_told(slave) || !is_told(master) || slave.stat.st_dev == master.stat.st_dev
}

fn place<'a>(facts: &FileFacts, files: &'a FilesFacts) -> Place<'a> {
    match terminal::device(&facts.file) {
        Ok(device @ (pty::SLAVES, _)) => {
            let master = pty::master_of(device, files).filter(|master| may_be_of(facts, master));
            master.map_or(Place::Outside(device), Place::Inside)
        }
        Err(Errno::EIO) if number_of(facts).0 == pty::SLAVES => Place::HungUp,
        _ => Place::Other,
    }
}

/// The terminal outside the group that an open file leads to.
pub fn outside(facts: &FileFacts, files: &FilesFacts) -> Option<(u32, u32)> {
    if facts.file_type() != libc::S_IFCHR || pty::is_master(facts) || !FileKind::claims(&Terminal, facts) {
        return None;
    }
    match place(facts, files) {
        Place::Outside(device) => Some(device),
        _ => None,
    }
}

/// Whether a file of an image is an opening of the terminal outside the group.
pub fn is_outside(file: &OpenFile) -> bool {
    file.kind == FileKind::name(&Terminal) && matches!(super::typed(file), Ok(Record::Outside { .. }))
}

impl FileKind for Terminal {
    type Record = Record;

    fn name(&self) -> &'static str {
        "terminal"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        let path_only = facts.info.flags as i32 & libc::O_PATH != 0;
        let known = number_of(facts) == CONTROLLING || number_of(facts).0 == pty::SLAVES;
        facts.file_type() == libc::S_IFCHR && !path_only && (known || terminal::settings(&facts.file).is_ok())
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        match place(facts, files) {
            Place::Inside(_) => files.refuse_shared(facts, ProblemKind::Terminal),
            Place::Outside(_) | Place::HungUp => Vec::new(),
            Place::Other => {
                vec![facts.problem(ProblemKind::Terminal, other(facts)).way_out(phrase!("Pause the group instead"))]
            }
        }
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Record, Problem> {
        let controlling = number_of(facts) == CONTROLLING;
        match place(facts, capture.files) {
            Place::Inside(master) => Ok(Record::Slave { master: master.id, controlling }),
            Place::Outside(_) => Ok(Record::Outside { controlling }),
            Place::HungUp => Ok(Record::HungUp { number: number_of(facts).1, owner: facts.owner.clone() }),
            Place::Other => Err(facts.problem(ProblemKind::Terminal, other(facts))),
        }
    }

    fn led(&self, record: &mut Record, walk: &mut Walk<'_>) {
        if let Record::HungUp { owner, .. } = record {
            owner.led(walk);
        }
    }

    fn preflight(&self, record: &Record, _file: &OpenFile) -> Vec<Problem> {
        match record {
            Record::HungUp { number, owner } => pty::judge_number(pty::MULTIPLEXER_PATH.as_ref(), owner, *number),
            Record::Slave { .. } | Record::Outside { .. } => Vec::new(),
        }
    }

    fn needs(&self, record: &Record) -> Vec<FileId> {
        match record {
            Record::Slave { master, .. } => vec![*master],
            Record::Outside { .. } | Record::HungUp { .. } => Vec::new(),
        }
    }

    fn restore(
        &self,
        record: &Record,
        _id: FileId,
        file: &OpenFile,
        restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        let failed = |error: Errno| {
            let what = phrase!("a terminal cannot be opened again: {why}", why = error.desc());
            Problem::blocks(ProblemKind::Terminal, what)
        };
        let flags = file.flags_again() & !libc::O_NOFOLLOW;
        match record {
            Record::Slave { master, controlling } => {
                let master = restore.made.get(master).ok_or(Errno::ENOENT).map_err(failed)?;
                slave(master, *controlling, flags)
            }
            Record::HungUp { number, owner } => pty::hung_up(flags, *number, owner, restore.open_files),
            Record::Outside { controlling } => {
                let path = restore.terminal.ok_or(Errno::ENOTTY).map_err(failed)?;
                // Its rights are those of whoever thaws: it is handed on, as a shell hands its own to a job.
                files::open(if *controlling { "/dev/tty".as_ref() } else { path }, flags)
            }
        }
        .map_err(failed)
    }
}

fn slave(master: &impl AsFd, controlling: bool, flags: i32) -> Result<OwnedFd, Errno> {
    if !controlling {
        return terminal::peer(master, flags);
    }
    let terminal = terminal::peer(master, libc::O_RDWR)?;
    terminal::controlling(&terminal, flags)
}

/// A terminal that cannot be frozen, by its name.
fn other(facts: &FileFacts) -> Phrase {
    let name = match number_of(facts) {
        CONTROLLING => phrase!("an opening of a terminal that is gone"),
        (4, ..64) => phrase!("a virtual console"),
        (5, 1) => phrase!("the console of the system"),
        (4 | 204, _) => phrase!("a serial line"),
        _ => phrase!("a terminal that is no pseudo-terminal"),
    };
    phrase!("{name} cannot be frozen", name)
}
