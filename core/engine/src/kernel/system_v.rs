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

/// Makes a segment that nobody has a right to, as its creator; answers its id. EEXIST: the key is taken.
pub fn make_segment(key: i32, size: u64, creator: (u32, u32)) -> Answer<i32> {
    as_creator(creator, || {
        // SAFETY: shmget takes integers only.
        checked(unsafe { libc::shmget(key, size as usize, libc::IPC_CREAT | libc::IPC_EXCL) }.into())
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
        let end = self.address + (size as usize).next_multiple_of(4096);
        let path = format!("/proc/self/map_files/{:x}-{end:x}", self.address);
        OpenOptions::new().read(true).write(to_write).open(path)
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
