//! Watches over files and directories, inotify(7): what is watched, for what, under which number.
//!
//! What changed while the group slept nobody has watched: the program is told so as the kernel tells it, by an event
//! IN_Q_OVERFLOW, after which it has to look for itself.

// zoo: inotify

mod overflow;

use std::os::fd::OwnedFd;

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::watched::{self, Mounts, Place, Watched};
use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, not_made, path_of};
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::{Answer, Errno, files, inotify};
use crate::proc::fdinfo::FdDetail;
use crate::resource::moves::Moving;
use crate::resource::named_file::{Owner, shown};
use crate::resource::owners::Walk;

/// The kind.
#[derive(Debug)]
pub struct Inotify;

/// A descriptor that watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it watches, by rising numbers.
    watches: Vec<Watch>,
    /// With whose rights.
    owner: Owner,
}

/// A watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Watch {
    /// Its number, a watch descriptor.
    number: i32,
    /// What is watched.
    path: ByteBuf,
    /// IN_*: for what, and how.
    mask: u32,
}

/// The highest number of a watch: the kernel counts them up, and counting there again takes its time.
const HIGHEST: i32 = 1 << 20;

impl FileKind for Inotify {
    type Record = Record;

    fn name(&self) -> &'static str {
        "inotify"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts.link == b"anon_inode:inotify"
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        let mut problems = files.refuse_shared(facts, ProblemKind::AnonymousFile);
        let mounts = Mounts::here();
        for seen in seen(facts) {
            let Some(seen) = seen else {
                problems.push(facts.problem(ProblemKind::AnonymousFile, phrase!("what it watches cannot be read")));
                continue;
            };
            let number = seen.number;
            match seen.watched.place(files, &mounts) {
                Place::Path(_) if (1..=HIGHEST).contains(&number) => {}
                Place::Path(path) => {
                    let what = phrase!(
                        "its watch on {shown} has the number {number}, too high to count there again",
                        shown = shown(&path),
                        number
                    );
                    problems.push(
                        facts.problem(ProblemKind::AnonymousFile, what).way_out(phrase!("Start the program anew")),
                    );
                }
                Place::Removed => {
                    let what = phrase!("what its watch {number} looks at has been removed", number);
                    problems.push(facts.loss(ProblemKind::AnonymousFile, what, phrase!("that watch")));
                }
                Place::Unknown => {
                    let what = phrase!(
                        "where the file lies that its watch {number} looks at cannot be told on this filesystem",
                        number
                    );
                    problems.push(
                        facts.problem(ProblemKind::AnonymousFile, what).way_out(phrase!("Pause the group instead")),
                    );
                }
            }
        }
        if files::bytes_waiting(&facts.file).is_ok_and(|waiting| waiting > 0) {
            let what = phrase!("it holds events that the program has not read yet");
            problems.push(facts.loss(
                ProblemKind::AnonymousFile,
                what,
                phrase!("these events; the program is told that it has lost some"),
            ));
        }
        problems
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Record, Problem> {
        let (mut watches, mounts) = (Vec::new(), Mounts::here());
        for seen in seen(facts) {
            let seen = seen
                .ok_or_else(|| facts.problem(ProblemKind::AnonymousFile, phrase!("what it watches cannot be read")))?;
            if let Place::Path(path) = seen.watched.place(capture.files, &mounts) {
                let path = ByteBuf::from(path.into_os_string().into_encoded_bytes());
                watches.push(Watch { number: seen.number, path, mask: seen.mask });
            }
        }
        watches.sort_by_key(|watch| watch.number);
        Ok(Record { watches, owner: facts.owner.clone() })
    }

    fn moved(&self, record: &mut Record, moving: &mut Moving<'_>) {
        record.watches.iter_mut().for_each(|watch| moving.path(&mut watch.path));
    }

    fn led(&self, record: &mut Record, walk: &mut Walk<'_>) {
        record.owner.led(walk);
    }

    fn preflight(&self, record: &Record, _file: &OpenFile) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut last = 0;
        for watch in &record.watches {
            if watch.number <= last || watch.number > HIGHEST {
                let what = phrase!("the image contradicts itself: the watch {number} cannot be", number = watch.number);
                problems.push(Problem::blocks(ProblemKind::Image, what));
            }
            last = watch.number;
            let path = path_of(&watch.path);
            if let Err(error) = path.symlink_metadata() {
                let what = phrase!("what the group watched cannot be found: {why}", why = error);
                problems.push(Problem::loses(ProblemKind::AnonymousFile, what, phrase!("that watch")).at(shown(&path)));
            }
        }
        problems
    }

    fn restore(
        &self,
        record: &Record,
        _id: FileId,
        file: &OpenFile,
        _restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        let _acting = Acting::begin(&Identity::from(&record.owner)).and_then(Acting::powerless).map_err(failed)?;
        let made = inotify::make().map_err(failed)?;
        files::set_status(&made, file.flags).map_err(failed)?;
        Ok(made)
    }

    fn starts_ready(&self, _record: &Record) -> bool {
        true
    }

    /// Now, when the engine opens no more files that are watched.
    fn start(&self, record: &Record, _file: &OpenFile, made: &OwnedFd) -> Result<(), Problem> {
        if record.watches.is_empty() { Ok(()) } else { watch(record, made).map_err(failed) }
    }
}

fn failed(errno: Errno) -> Problem {
    let problem = not_made(phrase!("a watch over files"), errno);
    if errno == Errno::ENOSPC {
        problem.way_out(phrase!("Raise fs.inotify.max_user_watches (sysctl)"))
    } else {
        problem
    }
}

/// A watch as the kernel shows it.
struct Seen {
    number: i32,
    mask: u32,
    watched: Watched,
}

impl Seen {
    /// Reads a line such as `inotify wd:1 ino:3c4a7 sdev:fe00000 mask:3ff …`.
    fn parse(line: &[u8]) -> Option<Self> {
        let number = |key: &[u8]| watched::number(line, key);
        Some(Self {
            number: i32::try_from(number(b"wd")?).ok()?,
            mask: number(b"mask")? as u32,
            watched: Watched::parse(line)?,
        })
    }
}

/// The watches that its fdinfo shows; none: a line that cannot be read.
fn seen(facts: &FileFacts) -> impl Iterator<Item = Option<Seen>> {
    facts.info.details.iter().filter_map(|detail| match detail {
        FdDetail::Inotify(line) => Some(Seen::parse(line)),
        _ => None,
    })
}

/// Adds the watches, each under its number: the kernel counts up, so those between are taken and given back.
fn watch(record: &Record, made: &OwnedFd) -> Answer<()> {
    let mut filler = overflow::Filler::new()?;
    for watch in &record.watches {
        while filler.next < watch.number {
            filler.skip(made)?;
        }
        let path = path_of(&watch.path);
        let _acting = Acting::begin(&Identity::from(&record.owner))?;
        match inotify::add(made, &path, watch.mask | libc::IN_DONT_FOLLOW) {
            Ok(number) if number == watch.number => filler.next += 1,
            // Two names of the group's have become one file, or its number cannot be had.
            Ok(_) => return Err(Errno::EEXIST),
            // Announced before anything was made.
            Err(Errno::ENOENT | Errno::EACCES | Errno::ENOTDIR) => {}
            Err(errno) => return Err(errno),
        }
    }
    filler.overflow(made)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn watches_have_their_numbers_and_say_that_something_was_missed() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let owner =
            Owner { user: nix::unistd::geteuid().as_raw(), group: nix::unistd::getegid().as_raw(), groups: Vec::new() };
        let paths = [folder.path().join("one"), folder.path().join("two")];
        for path in &paths {
            std::fs::write(path, "")?;
        }
        let watch_of = |number: i32, path: &std::path::Path| Watch {
            number,
            path: ByteBuf::from(path.as_os_str().as_encoded_bytes()),
            mask: libc::IN_MODIFY,
        };
        let watches = vec![watch_of(3, &paths[0]), watch_of(900, &paths[1])];
        let made = inotify::make()?;
        watch(&Record { watches, owner }, &made)?;
        let mut made = std::fs::File::from(made);
        let mut event = [0; 16];
        made.read_exact(&mut event)?;
        assert_eq!(event[..8], [(-1_i32).to_ne_bytes(), libc::IN_Q_OVERFLOW.to_ne_bytes()].concat());
        assert!(made.read(&mut event).is_err(), "nothing else waits");
        std::fs::write(&paths[1], "new")?;
        made.read_exact(&mut event)?;
        assert_eq!(event[..8], [900_i32.to_ne_bytes(), libc::IN_MODIFY.to_ne_bytes()].concat());
        Ok(())
    }
}
