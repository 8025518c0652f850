//! System V objects, sysvipc(7).

use std::fs::{File, OpenOptions};
use std::io;

use dormouse_wire::Pid;

use super::{Answer, Errno, checked};

/// Who did the last operation on a semaphore: GETPID of semctl(2).
pub fn last_user(set: i32, semaphore: i32) -> Answer<Pid> {
    // SAFETY: with GETPID, semctl takes integers only.
    checked(unsafe { libc::semctl(set, semaphore, libc::GETPID) }.into()).map(|pid| Pid(pid as i32))
}

/// Asks for the next segment of shared memory to have this id, or one after it: `/proc/sys/kernel/shm_next_id`, proc(5). Wants
/// CAP_CHECKPOINT_RESTORE. It is forgotten with the next segment that anybody makes.
pub fn choose_segment_id(id: i32) -> io::Result<()> {
    std::fs::write("/proc/sys/kernel/shm_next_id", id.to_string())
}

/// Makes a segment that nobody has a right to, as its creator; answers its id. `pages`: SHM_HUGETLB with a size, or 0. EEXIST: the
/// key is taken.
pub fn make_segment(key: i32, size: u64, pages: i32, creator: (u32, u32)) -> Answer<i32> {
    as_creator(creator, || {
        // SAFETY: shmget takes integers only.
        checked(unsafe { libc::shmget(key, size as usize, libc::IPC_CREAT | libc::IPC_EXCL | pages) }.into())
            .map(|id| id as i32)
    })
}

/// Gives a segment to somebody, with these permissions: IPC_SET of shmctl(2).
pub fn give_segment(id: i32, owner: (u32, u32), mode: u32) -> Answer<()> {
    // SAFETY: of the structure, which zeros are a value of, the kernel reads owner and permissions.
    let mut wanted: libc::shmid_ds = unsafe { std::mem::zeroed() };
    (wanted.shm_perm.uid, wanted.shm_perm.gid) = owner;
    wanted.shm_perm.mode = mode as _;
    // SAFETY: the structure lives through the call.
    checked(unsafe { libc::shmctl(id, libc::IPC_SET, &raw mut wanted) }.into()).map(drop)
}

/// Removes a segment as soon as nobody is attached to it any more.
pub fn remove_segment(id: i32) -> Answer<()> {
    // SAFETY: with IPC_RMID the pointer is not looked at.
    checked(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) }.into()).map(drop)
}

/// A segment that this process has attached; as long as it is there, nobody else can have the segment's id.
#[derive(Debug)]
pub struct Attached {
    address: usize,
}

impl Attached {
    /// Attaches a segment, shmat(2), wherever there is room.
    pub fn to(id: i32, to_write: bool) -> Answer<Self> {
        let flags = if to_write { 0 } else { libc::SHM_RDONLY };
        // SAFETY: the kernel chooses the address, so nothing of ours is overlapped.
        let address = unsafe { libc::shmat(id, std::ptr::null(), flags) } as usize;
        if address == usize::MAX { Err(Errno::last()) } else { Ok(Self { address }) }
    }

    /// The file behind it; `size`: that of the segment in bytes. Wants CAP_CHECKPOINT_RESTORE.
    pub fn file(&self, size: u64, to_write: bool) -> io::Result<File> {
        // Where it consists of huge pages, these are attached as a whole.
        const PAGES: [usize; 3] = [4096, 2 << 20, 1 << 30];
        let path = |page: &usize| {
            let end = self.address + (size as usize).next_multiple_of(*page);
            super::procfs::path(format!("self/map_files/{:x}-{end:x}", self.address))
        };
        let found = PAGES.iter().map(path).find(|path| path.symlink_metadata().is_ok());
        OpenOptions::new().read(true).write(to_write).open(found.unwrap_or_else(|| path(&PAGES[0])))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: nobody has been told of the address, so nothing refers to what lies there.
        unsafe { libc::shmdt(self.address as *const libc::c_void) };
    }
}

/// Does something with this effective user and group, which the kernel notes as the creator's, for this thread only.
fn as_creator<T>((user, group): (u32, u32), work: impl FnOnce() -> Answer<T>) -> Answer<T> {
    let before = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let become_ids = |(user, group): (u32, u32), group_first: bool| {
        let change = |call: libc::c_long, id: u32| {
            // SAFETY: the raw calls take integers and change one thread.
            checked(unsafe { libc::syscall(call, u32::MAX, id, u32::MAX) })
        };
        // As long as it is root it may become any group.
        if group_first {
            change(libc::SYS_setresgid, group)?;
            change(libc::SYS_setresuid, user).map(drop)
        } else {
            change(libc::SYS_setresuid, user)?;
            change(libc::SYS_setresgid, group).map(drop)
        }
    };
    let made = become_ids((user, group), true).and_then(|()| work());
    become_ids(before, false)?;
    made
}

/// A set of semaphores or a message queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// A set of semaphores, semget(2).
    Semaphores,
    /// A message queue, msgget(2).
    Queue,
}

impl Object {
    /// As [`choose_segment_id`]: `sem_next_id`, `msg_next_id`.
    pub fn choose_id(self, id: i32) -> io::Result<()> {
        let name = if self == Self::Semaphores { "sem_next_id" } else { "msg_next_id" };
        std::fs::write(format!("/proc/sys/kernel/{name}"), id.to_string())
    }

    /// Makes one that nobody has a right to, as its creator; `count`: of semaphores. EEXIST: the key is taken.
    pub fn make(self, key: i32, count: usize, creator: (u32, u32)) -> Answer<i32> {
        let flags = libc::IPC_CREAT | libc::IPC_EXCL;
        as_creator(creator, || {
            // SAFETY: both calls take integers only.
            let made = unsafe {
                match self {
                    Self::Semaphores => libc::semget(key, count as i32, flags),
                    Self::Queue => libc::msgget(key, flags),
                }
            };
            checked(made.into()).map(|id| id as i32)
        })
    }

    /// Removes it.
    pub fn remove(self, id: i32) -> Answer<()> {
        let call = if self == Self::Semaphores { libc::SYS_semctl } else { libc::SYS_msgctl };
        let arguments = if self == Self::Semaphores { [0, libc::IPC_RMID] } else { [libc::IPC_RMID, 0] };
        // SAFETY: with IPC_RMID nothing else is looked at.
        checked(unsafe { libc::syscall(call, id, arguments[0], arguments[1], 0) }).map(drop)
    }
}

/// Gives a set of semaphores to somebody, with these permissions.
pub fn give_semaphores(id: i32, owner: (u32, u32), mode: u32) -> Answer<()> {
    // SAFETY: of the structure, which zeros are a value of, the kernel reads owner and permissions.
    let mut wanted: libc::semid_ds = unsafe { std::mem::zeroed() };
    (wanted.sem_perm.uid, wanted.sem_perm.gid) = owner;
    wanted.sem_perm.mode = mode as _;
    // SAFETY: the structure lives through the call.
    checked(unsafe { libc::syscall(libc::SYS_semctl, id, 0, libc::IPC_SET, &raw mut wanted) }).map(drop)
}

/// Gives a message queue to somebody, with these permissions and room for so many bytes.
pub fn give_queue(id: i32, owner: (u32, u32), mode: u32, room: u64) -> Answer<()> {
    // SAFETY: of the structure, which zeros are a value of, the kernel reads owner, permissions and room.
    let mut wanted: libc::msqid_ds = unsafe { std::mem::zeroed() };
    (wanted.msg_perm.uid, wanted.msg_perm.gid) = owner;
    wanted.msg_perm.mode = mode as _;
    wanted.msg_qbytes = room;
    // SAFETY: the structure lives through the call.
    checked(unsafe { libc::msgctl(id, libc::IPC_SET, &raw mut wanted) }.into()).map(drop)
}

/// For how many bytes a message queue has room: IPC_STAT.
pub fn room_of_queue(id: i32) -> Answer<u64> {
    // SAFETY: zeros are a value of the structure, which the kernel fills.
    let mut found: libc::msqid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives through the call.
    checked(unsafe { libc::msgctl(id, libc::IPC_STAT, &raw mut found) }.into())?;
    Ok(found.msg_qbytes)
}

const GETALL: i32 = 13;
const SETVAL: i32 = 16;
const SETALL: i32 = 17;

/// The values of a set of so many semaphores. EAGAIN: it is another set.
pub fn values(id: i32, count: usize) -> Answer<Vec<u16>> {
    // SAFETY: zeros are a value of the structure, which the kernel fills.
    let mut found: libc::semid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives through the call.
    checked(unsafe { libc::syscall(libc::SYS_semctl, id, 0, libc::IPC_STAT, &raw mut found) })?;
    if found.sem_nsems as usize != count {
        return Err(Errno::EAGAIN);
    }
    let mut values = vec![0_u16; count];
    // SAFETY: the set has as many semaphores as the vector has room for; their number never changes.
    checked(unsafe { libc::syscall(libc::SYS_semctl, id, 0, GETALL, values.as_mut_ptr()) })?;
    Ok(values)
}

/// Sets all values of a set that has as many semaphores.
pub fn set_values(id: i32, values: &[u16]) -> Answer<()> {
    // SAFETY: the kernel reads as many values as the set has semaphores, which the caller has made with this number.
    checked(unsafe { libc::syscall(libc::SYS_semctl, id, 0, SETALL, values.as_ptr()) }).map(drop)
}

/// Sets the value of one semaphore.
pub fn set_value(id: i32, semaphore: usize, value: u16) -> Answer<()> {
    // SAFETY: with SETVAL, semctl takes integers only.
    checked(unsafe { libc::syscall(libc::SYS_semctl, id, semaphore, SETVAL, libc::c_int::from(value)) }).map(drop)
}

/// The nth message of a queue, its type and its bytes, which stays there: MSG_COPY of msgrcv(2). None: there are no more.
/// `most`: bytes of the longest.
pub fn look_at_message(id: i32, nth: usize, most: usize) -> Answer<Option<(i64, Vec<u8>)>> {
    const MSG_COPY: i32 = 0o40000;
    const TYPE: usize = size_of::<i64>();
    let mut room = vec![0_u8; TYPE + most];
    // SAFETY: the kernel writes a type and at most so many bytes, for which there is room.
    let length =
        unsafe { libc::syscall(libc::SYS_msgrcv, id, room.as_mut_ptr(), most, nth, MSG_COPY | libc::IPC_NOWAIT) };
    match checked(length) {
        Err(Errno::ENOMSG) => Ok(None),
        Err(errno) => Err(errno),
        Ok(length) => {
            let (kind, bytes) = room.split_at(TYPE);
            let kind = kind.iter().rev().fold(0, |number, byte| number << 8 | i64::from(*byte));
            Ok(Some((kind, bytes.get(..length as usize).unwrap_or_default().to_vec())))
        }
    }
}

/// Sends a message of this type.
pub fn send_message(id: i32, kind: i64, bytes: &[u8]) -> Answer<()> {
    let message = [&kind.to_ne_bytes()[..], bytes].concat();
    // SAFETY: the kernel reads a type and the bytes behind it, which are there.
    checked(unsafe { libc::syscall(libc::SYS_msgsnd, id, message.as_ptr(), bytes.len(), libc::IPC_NOWAIT) }).map(drop)
}
