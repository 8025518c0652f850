//! Pipes, pipe(7): both ends, what is in them, their size, packet mode. FIFOs share [`Body`].

// zoo: pipe

use std::os::fd::{AsFd, OwnedFd};

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, tee};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, O_LARGEFILE, OpenFile, Restore, own_path};
use crate::kernel::files;
use crate::resource::owners::Walk;

/// The kind.
#[derive(Debug)]
pub struct Pipe;

/// One end of a pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The end that stands for the pipe: the first of its ends, which has its size and content.
    pipe: FileId,
    /// For that one: size in bytes, and what is in the pipe, write by write where it is in packet mode.
    body: Option<Body>,
}

/// What a pipe is between its ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// How much it takes, F_SETPIPE_SZ.
    size: u32,
    /// What is in it.
    content: Vec<ByteBuf>,
    /// O_DIRECT at some writing end: packets keep their borders, and this flag makes them.
    packets: bool,
    /// Its permissions: it can be opened again below /proc.
    mode: u32,
    /// User and group it belongs to.
    owner: (u32, u32),
}

impl FileKind for Pipe {
    type Record = Record;

    fn name(&self) -> &'static str {
        "pipe"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts.file_type() == libc::S_IFIFO && facts.link.starts_with(b"pipe:[")
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        judge(facts, files)
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Record, Problem> {
        let pipe = first(facts, capture.files);
        let body = if pipe == facts.id { Some(Body::capture(facts, capture.files)?) } else { None };
        Ok(Record { pipe, body })
    }

    fn led(&self, record: &mut Record, walk: &mut Walk<'_>) {
        if let Some(body) = &mut record.body {
            walk.both(&mut body.owner);
        }
    }

    fn needs(&self, record: &Record) -> Vec<FileId> {
        if record.body.is_some() { Vec::new() } else { vec![record.pipe] }
    }

    fn restore(
        &self,
        record: &Record,
        id: FileId,
        file: &OpenFile,
        restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        // Ends beyond the two that pipe(2) gives are opened through /proc/self/fd, as the program must have done.
        let Some(body) = &record.body else {
            let first = restore.made.get(&record.pipe).ok_or_else(|| failed(phrase!("its first end is missing")))?;
            return another_end(first, file.flags);
        };
        let (reading, writing) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
            .map_err(|error| failed(error.to_string().into()))?;
        body.own(&reading)?;
        body.fill(&writing)?;
        let mut ends = [(libc::O_RDONLY, Some(reading)), (libc::O_WRONLY, Some(writing))];
        let (mut own, mut sibling) = (None, None);
        let others = restore.open_files.iter().enumerate().map(|(other, file)| (FileId(other), file));
        for (other, file) in others.filter(|(other, file)| *other == id || is_end_of(file, id)) {
            let end = ends.iter_mut().find(|(access, _)| *access == file.flags & libc::O_ACCMODE);
            let Some(end) = end.filter(|_| file.flags & O_LARGEFILE == 0).and_then(|(_, end)| end.take()) else {
                continue;
            };
            files::set_status(&end, file.flags).map_err(|error| failed(error.to_string().into()))?;
            if other == id {
                own = Some(end);
            } else {
                restore.made.insert(other, end);
                sibling = Some(other);
            }
        }
        if let Some(own) = own {
            return Ok(own);
        }
        let left = ends.iter().find_map(|(_, end)| end.as_ref());
        let any = left.or_else(|| restore.made.get(&sibling?)).ok_or_else(|| failed(phrase!("it has no end")))?;
        another_end(any, file.flags)
    }
}

fn failed(why: Phrase) -> Problem {
    Problem::blocks(ProblemKind::Pipe, phrase!("a pipe cannot be made again: {why}", why))
}

/// Whether a file of the image is an end of this pipe.
fn is_end_of(file: &OpenFile, pipe: FileId) -> bool {
    file.kind == FileKind::name(&Pipe) && super::typed::<Record>(file).is_ok_and(|record| record.pipe == pipe)
}

/// Opens an end once more.
fn another_end(end: &OwnedFd, flags: i32) -> Result<OwnedFd, Problem> {
    // A pipe takes O_DIRECT from fcntl(2) only.
    let opened = files::open(own_path(end).as_ref(), flags & libc::O_ACCMODE | libc::O_NONBLOCK);
    let opened = opened.map_err(|error| failed(error.to_string().into()))?;
    files::set_status(&opened, flags).map_err(|error| failed(error.to_string().into()))?;
    Ok(opened)
}

/// The open file that stands for a pipe or FIFO: the first one of the same inode.
pub fn first(facts: &FileFacts, files: &FilesFacts) -> FileId {
    files.of_inode(&facts.stat).map(|file| file.id).min().unwrap_or(facts.id)
}

/// A pipe or FIFO that somebody outside the group has open is refused, once.
pub fn judge(facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
    if first(facts, files) != facts.id {
        return Vec::new();
    }
    let what = super::subject(
        files.held_outside(&facts.stat),
        |who| phrase!("{who} has an end of it too and is not part of the group", who),
        |who| phrase!("{who} have ends of it too and are not part of the group", who),
    );
    let way_out = phrase!("Freeze them together, or redirect it to a file");
    what.map(|what| facts.problem(ProblemKind::Pipe, what).way_out(way_out)).into_iter().collect()
}

impl Body {
    /// Looks into a pipe without taking anything out of it, tee(2).
    pub fn capture(facts: &FileFacts, files: &FilesFacts) -> Result<Self, Problem> {
        let failed =
            |why: Phrase| facts.problem(ProblemKind::Pipe, phrase!("what is in the pipe cannot be read: {why}", why));
        let size = fcntl(&facts.file, FcntlArg::F_GETPIPE_SZ).map_err(|error| failed(error.to_string().into()))?;
        let packets = files
            .of_inode(&facts.stat)
            .any(|end| end.access() != libc::O_RDONLY && end.info.flags as i32 & libc::O_DIRECT != 0);
        let source = files::open(own_path(&facts.file).as_ref(), libc::O_RDONLY | libc::O_NONBLOCK)
            .map_err(|error| failed(error.to_string().into()))?;
        let mut body = Self {
            size: size as u32,
            content: Vec::new(),
            packets,
            mode: facts.stat.st_mode & 0o7777,
            owner: (facts.stat.st_uid, facts.stat.st_gid),
        };
        let waiting = files::bytes_waiting(&source).map_err(|error| failed(error.to_string().into()))?;
        if waiting > size as usize {
            return Err(failed(phrase!("it holds more than its size, which only splice(2) can bring about")));
        }
        if waiting > 0 {
            body.copy(&source, waiting).map_err(|error| failed(error.to_string().into()))?;
        }
        Ok(body)
    }

    fn copy(&mut self, source: &OwnedFd, waiting: usize) -> std::io::Result<()> {
        let flags = if self.packets { OFlag::O_DIRECT } else { OFlag::empty() };
        let (copy, into) = nix::unistd::pipe2(flags | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        fcntl(&into, FcntlArg::F_SETPIPE_SZ(self.size as i32))?;
        tee(source, &into, waiting, SpliceFFlags::SPLICE_F_NONBLOCK)?;
        drop(into);
        let mut buffer = vec![0; self.size as usize];
        let mut left = waiting;
        while left > 0 {
            let read = nix::unistd::read(&copy, &mut buffer)?;
            if read == 0 {
                return Err(std::io::Error::other("it could not be copied whole"));
            }
            self.content.push(ByteBuf::from(&buffer[..read]));
            left -= read.min(left);
        }
        Ok(())
    }

    /// Gives a pipe, by any end of it, to whom it belonged.
    pub fn own(&self, end: &impl AsFd) -> Result<(), Problem> {
        let mode = nix::sys::stat::Mode::from_bits_truncate(self.mode);
        nix::unistd::fchown(end, Some(self.owner.0.into()), Some(self.owner.1.into()))
            .and_then(|()| nix::sys::stat::fchmod(end, mode))
            .map_err(|error| failed(error.to_string().into()))
    }

    /// Gives a pipe its size and content, by an end that can be written to and does not block.
    pub fn fill(&self, writing: &impl AsFd) -> Result<(), Problem> {
        fcntl(writing, FcntlArg::F_SETPIPE_SZ(self.size as i32)).map_err(|error| failed(error.to_string().into()))?;
        let packets = if self.packets { libc::O_DIRECT } else { 0 };
        files::set_status(writing, libc::O_NONBLOCK | packets).map_err(|error| failed(error.to_string().into()))?;
        for part in &self.content {
            let written = nix::unistd::write(writing, part).map_err(|error| failed(error.to_string().into()))?;
            if written != part.len() {
                return Err(failed(phrase!("it takes less than it held")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_filled_and_copied_packet_by_packet() -> Result<(), Box<dyn std::error::Error>> {
        for packets in [false, true] {
            let content = if packets { vec![&b"one"[..], b"two"] } else { vec![&b"onetwo"[..]] };
            let content = content.into_iter().map(ByteBuf::from).collect();
            let body = Body { size: 8192, content, packets, mode: 0o600, owner: (0, 0) };
            let (reading, writing) = nix::unistd::pipe2(OFlag::O_NONBLOCK)?;
            body.fill(&writing).map_err(|problem| problem.to_string())?;
            let mut copy = Body { content: Vec::new(), ..body.clone() };
            copy.copy(&reading, files::bytes_waiting(&reading)?)?;
            assert_eq!(copy, body);
            assert_eq!(files::bytes_waiting(&reading)?, 6);
            assert_eq!(fcntl(&reading, FcntlArg::F_GETPIPE_SZ)?, 8192);
        }
        Ok(())
    }
}
