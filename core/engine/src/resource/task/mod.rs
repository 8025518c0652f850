//! What a task is, beside its memory and its files: one file a kind. Each has its record; `ask` puts what only the task
//! itself can say into a batch, `answer` makes the record of it, `restore` puts what gives it back into a batch.

pub mod attributes;
pub mod control_group;
pub mod controls;
pub mod credentials;
pub mod dispatch;
pub mod family;
pub mod filesystem;
pub mod frames;
pub mod futexes;
pub mod interrupted;
pub mod landlock;
pub mod legacy;
pub mod limits;
pub mod membarrier;
pub mod registers;
pub mod scheduling;
pub mod seccomp;
pub mod signals;
pub mod stop;
pub mod timers;
pub mod zombie;
