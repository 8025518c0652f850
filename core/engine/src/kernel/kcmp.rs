//! Whether two processes share a kernel object, kcmp(2), and an order among those objects to sort them by.

use std::cmp::Ordering;

use dormouse_wire::{FdNumber, Tid};

use super::{Answer, checked};

/// Objects that whole tasks share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// The address space (CLONE_VM).
    Memory = 1,
    /// The table of descriptors (CLONE_FILES).
    Files = 2,
    /// Root, working directory and umask (CLONE_FS).
    Filesystem = 3,
    /// The table of signal dispositions (CLONE_SIGHAND).
    SignalHandlers = 4,
    /// The list of System V semaphore undo records (CLONE_SYSVSEM).
    SemaphoreUndo = 6,
}

/// The kernel's order between two tasks' objects of one kind; [`Ordering::Equal`] means it is one object.
pub fn tasks(first: Tid, second: Tid, what: Shared) -> Answer<Ordering> {
    call(first, second, what as i32, 0, 0)
}

/// The kernel's order between two open file descriptions.
pub fn files(first: (Tid, FdNumber), second: (Tid, FdNumber)) -> Answer<Ordering> {
    call(first.0, second.0, 0, first.1.0 as u64, second.1.0 as u64)
}

/// The descriptor `number` of `task` compared with what slot `nth` of the epoll set `epoll` of `watcher` watches as
/// its descriptor `target` (KCMP_EPOLL_TFD, Linux 4.13).
pub fn epoll_target(task: (Tid, FdNumber), watcher: (Tid, FdNumber), target: FdNumber, nth: u32) -> Answer<Ordering> {
    #[repr(C)]
    struct Slot {
        epoll: u32,
        target: u32,
        nth: u32,
    }
    let slot = Slot { epoll: watcher.1.0 as u32, target: target.0 as u32, nth };
    call(task.0, watcher.0, 7, task.1.0 as u64, &raw const slot as u64)
}

/// Tasks by the object of one kind that they have, each object once: in the kernel's order, so that one of many is found
/// with few questions.
#[derive(Debug)]
pub struct Owners {
    what: Shared,
    /// A task that has the object, and which object that is, counted as they were added.
    known: Vec<(Tid, usize)>,
}

impl Owners {
    /// Nobody yet.
    pub fn of(what: Shared) -> Self {
        Self { what, known: Vec::new() }
    }

    /// Which object a task has, if one that was added has the same.
    pub fn find(&self, task: Tid) -> Option<usize> {
        self.place(task).ok().map(|place| self.known[place].1)
    }

    fn place(&self, task: Tid) -> Result<usize, usize> {
        self.known.binary_search_by(|(known, _)| tasks(*known, task, self.what).unwrap_or(Ordering::Less))
    }

    /// Which object a task has: `Ok` if one that was added has the same, else `Err` with the new one's number. A task about
    /// which the kernel does not answer has its own.
    pub fn find_or_add(&mut self, task: Tid) -> Result<usize, usize> {
        match self.place(task) {
            Ok(place) => Ok(self.known[place].1),
            Err(place) => {
                let number = self.known.len();
                self.known.insert(place, (task, number));
                Err(number)
            }
        }
    }
}

fn call(first: Tid, second: Tid, what: i32, one: u64, two: u64) -> Answer<Ordering> {
    // SAFETY: kcmp only reads; KCMP_EPOLL_TFD reads a structure that its caller above keeps alive for the call.
    match checked(unsafe { libc::syscall(libc::SYS_kcmp, first.0, second.0, what, one, two) })? {
        0 => Ok(Ordering::Equal),
        1 => Ok(Ordering::Less),
        _ => Ok(Ordering::Greater),
    }
}
