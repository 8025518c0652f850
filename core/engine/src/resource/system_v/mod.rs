//! System V semaphores and message queues, sysvipc(7), that members of a group were the last to use. They belong to no process
//! and live on in the system: one that is still there at the thaw is used as it is by then; one that is gone is made again with
//! its id, key, rights and content.

mod object;
pub mod queue;
pub mod semaphores;

pub use object::{Known, Made, There};
