//! Whom a file tells of I/O, and by which signal: F_SETOWN_EX, F_SETSIG, O_ASYNC, fcntl(2).
//!
//! The kernel keeps the user of whoever names the receiver, and asks that user's rights before it sends the signal: so
//! the first process that holds the file names it, when it has its own user again.

// zoo: signal_io directory_changes

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use super::{FileFacts, FilesFacts, Finish, OpenFile};
use crate::arguments;
use crate::proc;

/// Whom a file tells of I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// F_OWNER_TID, F_OWNER_PID or F_OWNER_PGRP.
    pub kind: i32,
    /// The id; 0: nobody.
    pub id: i32,
    /// The signal; 0: SIGIO.
    pub signal: i32,
    /// O_ASYNC: it does tell.
    pub active: bool,
}

const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;
const F_OWNER_TID: i32 = 0;
const F_OWNER_PID: i32 = 1;
const F_OWNER_PGRP: i32 = 2;

fn found(facts: &FileFacts) -> Result<Option<Notify>, Problem> {
    let active = facts.info.flags as i32 & libc::O_ASYNC != 0;
    let found = crate::kernel::files::notify(&facts.file).map_err(|error| {
        facts.problem(ProblemKind::File, phrase!("its owner for I/O cannot be read: {why}", why = error))
    })?;
    let (kind, id, signal) = found.unwrap_or_default();
    Ok((active || found.is_some()).then_some(Notify { kind, id, signal, active }))
}

/// What is kept: a receiver outside the group is not.
pub fn capture(facts: &FileFacts, files: &FilesFacts) -> Result<Option<Notify>, Problem> {
    let found = found(facts)?;
    Ok(found.map(|notify| if is_inside(&notify, files) { notify } else { Notify { id: 0, ..notify } }))
}

/// A receiver outside the group, and word of changes in a directory (F_NOTIFY): that names a receiver, and is shown by nothing else.
pub fn judge(facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
    match found(facts) {
        Err(problem) => vec![problem],
        Ok(Some(_)) if facts.file_type() == libc::S_IFDIR => {
            let what = phrase!(
                "it is told of changes in this directory (F_NOTIFY), and the kernel does not show of which, so that it cannot be given back"
            );
            let way_out = phrase!("Close the directory in the program, or pause the group instead");
            vec![facts.problem(ProblemKind::Signal, what).way_out(way_out)]
        }
        Ok(Some(notify)) if !is_inside(&notify, files) => {
            let what = phrase!("it sends its signals for I/O to {id}, which is not part of the group", id = notify.id);
            vec![facts.loss(ProblemKind::Signal, what, phrase!("these signals"))]
        }
        Ok(_) => Vec::new(),
    }
}

fn is_inside(notify: &Notify, files: &FilesFacts) -> bool {
    let mut members = files.members.iter();
    match notify.kind {
        _ if notify.id == 0 => true,
        F_OWNER_TID => members.any(|pid| proc::thread_folder(*pid, dormouse_wire::Tid(notify.id)).exists()),
        F_OWNER_PID => members.any(|pid| pid.0 == notify.id),
        F_OWNER_PGRP => {
            members.any(|pid| proc::parsed(*pid, "stat", proc::stat::parse).is_ok_and(|stat| stat.pgrp.0 == notify.id))
        }
        _ => false,
    }
}

/// Names the receiver from inside the process that holds the file.
pub fn restore(file: &OpenFile, finish: &mut Finish<'_>) {
    let Some(notify) = file.notify else { return };
    let number = finish.number.0;
    if notify.id != 0 {
        let owner = finish.batch.bytes(&[notify.kind.to_ne_bytes(), notify.id.to_ne_bytes()].concat());
        let purpose = format!("name who is told of I/O on descriptor {number}");
        finish.batch.must(purpose, libc::SYS_fcntl, arguments![number, F_SETOWN_EX, owner]);
    }
    if notify.signal != 0 {
        let purpose = format!("name the signal for I/O on descriptor {number}");
        finish.batch.must(purpose, libc::SYS_fcntl, arguments![number, F_SETSIG, notify.signal]);
    }
    if notify.active {
        let flags = file.flags & super::STATUS_FLAGS | libc::O_ASYNC;
        let purpose = format!("switch on signals for I/O on descriptor {number}");
        finish.batch.must(purpose, libc::SYS_fcntl, arguments![number, libc::F_SETFL, flags]);
    }
}
