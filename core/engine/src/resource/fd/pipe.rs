//! Pipes, pipe(7): both ends, what is in them, their size, packet mode.

use std::os::fd::OwnedFd;

use dormouse_wire::{Problem, ProblemKind};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, own_path};
use crate::kernel::files;

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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    size: u32,
    content: Vec<ByteBuf>,
    /// O_DIRECT at some writing end: packets keep their borders, and this flag makes them.
    packets: bool,
    /// The end that pipe(2) has made along with this one, if it is still open.
    other: Option<FileId>,
}

impl FileKind for Pipe {
    type Record = Record;

    fn name(&self) -> &'static str {
        "pipe"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        facts.file_type() == libc::S_IFIFO && facts.link.starts_with(b"pipe:[")
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Record, Problem> {
        let first = capture.files.of_inode(&facts.stat).map(|file| file.id).min().unwrap_or(facts.id);
        let body = if first == facts.id { Some(body(facts, capture.files)?) } else { None };
        Ok(Record { pipe: first, body })
    }

    fn needs(&self, record: &Record) -> Vec<FileId> {
        if record.body.is_some() { Vec::new() } else { vec![record.pipe] }
    }

    fn restore(
        &self,
        record: &Record,
        _id: FileId,
        file: &OpenFile,
        restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        let failed = |error: &dyn std::fmt::Display| {
            Problem::blocks(ProblemKind::Pipe, format!("a pipe cannot be made again: {error}"))
        };
        let flags = file.flags & (libc::O_ACCMODE | super::STATUS_FLAGS);
        // Several descriptions can stand for the same end: the others were opened through /proc/self/fd, and are again.
        let Some(body) = &record.body else {
            let first = restore.made.get(&record.pipe).ok_or_else(|| failed(&"its first end is missing"))?;
            return files::open(own_path(first).as_ref(), flags).map_err(|error| failed(&error));
        };
        let (reading, writing) = nix::unistd::pipe2(if body.packets {
            nix::fcntl::OFlag::O_DIRECT | nix::fcntl::OFlag::O_NONBLOCK
        } else {
            nix::fcntl::OFlag::O_NONBLOCK
        })
        .map_err(|error| failed(&error))?;
        nix::fcntl::fcntl(&writing, nix::fcntl::FcntlArg::F_SETPIPE_SZ(body.size as i32)).map_err(|error| failed(&error))?;
        for part in &body.content {
            let written = nix::unistd::write(&writing, part).map_err(|error| failed(&error))?;
            if written != part.len() {
                return Err(failed(&"it takes less than it held"));
            }
        }
        let reads = flags & libc::O_ACCMODE == libc::O_RDONLY;
        let (this, other) = if reads { (reading, writing) } else { (writing, reading) };
        if let Some(id) = body.other {
            let file = restore.open_files.get(id.0).ok_or_else(|| failed(&"its other end is missing"))?;
            files::set_status_flags(&other, file.flags & super::STATUS_FLAGS).map_err(|error| failed(&error))?;
            restore.made.insert(id, other.try_clone().map_err(|error| failed(&error))?);
        }
        if was_opened(file.flags) {
            return files::open(own_path(&this).as_ref(), flags).map_err(|error| failed(&error));
        }
        files::set_status_flags(&this, flags & super::STATUS_FLAGS).map_err(|error| failed(&error))?;
        Ok(this)
    }
}

/// Whether open(2) has made a description, through /proc: it adds O_LARGEFILE, pipe(2) does not.
fn was_opened(flags: i32) -> bool {
    const O_LARGEFILE: i32 = 0o100_000;
    flags & O_LARGEFILE != 0
}

/// Looks into a pipe without taking anything out of it, tee(2).
fn body(facts: &FileFacts, files: &FilesFacts) -> Result<Body, Problem> {
    let failed = |error: &dyn std::fmt::Display| {
        facts.problem(ProblemKind::Pipe, format!("what is in the pipe cannot be read: {error}"))
    };
    let size = nix::fcntl::fcntl(&facts.file, nix::fcntl::FcntlArg::F_GETPIPE_SZ).map_err(|error| failed(&error))?;
    let packets = files
        .of_inode(&facts.stat)
        .any(|end| end.access() != libc::O_RDONLY && end.info.flags as i32 & libc::O_DIRECT != 0);
    let source = files::open(own_path(&facts.file).as_ref(), libc::O_RDONLY | libc::O_NONBLOCK)
        .map_err(|error| failed(&error))?;
    let waiting = files::bytes_waiting(&source).map_err(|error| failed(&error))?;
    let mut content = Vec::new();
    if waiting > 0 {
        let (copy, into) = nix::unistd::pipe2(if packets {
            nix::fcntl::OFlag::O_DIRECT | nix::fcntl::OFlag::O_NONBLOCK
        } else {
            nix::fcntl::OFlag::O_NONBLOCK
        })
        .map_err(|error| failed(&error))?;
        nix::fcntl::fcntl(&into, nix::fcntl::FcntlArg::F_SETPIPE_SZ(size)).map_err(|error| failed(&error))?;
        nix::fcntl::tee(&source, &into, waiting, nix::fcntl::SpliceFFlags::SPLICE_F_NONBLOCK)
            .map_err(|error| failed(&error))?;
        drop(into);
        let mut buffer = vec![0; size as usize];
        let mut left = waiting;
        while left > 0 {
            let read = nix::unistd::read(&copy, &mut buffer).map_err(|error| failed(&error))?;
            if read == 0 {
                return Err(failed(&"it could not be copied whole"));
            }
            content.push(ByteBuf::from(&buffer[..read]));
            left -= read.min(left);
        }
    }
    let other = files
        .of_inode(&facts.stat)
        .find(|end| end.access() != facts.access() && !was_opened(end.info.flags as i32))
        .map(|end| end.id);
    Ok(Body { size: size as u32, content, packets, other })
}

