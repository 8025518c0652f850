//! POSIX message queues, mq_overview(7): a queue lives in the system by its name, not in a process. One that is still there at
//! the thaw is opened again with what waits in it by then, as a file would be; one that is gone, or had no name any more, is made
//! again with its messages.

// zoo: message_queue message_queue_told message_queues

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io::Read;
use std::os::fd::OwnedFd;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, shown_bytes, typed};
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::message_queue::{self, Attributes, Message};
use crate::kernel::{Answer, Errno, files};
use crate::proc;
use crate::resource::content;
use crate::resource::named_file::Owner;
use crate::resource::owners::Walk;

/// The kind.
#[derive(Debug)]
pub struct MessageQueue;

/// Its name in the image.
const KIND: &str = "message_queue";

/// An opening of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The name of the queue, without the slash before it.
    name: ByteBuf,
    /// The opening that stands for the queue: the first one.
    queue: FileId,
    /// For that one: the queue itself.
    body: Option<Body>,
    /// With whose rights it is opened.
    owner: Owner,
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    /// The name was removed.
    removed: bool,
    /// How many messages fit into it.
    most: i64,
    /// How long a message may be, bytes.
    longest: i64,
    /// Its permissions.
    mode: u32,
    /// Whom it belongs to.
    owner: Owner,
    /// What waits in it, the next one first: priority and bytes.
    messages: Vec<(u32, ByteBuf)>,
}

impl FileKind for MessageQueue {
    type Record = Record;

    fn name(&self) -> &'static str {
        KIND
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        const MESSAGE_QUEUES: i64 = 0x1980_0202;
        facts.file_type() == libc::S_IFREG && files::filesystem(&facts.file) == Ok(MESSAGE_QUEUES)
    }

    fn judge(&self, facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
        let refuse = |what: Phrase, way_out: Phrase| facts.problem(ProblemKind::File, what).way_out(way_out);
        let mut problems = Vec::new();
        if facts.is_path_only() {
            let what = phrase!("it stands for the place of a POSIX message queue (O_PATH), and cannot be frozen");
            problems.push(refuse(what, phrase!("Close it in the program, or pause the group instead")));
        }
        if let Some(holder) = files.held_outside(&facts.stat).first() {
            let what = phrase!(
                "{process} has this POSIX message queue too and is not part of the group",
                process = holder.process
            );
            problems.push(refuse(what, phrase!("Freeze them together, or let that process close it")));
        }
        match is_told(facts) {
            Ok(false) => {}
            Ok(true) => {
                let what = phrase!(
                    "a process is to be told of the next message in this POSIX message queue (mq_notify), and how cannot be read"
                );
                problems.push(refuse(what, phrase!("Pause the group instead")));
            }
            Err(error) => problems.push(refuse(
                phrase!("it cannot be looked at: {why}", why = error),
                phrase!("Pause the group instead"),
            )),
        }
        problems
    }

    fn capture(&self, facts: &FileFacts, capture: &mut Capture<'_>) -> Result<Record, Problem> {
        let queue = capture.files.of_inode(&facts.stat).map(|file| file.id).min().unwrap_or(facts.id);
        let unread = |errno: Errno| {
            facts.problem(ProblemKind::File, phrase!("what waits in it cannot be read: {why}", why = errno.desc()))
        };
        let body = if queue == facts.id { Some(body(facts).map_err(unread)?) } else { None };
        Ok(Record { name: ByteBuf::from(name(facts)), queue, body, owner: facts.owner.clone() })
    }

    fn led(&self, record: &mut Record, walk: &mut Walk<'_>) {
        record.owner.led(walk);
        if let Some(body) = &mut record.body {
            body.owner.led(walk);
        }
    }

    fn preflight(&self, record: &Record, _file: &OpenFile) -> Vec<Problem> {
        record.body.as_ref().and_then(|body| record.conflict(body)).into_iter().collect()
    }

    fn needs(&self, record: &Record) -> Vec<FileId> {
        if record.body.is_some() { Vec::new() } else { vec![record.queue] }
    }

    /// It is there: [`make`] has seen to that.
    fn restore(
        &self,
        record: &Record,
        _id: FileId,
        file: &OpenFile,
        _restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        let flags = file.flags_again() & (libc::O_ACCMODE | libc::O_NONBLOCK);
        let opened = Acting::begin(&Identity::from(&record.owner))
            .and_then(|_acting| message_queue::open(&record.c_name()?, flags));
        opened.map_err(|errno| record.failed(phrase!("opened again"), errno))
    }
}

/// Its name, without the folders before it.
fn name(facts: &FileFacts) -> Vec<u8> {
    let path = if facts.stat.st_nlink == 0 { proc::strip_deleted(&facts.link).0 } else { &facts.link };
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec()
}

/// Whether somebody is to be told of the next message: the queue says so when it is read like a file, mq_overview(7).
fn is_told(facts: &FileFacts) -> std::io::Result<bool> {
    let mut text = String::new();
    std::fs::File::from(content::reopen(&facts.file, libc::O_RDONLY)?).read_to_string(&mut text)?;
    let pid = text.split_ascii_whitespace().find_map(|word| word.strip_prefix("NOTIFY_PID:"));
    Ok(pid != Some("0"))
}

fn body(facts: &FileFacts) -> Answer<Body> {
    let both = content::reopen(&facts.file, libc::O_RDWR | libc::O_NONBLOCK)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let Attributes { most, longest, .. } = message_queue::attributes(&both)?;
    let messages = message_queue::look(&both)?;
    Ok(Body {
        removed: facts.stat.st_nlink == 0,
        most,
        longest,
        mode: facts.stat.st_mode & 0o777,
        owner: Owner { user: facts.stat.st_uid, group: facts.stat.st_gid, groups: Vec::new() },
        messages: messages.into_iter().map(|message| (message.priority, ByteBuf::from(message.bytes))).collect(),
    })
}

impl Record {
    fn c_name(&self) -> Answer<CString> {
        if self.name.is_empty() || self.name.contains(&b'/') {
            return Err(Errno::EINVAL);
        }
        CString::new(self.name.to_vec()).map_err(|_| Errno::EINVAL)
    }

    fn problem(&self, what: Phrase) -> Problem {
        Problem::blocks(ProblemKind::File, what)
            .at(phrase!("POSIX message queue /{name}", name = shown_bytes(&self.name)))
    }

    fn failed(&self, what: Phrase, errno: Errno) -> Problem {
        let problem = self.problem(phrase!("it cannot be {what}: {why}", what, why = errno.desc()));
        match errno {
            Errno::EMFILE | Errno::ENOSPC | Errno::EINVAL => {
                problem.way_out(phrase!("Raise the limit on message queues (ulimit -q, fs.mqueue.*_max)"))
            }
            _ => problem,
        }
    }

    /// The queue that has its name now, if it may be opened by its owner.
    fn found(&self) -> Answer<Option<Attributes>> {
        let _acting = Acting::begin(&Identity::from(&self.owner))?;
        match message_queue::open(&self.c_name()?, libc::O_RDONLY) {
            Ok(there) => message_queue::attributes(&there).map(Some),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn conflict(&self, body: &Body) -> Option<Problem> {
        let taken = |what: Phrase| {
            let way_out = phrase!("End who uses that queue, or remove it (rm /dev/mqueue/NAME where that is mounted)");
            Some(self.problem(what).way_out(way_out))
        };
        match self.found() {
            Ok(None) => None,
            Ok(Some(_)) if body.removed => taken(phrase!("another queue has the name that it had")),
            Ok(Some(found)) if (found.most, found.longest) != (body.most, body.longest) => {
                taken(phrase!("another queue has its name now: its messages are of another size or number"))
            }
            Ok(Some(_)) => None,
            // One that is only to be written to, perhaps: that is tried when it is opened.
            Err(Errno::EACCES) if !body.removed => None,
            Err(errno) => Some(self.failed(phrase!("opened again"), errno)),
        }
    }
}

/// A queue that the thaw has made. Dropped before it is [kept](Self::keep), its name goes.
#[derive(Debug)]
pub struct Made {
    name: CString,
    stays: bool,
}

impl Made {
    /// The group runs: it keeps its name, if it had one.
    pub fn keep(mut self) {
        self.stays = true;
    }

    /// Everybody has opened it: a name that was removed goes again.
    pub fn remove_again(&mut self) {
        if let Err(error) = message_queue::unlink(&self.name) {
            tracing::error!(%error, "a message queue keeps a name that was removed");
        }
        self.stays = true;
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if !self.stays {
            let _ = message_queue::unlink(&self.name);
        }
    }
}

/// Makes the queues that are not there; answers those whose names stay, and those whose names were removed.
pub fn make(open_files: &[OpenFile]) -> Result<(Vec<Made>, Vec<Made>), Problem> {
    let (mut named, mut removed, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    for file in open_files.iter().filter(|file| file.kind == KIND) {
        let record: Record = typed(file)?;
        let Some(body) = &record.body else { continue };
        if !names.insert(record.name.clone()) {
            return Err(record.problem(phrase!("the image holds two queues of this name")));
        }
        remove_begun(&record, body).map_err(|errno| record.failed(phrase!("made anew"), errno))?;
        // Who may only write to it cannot look whether it is there.
        if !matches!(record.found(), Ok(None)) {
            continue;
        }
        let made = make_one(&record, body).map_err(|errno| record.failed(phrase!("made again"), errno))?;
        if body.removed { &mut removed } else { &mut named }.push(made);
    }
    Ok((named, removed))
}

/// Removes what a thaw that was killed has begun to make: nobody has a right to it yet.
fn remove_begun(record: &Record, body: &Body) -> Answer<()> {
    let name = record.c_name()?;
    let there = match message_queue::open(&name, libc::O_RDONLY) {
        Err(Errno::ENOENT) => return Ok(()),
        there => files::stat(&there?)?,
    };
    let is_begun = (there.st_mode & 0o777, there.st_uid) == (0, record.owner.user) && body.mode != 0;
    if is_begun { message_queue::unlink(&name) } else { Ok(()) }
}

fn make_one(record: &Record, body: &Body) -> Answer<Made> {
    let name = record.c_name()?;
    let attributes = Attributes { most: body.most, longest: body.longest, waiting: 0 };
    let queue = {
        let _acting = Acting::begin(&Identity::from(&record.owner))?;
        message_queue::make(&name, attributes)?
    };
    let made = Made { name, stays: false };
    // What is taken first is sent first: those of one priority stay in their order.
    for (priority, bytes) in &body.messages {
        message_queue::send(&queue, &Message { priority: *priority, bytes: bytes.to_vec() })?;
    }
    nix::unistd::fchown(&queue, Some(body.owner.user.into()), Some(body.owner.group.into()))?;
    nix::sys::stat::fchmod(&queue, nix::sys::stat::Mode::from_bits_truncate(body.mode))?;
    Ok(made)
}
