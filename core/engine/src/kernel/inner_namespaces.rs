//! Namespaces made by a child that stands still in them: for members of a group that live in others than the rest, namespaces(7).

use std::ffi::CString;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use dormouse_wire::{FdNumber, Pid};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;

use super::clone::CloneArguments;
use super::mounts::Recipe;
use super::{Answer, Errno, checked, files, pidfd};

const NO_SETUID_FIXUP: u32 = 1 << 2;

/// How much is read of a file, bytes: a pipe has room for a thousand of them.
const SHORT: usize = 64;

/// As whom a namespace is made: user, group, supplementary groups.
pub type Maker<'a> = (u32, u32, &'a [u32]);

/// A child that has made a namespace and lives in it. Dropped, it is gone.
#[derive(Debug)]
pub struct Maid(Pid);

impl Maid {
    /// Makes a namespace of this kind (`ipc`, `net`, `user` or `uts`), in a user namespace if one is named, and as somebody else if he is named.
    pub fn make(kind: &str, within: Option<&OwnedFd>, who: Option<Maker<'_>>) -> Answer<Self> {
        let flag = match kind {
            "ipc" => libc::CLONE_NEWIPC,
            "net" => libc::CLONE_NEWNET,
            "user" => libc::CLONE_NEWUSER,
            "uts" => libc::CLONE_NEWUTS,
            _ => return Err(Errno::EINVAL),
        };
        let within = within.map(AsRawFd::as_raw_fd);
        fork(|| {
            if let Some((user, group, groups)) = who {
                become_somebody(user, group, groups)?;
            }
            if let Some(within) = within {
                enter(within)?;
            }
            // SAFETY: integers only.
            checked(unsafe { libc::syscall(libc::SYS_unshare, flag) }).map(drop)
        })
    }

    /// Makes a namespace of control groups, in a user namespace if one is named: those are the roots of it to which `send` sends whoever
    /// makes it.
    pub fn rooted(within: Option<&OwnedFd>, send: impl FnOnce(Pid)) -> Answer<Self> {
        let within = within.map(AsRawFd::as_raw_fd);
        let (mut hears, mut says) = std::io::pipe().map_err(|_| Errno::EMFILE)?;
        let work = || {
            hears.read_exact(&mut [0]).map_err(|_| Errno::EPIPE)?;
            if let Some(within) = within {
                enter(within)?;
            }
            // SAFETY: integers only.
            checked(unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_NEWCGROUP) }).map(|_| 0)
        };
        let lead = |child| {
            send(child);
            says.write_all(b"g").map_err(|_| Errno::EPIPE)
        };
        fork_led(work, lead).map(|(maid, _)| maid)
    }

    /// One that stays among the mounts of this thread, or in a copy of them that belongs to a user namespace: nobody but root outside can
    /// take apart in there what was put together here, mount_namespaces(7).
    pub fn stay(within: Option<&OwnedFd>) -> Answer<Self> {
        let within = within.map(AsRawFd::as_raw_fd);
        fork(|| {
            let Some(within) = within else { return Ok(()) };
            enter(within)?;
            // SAFETY: integers only.
            checked(unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_NEWNS) }).map(drop)
        })
    }

    /// A filesystem that belongs to a user namespace, made by somebody.
    pub fn filesystem(recipe: &Recipe, within: &OwnedFd, who: Maker<'_>) -> Answer<OwnedFd> {
        let (user, group, groups) = who;
        let within = within.as_raw_fd();
        let (maid, number) = fork_told(|| {
            become_somebody(user, group, groups)?;
            enter(within)?;
            // SAFETY: integers only.
            checked(unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_NEWNS) })?;
            recipe.make().map(IntoRawFd::into_raw_fd)
        })?;
        maid.take(number)
    }

    /// A descriptor of its own.
    fn take(&self, number: RawFd) -> Answer<OwnedFd> {
        pidfd::get_fd(pidfd::open(self.0)?.as_fd(), FdNumber(number))
    }

    /// One that does nothing but be in a user namespace, for its files in /proc.
    pub fn visit(user_namespace: &OwnedFd) -> Answer<Self> {
        let namespace = user_namespace.as_raw_fd();
        fork(|| enter(namespace))
    }

    /// What these files say to somebody in a user namespace, the first 64 bytes of each; nothing: they are not
    /// there.
    pub fn read_within(user_namespace: &OwnedFd, paths: &[CString]) -> Answer<Vec<Vec<u8>>> {
        let (mut answers, mut says) = std::io::pipe().map_err(|_| Errno::EMFILE)?;
        let namespace = user_namespace.as_raw_fd();
        let reader = fork(|| {
            enter(namespace)?;
            paths.iter().try_for_each(|path| {
                let mut page = [0; SHORT];
                let length = read(path, &mut page).unwrap_or(0);
                let said =
                    says.write_all(&(length as u32).to_ne_bytes()).and_then(|()| says.write_all(&page[..length]));
                said.map_err(|_| Errno::EPIPE)
            })
        })?;
        drop(reader);
        let mut next = || {
            let mut length = [0; 4];
            answers.read_exact(&mut length)?;
            let mut text = vec![0; (u32::from_ne_bytes(length) as usize).min(SHORT)];
            answers.read_exact(&mut text).map(|()| text)
        };
        paths.iter().map(|_| next().map_err(|_| Errno::ECHILD)).collect()
    }

    /// Writes files as somebody in a user namespace: all that can be; the error is that of the first one that cannot.
    pub fn write_within(user_namespace: &OwnedFd, all: &[(CString, String)]) -> Answer<()> {
        let namespace = user_namespace.as_raw_fd();
        let writer = fork(|| {
            enter(namespace)?;
            all.iter().map(|(path, text)| write(path, text)).fold(Ok(()), Answer::and)
        });
        writer.map(drop)
    }

    /// Its pid.
    pub fn pid(&self) -> Pid {
        self.0
    }

    fn folder(&self) -> PathBuf {
        Path::new("/proc").join(self.0.0.to_string())
    }

    /// Opens the namespace of this kind that it lives in.
    pub fn open(&self, kind: &str) -> Answer<OwnedFd> {
        files::open(&self.folder().join("ns").join(kind), libc::O_RDONLY)
    }

    /// Writes how ids lead out of its user namespace, from the one around it.
    pub fn write_maps(&self, around: Option<&OwnedFd>, users: &str, groups: &str, may_set_groups: bool) -> Answer<()> {
        let folder = self.folder();
        let path = |name: &str| CString::new(folder.join(name).as_os_str().as_bytes()).map_err(|_| Errno::EINVAL);
        let mut all = Vec::new();
        if !may_set_groups {
            all.push((path("setgroups")?, "deny"));
        }
        all.extend([(path("gid_map")?, groups), (path("uid_map")?, users)]);
        let around = around.map(AsRawFd::as_raw_fd);
        let writer = fork(|| {
            if let Some(around) = around {
                enter(around)?;
            }
            all.iter().filter(|(_, text)| !text.is_empty()).try_for_each(|(path, text)| write(path, text))
        });
        writer.map(drop)
    }
}

impl Drop for Maid {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.0);
        let _ = kill(pid, Signal::SIGKILL);
        while waitpid(pid, None) == Err(Errno::EINTR) {}
    }
}

/// A child that does this, tells how it went, and waits. It may have been copied while other threads held locks: what it does are system
/// calls only.
fn fork(work: impl FnOnce() -> Answer<()>) -> Answer<Maid> {
    fork_told(|| work().map(|()| 0)).map(|(maid, _)| maid)
}

/// The same; what it answers is not negative, and is told.
fn fork_told(work: impl FnOnce() -> Answer<i32>) -> Answer<(Maid, i32)> {
    fork_led(work, |_| Ok(()))
}

/// The same, with what is done about it as soon as it is there.
fn fork_led(work: impl FnOnce() -> Answer<i32>, lead: impl FnOnce(Pid) -> Answer<()>) -> Answer<(Maid, i32)> {
    let (mut answers, mut says) = std::io::pipe().map_err(|_| Errno::EMFILE)?;
    let (arguments, own) =
        (CloneArguments { exit_signal: libc::SIGCHLD as u64, ..CloneArguments::default() }, std::process::id() as i32);
    // SAFETY: without CLONE_VM the child has its own copy of our memory; the arguments live across the call.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) } {
        -1 => Err(Errno::last()),
        0 => {
            end_with(own);
            let told = work().unwrap_or_else(|errno| -(errno as i32));
            // A change of users has made the kernel forget it, prctl(2).
            end_with(own);
            let _ = says.write_all(&told.to_ne_bytes());
            super::clone::sleep()
        }
        child => {
            let made = Maid(Pid(child as i32));
            drop(says);
            lead(made.0)?;
            Ok((made, heard(&mut answers)?))
        }
    }
}

/// What a child tells: an answer, or a negative reason.
fn heard(answers: &mut PipeReader) -> Answer<i32> {
    let mut told = [0; 4];
    answers.read_exact(&mut told).map_err(|_| Errno::ECHILD)?;
    match i32::from_ne_bytes(told) {
        answer @ 0.. => Ok(answer),
        reason => Err(Errno::from_raw(reason.wrapping_neg())),
    }
}

/// This child ends when the engine does, which it knows by this pid: 0 where the engine is not seen.
fn end_with(engine: i32) {
    // SAFETY: integers only.
    unsafe {
        libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        // It may have died before the kernel knew what to do then.
        if libc::syscall(libc::SYS_getppid) as i32 != engine {
            libc::syscall(libc::SYS_exit_group, 0);
        }
    }
}

fn become_somebody(user: u32, group: u32, groups: &[u32]) -> Answer<()> {
    // SAFETY: the raw calls change one thread; the kernel reads as many ids as the slice holds.
    unsafe {
        checked(libc::syscall(libc::SYS_prctl, libc::PR_SET_SECUREBITS, NO_SETUID_FIXUP, 0, 0, 0))?;
        checked(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        checked(libc::syscall(libc::SYS_setresgid, group, group, group))?;
        checked(libc::syscall(libc::SYS_setresuid, user, user, user)).map(drop)
    }
}

fn enter(user_namespace: RawFd) -> Answer<()> {
    // SAFETY: integers only.
    checked(unsafe { libc::syscall(libc::SYS_setns, user_namespace, libc::CLONE_NEWUSER) }).map(drop)
}

fn read(path: &CString, page: &mut [u8; SHORT]) -> Answer<usize> {
    // SAFETY: the path ends with its zero, and the kernel writes as many bytes as the page has at most.
    unsafe {
        let file = checked(libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY, 0))?;
        let length = checked(libc::syscall(libc::SYS_read, file, page.as_mut_ptr(), SHORT));
        checked(libc::syscall(libc::SYS_close, file))?;
        length.map(|length| length as usize)
    }
}

fn write(path: &CString, text: &str) -> Answer<()> {
    // SAFETY: the path ends with its zero, and the kernel reads as many bytes as the text holds.
    unsafe {
        let file = checked(libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_WRONLY, 0))?;
        checked(libc::syscall(libc::SYS_write, file, text.as_ptr(), text.len()))?;
        checked(libc::syscall(libc::SYS_close, file)).map(drop)
    }
}

/// A child that lives in a pid namespace and names the next number in it, ns_last_pid, Documentation/admin-guide/sysctl/kernel.rst: the kernel
/// takes that from nobody elsewhere. Dropped, it is gone.
#[derive(Debug)]
pub struct Namer {
    child: Maid,
    asks: PipeWriter,
    answers: PipeReader,
    /// The number under which it has a proc(5) of the pid namespace.
    proc: Answer<RawFd>,
}

impl Namer {
    /// Sends one into a pid namespace, where it has this number.
    pub fn enter(pids: &impl AsFd, number: i32) -> Answer<Self> {
        let file = super::namespaces::next_pid_file().map_err(|_| Errno::EACCES)?;
        let proc = Recipe::of("proc", b"proc", &[])?;
        let pipe = || std::io::pipe().map_err(|_| Errno::EMFILE);
        let ((mut hears, asks), (mut answers, mut says)) = (pipe()?, pipe()?);
        let wanted = [number];
        let arguments = CloneArguments {
            exit_signal: libc::SIGCHLD as u64,
            set_tid: wanted.as_ptr() as u64,
            set_tid_size: 1,
            ..CloneArguments::default()
        };
        let made = super::namespaces::visit(pids, "pid_for_children", || {
            // SAFETY: without CLONE_VM the child has its own copy of our memory; the arguments live across the call.
            let made = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
            if made == 0 {
                serve((&file, &proc), &mut hears, &mut says);
            }
            checked(made).map(|made| Maid(Pid(made as i32)))
        })??;
        // Nobody waits for one that has ended.
        drop((hears, says));
        let proc = heard(&mut answers);
        Ok(Self { child: made, asks, answers, proc })
    }

    /// A proc(5) that shows the pid namespace, attached nowhere.
    pub fn proc(&self) -> Answer<OwnedFd> {
        self.child.take(self.proc?)
    }

    /// The next one that is born in the namespace has this number, if it is free.
    pub fn name(&mut self, number: i32) -> Answer<()> {
        self.asks.write_all(&number.to_ne_bytes()).map_err(|_| Errno::EPIPE)?;
        heard(&mut self.answers).map(drop)
    }

    /// Its pid.
    pub fn pid(&self) -> Pid {
        self.child.pid()
    }
}

/// In the child: system calls only, and no end of its own.
fn serve((file, proc): (&std::fs::File, &Recipe), hears: &mut PipeReader, says: &mut PipeWriter) -> ! {
    end_with(0);
    let made = proc.make().map_or_else(|errno| -(errno as i32), IntoRawFd::into_raw_fd);
    if says.write_all(&made.to_ne_bytes()).is_err() {
        super::clone::sleep()
    }
    let mut number = [0; 4];
    while hears.read_exact(&mut number).is_ok() {
        let (mut digits, mut length) = ([0; 12], 0);
        let mut rest = i32::from_ne_bytes(number).max(1) - 1;
        loop {
            length += 1;
            digits[12 - length] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let written = file.write_all_at(&digits[12 - length..], 0);
        let error = written.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
        if says.write_all(&(-error).to_ne_bytes()).is_err() {
            break;
        }
    }
    super::clone::sleep()
}
