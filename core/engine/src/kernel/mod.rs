//! Safe faces of system calls: the only home of raw ones. Each function names its man page, checks its arguments
//! with types, and returns an [`Errno`].

pub mod advice;
pub mod among;
pub mod anonymous;
pub mod buffer;
pub mod bystander;
pub mod clocks;
pub mod clone;
pub mod fanotify;
pub mod features;
pub mod files;
pub mod guard;
pub mod huge_pages;
pub mod ia32;
pub mod identity;
pub mod inet;
pub mod inner_namespaces;
pub mod inotify;
pub mod kcmp;
pub mod limits;
pub mod memory;
pub mod message;
pub mod message_queue;
pub mod mounts;
pub mod namespaces;
pub mod netlink;
pub mod nftables;
pub mod outside;
pub mod packet;
pub mod pagemap;
pub mod passing;
pub mod pidfd;
pub mod processor;
pub mod procfs;
pub mod ptrace;
pub mod repair;
pub mod sched;
pub mod seccomp;
pub mod snapshot;
pub mod socket;
pub mod stand_in;
pub mod system_v;
pub mod terminal;
pub mod threads;
pub mod user_namespaces;

pub use nix::errno::Errno;

/// What a system call of the kernel answers: a value, or the reason it has failed.
pub type Answer<T> = Result<T, Errno>;

/// Turns the -1 of the C library into the thread's errno.
fn checked(result: libc::c_long) -> Answer<u64> {
    if result == -1 { Err(Errno::last()) } else { Ok(result as u64) }
}
