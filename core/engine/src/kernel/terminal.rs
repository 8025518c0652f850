//! Terminals and pseudo-terminals: ioctl_tty(2), termios(3), pts(4).

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};

use super::{Answer, Errno, checked};

/// `struct termios2` of the kernel, TCGETS2const: flags, characters, speeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings([u8; Settings::LENGTH]);

impl Settings {
    /// Its length in bytes.
    pub const LENGTH: usize = 44;
    const CHARACTERS: std::ops::Range<usize> = 17..36;

    /// From bytes of the right length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As the kernel has it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    fn set_word(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    /// Whether input is handed over line by line: ICANON, and not EXTPROC.
    pub fn is_canonical(&self) -> bool {
        self.word(12) & (libc::ICANON | libc::EXTPROC) == libc::ICANON
    }

    /// The same, but it changes nothing of what comes in or goes out, and no character means anything. What has been
    /// stopped stays so.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.set_word(0, self.word(0) & libc::IXON);
        self.set_word(4, 0);
        self.set_word(12, self.word(12) & (libc::ICANON | libc::EXTPROC));
        self.0[Self::CHARACTERS].fill(0);
        self
    }

    /// The same, and bytes are handed over as they come.
    #[must_use]
    pub fn raw(mut self) -> Self {
        self.set_word(12, self.word(12) & !libc::ICANON);
        self
    }

    /// The same with a character for a purpose, such as VEOF; with one for VSTOP, IXON too.
    #[must_use]
    pub fn with_character(mut self, purpose: usize, character: u8) -> Self {
        if purpose == libc::VSTOP {
            self.set_word(0, self.word(0) | libc::IXON);
        }
        if let Some(place) = self.0[Self::CHARACTERS].get_mut(purpose) {
            *place = character;
        }
        self
    }

    /// As a person needs it at a prompt, stty(1) `sane`: lines, echo, signals, and output that begins each line at the left.
    #[must_use]
    pub fn sane(mut self) -> Self {
        const FORBIDDEN_INPUT: u32 = libc::IGNBRK | libc::INLCR | libc::IGNCR | libc::PARMRK | libc::ISTRIP;
        const INPUT: u32 = libc::BRKINT | libc::ICRNL | libc::IXON;
        const LOCAL: u32 = libc::ISIG
            | libc::ICANON
            | libc::IEXTEN
            | libc::ECHO
            | libc::ECHOE
            | libc::ECHOK
            | libc::ECHOCTL
            | libc::ECHOKE;
        const FORBIDDEN_LOCAL: u32 = libc::ECHONL | libc::NOFLSH | libc::TOSTOP | libc::EXTPROC;
        const CHARACTERS: [(usize, u8); 12] = [
            (libc::VINTR, 3),
            (libc::VQUIT, 0o34),
            (libc::VERASE, 0o177),
            (libc::VKILL, 0o25),
            (libc::VEOF, 4),
            (libc::VSTART, 0o21),
            (libc::VSTOP, 0o23),
            (libc::VSUSP, 0o32),
            (libc::VREPRINT, 0o22),
            (libc::VDISCARD, 0o17),
            (libc::VWERASE, 0o27),
            (libc::VLNEXT, 0o26),
        ];
        self.set_word(0, self.word(0) & !FORBIDDEN_INPUT | INPUT);
        self.set_word(4, self.word(4) | libc::OPOST | libc::ONLCR);
        self.set_word(12, self.word(12) & !FORBIDDEN_LOCAL | LOCAL);
        CHARACTERS.into_iter().fold(self, |settings, (purpose, character)| settings.with_character(purpose, character))
    }
}

/// Reads a value by a request that writes one of this type.
fn get<T: Copy>(file: &impl AsFd, request: libc::Ioctl, mut value: T) -> Answer<T> {
    // SAFETY: every caller pairs a request with the type that the kernel writes for it; the value outlives the call.
    checked(unsafe { libc::ioctl(file.as_fd().as_raw_fd(), request, &raw mut value) }.into())?;
    Ok(value)
}

/// Hands a value over by a request that reads one of this type.
fn put<T: Copy>(file: &impl AsFd, request: libc::Ioctl, value: T) -> Answer<()> {
    // A process that is not in the foreground may be stopped for a change of its own terminal, by SIGTTOU.
    let _undisturbed = Undisturbed::begin();
    // SAFETY: every caller pairs a request with the type that the kernel reads for it; the value outlives the call.
    checked(unsafe { libc::ioctl(file.as_fd().as_raw_fd(), request, &raw const value) }.into()).map(drop)
}

/// Makes a request that takes a number.
fn tell(file: &impl AsFd, request: libc::Ioctl, number: i32) -> Answer<()> {
    let _undisturbed = Undisturbed::begin();
    // SAFETY: every caller makes a request that takes a number and no address.
    checked(unsafe { libc::ioctl(file.as_fd().as_raw_fd(), request, number) }.into()).map(drop)
}

/// SIGTTOU is blocked in the calling thread until this is dropped.
struct Undisturbed(Option<SigSet>);

impl Undisturbed {
    fn begin() -> Self {
        let blocked: SigSet = [Signal::SIGTTOU].into_iter().collect();
        Self(blocked.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK).ok())
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            let _ = before.thread_set_mask();
        }
    }
}

/// The device number of the terminal, major and minor: for a master that of its slave, for /dev/tty that of the
/// terminal it stands for (TIOCGDEV). ENOTTY: it is no terminal. EIO: it was hung up.
pub fn device(file: &impl AsFd) -> Answer<(u32, u32)> {
    // new_encode_dev: minor in bits 0 to 7 and 20 to 31, major in bits 8 to 19.
    let device = get(file, libc::TIOCGDEV as libc::Ioctl, 0_u32)?;
    Ok((device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00))
}

/// The number of a master's slave, TIOCGPTN.
pub fn number(master: &impl AsFd) -> Answer<u32> {
    get(master, libc::TIOCGPTN as libc::Ioctl, 0_u32)
}

/// How it is set, TCGETS2. A master answers for its slave.
pub fn settings(file: &impl AsFd) -> Answer<Settings> {
    get(file, libc::TCGETS2 as libc::Ioctl, [0; Settings::LENGTH]).map(Settings)
}

/// Sets it at once, TCSETS2.
pub fn set_settings(file: &impl AsFd, settings: &Settings) -> Answer<()> {
    put(file, libc::TCSETS2 as libc::Ioctl, settings.0)
}

/// Rows, columns, width and height in pixels, TIOCGWINSZ.
pub fn size(file: &impl AsFd) -> Answer<[u16; 4]> {
    get(file, libc::TIOCGWINSZ as libc::Ioctl, [0; 4])
}

/// Sets the size; the foreground is told by SIGWINCH where it changes.
pub fn set_size(file: &impl AsFd, size: [u16; 4]) -> Answer<()> {
    put(file, libc::TIOCSWINSZ as libc::Ioctl, size)
}

/// The process group in the foreground; of a terminal that is not the caller's own, the master must be asked.
pub fn foreground(file: &impl AsFd) -> Answer<i32> {
    get(file, libc::TIOCGPGRP as libc::Ioctl, 0_i32)
}

/// Gives the caller's own terminal to a process group, TIOCSPGRP.
pub fn set_foreground(file: &impl AsFd, group: i32) -> Answer<()> {
    put(file, libc::TIOCSPGRP as libc::Ioctl, group)
}

/// The session whose controlling terminal it is, TIOCGSID, asked of the master.
pub fn session(master: &impl AsFd) -> Answer<i32> {
    get(master, libc::TIOCGSID as libc::Ioctl, 0_i32)
}

/// The line discipline, TIOCGETD; 0 is the usual one.
pub fn discipline(file: &impl AsFd) -> Answer<i32> {
    get(file, libc::TIOCGETD as libc::Ioctl, 0_i32)
}

/// Whether a master is in packet mode, TIOCGPKT.
pub fn has_packets(master: &impl AsFd) -> Answer<bool> {
    get(master, libc::TIOCGPKT as libc::Ioctl, 0_i32).map(|on| on != 0)
}

/// Sets packet mode, TIOCPKT.
pub fn set_packets(master: &impl AsFd, on: bool) -> Answer<()> {
    put(master, libc::TIOCPKT as libc::Ioctl, i32::from(on))
}

/// Whether the slave cannot be opened, TIOCGPTLCK.
pub fn is_locked(master: &impl AsFd) -> Answer<bool> {
    get(master, libc::TIOCGPTLCK as libc::Ioctl, 0_i32).map(|on| on != 0)
}

/// Locks or unlocks the slave, TIOCSPTLCK.
pub fn set_locked(master: &impl AsFd, on: bool) -> Answer<()> {
    put(master, libc::TIOCSPTLCK as libc::Ioctl, i32::from(on))
}

/// Whether it cannot be opened again, TIOCGEXCL.
pub fn is_exclusive(file: &impl AsFd) -> Answer<bool> {
    get(file, libc::TIOCGEXCL as libc::Ioctl, 0_i32).map(|on| on != 0)
}

/// Lets nobody open it again, TIOCEXCL.
pub fn set_exclusive(file: &impl AsFd) -> Answer<()> {
    tell(file, libc::TIOCEXCL as libc::Ioctl, 0)
}

/// TCOON or TCOOFF: lets output go on or stops it, tcflow(3).
pub fn flow(file: &impl AsFd, action: i32) -> Answer<()> {
    tell(file, libc::TCXONC as libc::Ioctl, action)
}

/// A byte comes in as if it had been typed, TIOCSTI. CAP_SYS_ADMIN.
pub fn type_in(slave: &impl AsFd, byte: u8) -> Answer<()> {
    put(slave, libc::TIOCSTI as libc::Ioctl, byte)
}

/// Opens the slave of a master with these flags, whatever the rights on its name, TIOCGPTPEER. Linux 4.13.
pub fn peer(master: &impl AsFd, flags: i32) -> Answer<OwnedFd> {
    // With O_CLOEXEC the description would keep that flag, where open(2) leaves it with the descriptor.
    let flags = flags & !libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: TIOCGPTPEER takes flags and answers a descriptor.
    let opened =
        checked(unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCGPTPEER as libc::Ioctl, flags) }.into())?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has its number.
    let opened = unsafe { OwnedFd::from_raw_fd(opened as i32) };
    nix::fcntl::fcntl(&opened, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(opened)
}

/// Which of these events are there, or come within the time, poll(2).
pub fn events(file: &impl AsFd, wanted: PollFlags, within: Duration) -> Answer<PollFlags> {
    let mut polled = [PollFd::new(file.as_fd(), wanted)];
    let timeout = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
    poll(&mut polled, timeout)?;
    Ok(polled[0].revents().unwrap_or(PollFlags::empty()))
}

/// Opens /dev/tty with these flags so that it stands for this terminal, which must be no session's yet.
///
/// Only a process whose controlling terminal it is can do that: one is made for it. It shares the descriptors of the
/// engine, begins a session, takes the terminal, opens /dev/tty and ends, by which the terminal is no session's again.
pub fn controlling(terminal: &impl AsFd, flags: i32) -> Answer<OwnedFd> {
    let (answer, told) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let arguments = super::clone::CloneArguments { flags: libc::CLONE_FILES as u64, ..Default::default() };
    let (terminal, telling) = (terminal.as_fd().as_raw_fd(), told.as_raw_fd());
    // SAFETY: without CLONE_VM the child has its own copy of our memory; the arguments live across the call.
    let child = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    if child == 0 {
        open_and_end(terminal, telling, flags);
    }
    let child = checked(child)? as i32;
    // SAFETY: nothing is written where no place is named.
    checked(unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::__WALL) }.into())?;
    drop(told);
    let mut number = [0; 8];
    if nix::unistd::read(&answer, &mut number)? != number.len() {
        return Err(Errno::ECHILD);
    }
    let opened = i64::from_ne_bytes(number);
    if opened < 0 {
        return Err(Errno::from_raw(-opened as i32));
    }
    // SAFETY: the child has made this descriptor in the table we share, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(opened as i32) })
}

/// What that process does: a few system calls, no allocation, no lock.
fn open_and_end(terminal: i32, telling: i32, flags: i32) -> ! {
    let how = [(flags | libc::O_CLOEXEC | libc::O_NOCTTY) as u64, 0, 0];
    let errno = || -i64::from(Errno::last_raw());
    // SAFETY: each call takes numbers, or addresses of values that live through it.
    unsafe {
        let mut opened = libc::syscall(libc::SYS_setsid);
        if opened != -1 {
            opened = libc::syscall(libc::SYS_ioctl, terminal, libc::TIOCSCTTY, 0);
        }
        if opened != -1 {
            opened = libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, c"/dev/tty".as_ptr(), how.as_ptr(), 24);
        }
        if opened == -1 {
            opened = errno();
        }
        libc::syscall(libc::SYS_write, telling, &raw const opened, 8);
        loop {
            libc::syscall(libc::SYS_exit_group, 0);
        }
    }
}

/// Opens a terminal to look at it and to set it: it becomes nobody's, and nothing waits.
pub fn look(path: &std::path::Path) -> Answer<File> {
    super::files::open(path, libc::O_RDWR | libc::O_NONBLOCK).map(File::from)
}
