//! A first process of our own making, clone(2): it sleeps until the engine has taken hold of it.

use dormouse_wire::Pid;

use super::namespaces::Side;
use super::{Answer, Errno};

/// `struct clone_args` of clone3(2), as of Linux 5.7.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneArguments {
    /// CLONE_*.
    pub flags: u64,
    /// Where the pidfd goes.
    pub pidfd: u64,
    /// Where the tid goes in the child.
    pub child_tid: u64,
    /// Where the tid goes in the parent.
    pub parent_tid: u64,
    /// The signal for the parent when the child ends.
    pub exit_signal: u64,
    /// Lowest byte of the stack; 0: go on with the caller's.
    pub stack: u64,
    /// Size of the stack in bytes.
    pub stack_size: u64,
    /// Thread-local storage.
    pub tls: u64,
    /// The wanted tids, innermost namespace first.
    pub set_tid: u64,
    /// How many of them.
    pub set_tid_size: u64,
    /// A cgroup to be born in.
    pub cgroup: u64,
}

impl CloneArguments {
    /// The structure as the kernel reads it.
    pub fn to_bytes(self) -> Vec<u8> {
        [
            self.flags,
            self.pidfd,
            self.child_tid,
            self.parent_tid,
            self.exit_signal,
            self.stack,
            self.stack_size,
            self.tls,
            self.set_tid,
            self.set_tid_size,
            self.cgroup,
        ]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect()
    }
}

/// Makes a process with this pid that does nothing but wait to be traced; it dies if the calling thread does first.
/// EEXIST: the pid is taken. EPERM: CAP_CHECKPOINT_RESTORE (or CAP_SYS_ADMIN) is missing.
///
/// The child is a copy of the engine, but of all its code it runs only the few system calls below: no allocation, no
/// lock, so that it does not matter what other threads held when it was copied.
pub fn sleeping_child(pid: Pid, exit_signal: i32) -> Answer<Pid> {
    let wanted = [pid.0];
    let arguments = CloneArguments {
        exit_signal: exit_signal as u64,
        set_tid: wanted.as_ptr() as u64,
        set_tid_size: 1,
        ..CloneArguments::default()
    };
    let own = std::process::id() as i32;
    // SAFETY: without CLONE_VM the child has its own copy of our memory; the arguments live across the call.
    let made = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
    match made {
        -1 => Err(Errno::last()),
        0 => sleep_until_traced(own),
        child => Ok(Pid(child as i32)),
    }
}

/// Whose child a new process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// That of who makes it.
    Child,
    /// That of its parent, CLONE_PARENT.
    Sibling,
}

/// Makes a child that goes on from here with the same table of descriptors, as fork(2) does but for that. This process must have no other
/// threads.
pub fn fork_sharing_files() -> Answer<Side> {
    fork_sharing(Relation::Child)
}

/// The same, of somebody else perhaps.
pub fn fork_sharing(relation: Relation) -> Answer<Side> {
    let mut cache: *mut i32 = std::ptr::null_mut();
    // SAFETY: the request writes one pointer, which we hold: where the C library keeps the number of this thread.
    super::checked(unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut cache, 0, 0, 0) }.into())?;
    let flags = (libc::CLONE_FILES | libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID) as u64;
    // A sibling ends with the signal that its maker ends with.
    let (relation, exit_signal) = match relation {
        Relation::Child => (0, libc::SIGCHLD as u64),
        Relation::Sibling => (libc::CLONE_PARENT as u64, 0),
    };
    let arguments =
        CloneArguments { flags: flags | relation, child_tid: cache as u64, exit_signal, ..CloneArguments::default() };
    // SAFETY: this is the only thread, and the child has its own copy of our memory, in which the kernel puts its number where the C
    // library looks for it: it may do all that the parent may. The arguments live across the call.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) } {
        -1 => Err(Errno::last()),
        0 => Ok(Side::Child),
        child => Ok(Side::Parent(nix::unistd::Pid::from_raw(child as i32))),
    }
}

/// Waits to be traced, and never goes on.
pub fn sleep() -> ! {
    loop {
        // SAFETY: pause takes nothing.
        unsafe { libc::syscall(libc::SYS_pause) };
    }
}

fn sleep_until_traced(parent: i32) -> ! {
    // SAFETY: prctl with integers only; an error cannot be told to anybody and is met by the parent's wait.
    unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
    // SAFETY: getppid takes nothing.
    if unsafe { libc::syscall(libc::SYS_getppid) } as i32 != parent {
        // Its parent died before the kernel knew what to do then.
        // SAFETY: takes a number, and does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, 0) };
    }
    sleep()
}
