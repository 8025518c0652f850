//! A call made in somebody's place: the kernel keeps the pid, the user and the groups of whoever makes some objects, as
//! of a connection (SO_PEERCRED, unix(7)). A child with that pid, which shares our descriptors, makes the call and ends.

use std::io::{Read, Write};

use dormouse_wire::Pid;
use nix::sys::wait::{WaitPidFlag, waitpid};

use super::clone::CloneArguments;
use super::{Answer, Errno, checked};

/// Whose place it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The pid.
    pub pid: Pid,
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

/// Lets a child with this pid and these users make calls; it shares our descriptors. EEXIST: somebody has the pid.
///
/// The child is a copy of the engine and must neither allocate nor take a lock: `work` makes system calls only. It keeps
/// the engine's capabilities, whatever its user.
pub fn in_place_of(person: &Person, work: &dyn Fn() -> Answer<[i32; 2]>) -> Answer<[i32; 2]> {
    let (mut answers, mut says) = std::io::pipe().map_err(|_| Errno::EMFILE)?;
    let wanted = [person.pid.0];
    let arguments = CloneArguments {
        flags: libc::CLONE_FILES as u64,
        set_tid: wanted.as_ptr() as u64,
        set_tid_size: 1,
        ..CloneArguments::default()
    };
    // SAFETY: without CLONE_VM the child has its own copy of our memory; the arguments live across the call.
    let made = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
    if made == 0 {
        let answer = become_person(person).and_then(|()| work());
        let (error, [one, other]) = answer.map_or_else(|errno| (errno as i32, [0; 2]), |pair| (0, pair));
        let mut bytes = [0_u8; 12];
        for (place, word) in bytes.chunks_exact_mut(4).zip([error, one, other]) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        let _ = says.write_all(&bytes);
        loop {
            // SAFETY: the raw call ends this one thread, the only one of the child, and runs nothing of ours.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
    }
    let child = checked(made)? as i32;
    // Without a signal at its end, clone(2), it is waited for by __WALL only.
    let ended = waitpid(nix::unistd::Pid::from_raw(child), Some(WaitPidFlag::__WALL));
    // Not before: the child had no other.
    drop(says);
    let mut bytes = [0; 12];
    let told = answers.read_exact(&mut bytes);
    ended?;
    told.map_err(|_| Errno::ECHILD)?;
    let word = |at: usize| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if word(0) == 0 { Ok([word(4), word(8)]) } else { Err(Errno::from_raw(word(0))) }
}

/// Takes on the users and keeps the capabilities: SECBIT_NO_SETUID_FIXUP, capabilities(7).
fn become_person(person: &Person) -> Answer<()> {
    const NO_SETUID_FIXUP: libc::c_long = 1 << 2;
    // SAFETY: the raw calls change one thread and take integers; setgroups reads as many ids as the slice holds.
    unsafe {
        checked(libc::syscall(libc::SYS_prctl, libc::PR_SET_SECUREBITS, NO_SETUID_FIXUP, 0, 0, 0))?;
        checked(libc::syscall(libc::SYS_setgroups, person.groups.len(), person.groups.as_ptr()))?;
        checked(libc::syscall(libc::SYS_setresgid, person.group, person.group, person.group))?;
        checked(libc::syscall(libc::SYS_setresuid, person.user, person.user, person.user))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::socket;

    #[test]
    fn a_pair_made_in_somebodys_place_shows_that_one() -> Result<(), Errno> {
        let root = nix::unistd::geteuid().is_root();
        // A pid that has just been free, and most likely still is.
        let mut free = std::process::Command::new("true").spawn().map_err(|_| Errno::ECHILD)?;
        let pid = Pid(free.id() as i32);
        free.wait().map_err(|_| Errno::ECHILD)?;
        let person = Person { pid, user: 12345, group: 54321, groups: vec![7, 8] };
        let made = in_place_of(&person, &|| socket::unix_pair(libc::SOCK_STREAM));
        if !root {
            assert!(made.is_err());
            return Ok(());
        }
        let (one, other) = socket::taken_over(made?);
        let shown = socket::option_bytes(&one, libc::SO_PEERCRED, 12)?;
        let expected = [pid.0 as u32, 12345, 54321].map(u32::to_ne_bytes).concat();
        assert_eq!(shown, expected);
        assert_eq!(socket::send(&other, b"x", &[], None, None)?, 1);
        Ok(())
    }
}
