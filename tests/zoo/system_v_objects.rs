//! A set of System V semaphores and a message queue, each with a key, used by this process alone, and nothing to undo.

use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage};

const VALUES: [u16; 3] = [1, 0, 700];
const GETALL: usize = 13;
const SETALL: usize = 17;
const MAKE: usize = libc::IPC_CREAT as usize | libc::IPC_EXCL as usize | 0o640;

#[repr(C)]
#[derive(Clone, Copy)]
struct Message {
    kind: i64,
    bytes: [u8; 8],
}

/// Takes the oldest message of a type (0: of any).
fn take(queue: usize, kind: usize) -> std::io::Result<(i64, Vec<u8>)> {
    let mut room = Message { kind: 0, bytes: [0; 8] };
    let length = call(libc::SYS_msgrcv, &[queue, into(&mut room), 8, kind, libc::IPC_NOWAIT as usize])?;
    Ok((room.kind, room.bytes[..length as usize].to_vec()))
}

pub fn hold(stage: &mut Stage) -> Held {
    let key = 0x0b00_0000 | std::process::id() as usize;
    let set = call(libc::SYS_semget, &[key, VALUES.len(), MAKE])? as usize;
    call(libc::SYS_semctl, &[set, 0, SETALL, at(&[2_u16, 0, 700])])?;
    let less = libc::sembuf { sem_num: 0, sem_op: -1, sem_flg: 0 };
    call(libc::SYS_semop, &[set, at(&less), 1])?;
    let queue = call(libc::SYS_msgget, &[key, MAKE])? as usize;
    for (kind, bytes, length) in [(5, *b"first...", 5), (2, *b"second..", 8), (5, *b"........", 0)] {
        call(libc::SYS_msgsnd, &[queue, at(&Message { kind, bytes }), length, 0])?;
    }
    stage.keeps(|wrong| {
        let mut values = [9_u16; VALUES.len()];
        let asked = call(libc::SYS_semctl, &[set, 0, GETALL, into(&mut values)]).map(|_| values);
        wrong.gives("the values", asked, VALUES);
        wrong.gives("the key of the set", call(libc::SYS_semget, &[key, 3, 0]), set as i64);
        wrong.gives("the key of the queue", call(libc::SYS_msgget, &[key, 0]), queue as i64);
    })?;
    stage.wrong.gives("the first of type 2", take(queue, 2), (2, b"second..".to_vec()));
    stage.wrong.gives("the oldest", take(queue, 0), (5, b"first".to_vec()));
    stage.wrong.gives("the last", take(queue, 0), (5, Vec::new()));
    stage.wrong.gives(
        "one more can go in",
        call(libc::SYS_msgsnd, &[queue, at(&Message { kind: 1, bytes: [0; 8] }), 8, 0]),
        0,
    );
    call(libc::SYS_semctl, &[set, 0, libc::IPC_RMID as usize, 0])?;
    call(libc::SYS_msgctl, &[queue, libc::IPC_RMID as usize, 0])?;
    Ok(())
}
