//! System V semaphores with something to undo (SEM_UNDO): the kernel does so at the freeze, and the thaw takes it back.

use crate::kernel::{at, call};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let set = call(libc::SYS_semget, &[libc::IPC_PRIVATE as usize, 1, 0o600 | libc::IPC_CREAT as usize])? as usize;
    let value = || call(libc::SYS_semctl, &[set, 0, libc::GETVAL as usize, 0]);
    call(libc::SYS_semctl, &[set, 0, libc::SETVAL as usize, 3])?;
    let take = libc::sembuf { sem_num: 0, sem_op: -1, sem_flg: libc::SEM_UNDO as i16 };
    call(libc::SYS_semop, &[set, at(&take), 1])?;
    stage.wrong.gives("it has taken one", value(), 2);
    stage.ready_and_wait()?;
    stage.wrong.gives("it has it still", value(), 2);
    call(libc::SYS_semctl, &[set, 0, libc::IPC_RMID as usize, 0])?;
    Ok(())
}
