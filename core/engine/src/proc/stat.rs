//! The numbers of a process or thread in one line: `/proc/PID/stat` and `/proc/PID/task/TID/stat`, proc_pid_stat(5).

use dormouse_wire::{Pid, Tid};
use serde::{Deserialize, Serialize};

use super::text::{self, Unreadable};

/// What the kernel is doing with a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// `R`: runs, or could.
    Running,
    /// `S`: sleeps until something happens or a signal comes.
    Sleeping,
    /// `D`: sleeps and hears no signal.
    DiskSleep,
    /// `T`: stopped by a signal, or frozen by cgroup v1.
    Stopped,
    /// `t`: stopped by its tracer.
    Traced,
    /// `Z`: has ended and was not reaped.
    Zombie,
    /// `X`: is just going.
    Dead,
    /// `I`: an idle thread of the kernel.
    Idle,
    /// `P`: a parked thread of the kernel.
    Parked,
    /// A letter that this version does not know.
    Other(u8),
}

impl State {
    /// The state that a letter stands for.
    pub fn from_letter(letter: u8) -> Self {
        match letter {
            b'R' => Self::Running,
            b'S' => Self::Sleeping,
            b'D' => Self::DiskSleep,
            b'T' => Self::Stopped,
            b't' => Self::Traced,
            b'Z' => Self::Zombie,
            b'X' => Self::Dead,
            b'I' => Self::Idle,
            b'P' => Self::Parked,
            other => Self::Other(other),
        }
    }
}

/// The value of one `stat` file.
///
/// The addresses and the exit code need ptrace access (`PTRACE_MODE_READ_FSCREDS`). Without it the kernel shows 0
/// instead, and 1 for `start_code` and `end_code`: [`Stat::shows_addresses`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// The thread; in `/proc/PID/stat` the thread group leader.
    pub pid: Tid,
    /// The command name, at most 15 bytes of any value but NUL (64 for threads of the kernel).
    #[serde(with = "serde_bytes")]
    pub comm: Vec<u8>,
    /// What the kernel is doing with it.
    pub state: State,
    /// The parent; 0 for none in this pid namespace.
    pub ppid: Pid,
    /// The process group; 0 if its leader is outside this pid namespace.
    pub pgrp: Pid,
    /// The session; 0 if its leader is outside this pid namespace.
    pub session: Pid,
    /// The device number of the controlling terminal; 0 for none. Minor number in bits 31 to 20 and 7 to 0, major number
    /// in bits 15 to 8.
    pub tty: i32,
    /// The process group in the foreground of that terminal; -1 for none.
    pub foreground: i32,
    /// `PF_*` of include/linux/sched.h.
    pub flags: u32,
    /// Processor time of all its threads in user mode, in clock ticks; those reaped among its children are not counted.
    pub user_time: u64,
    /// Processor time of all its threads in the kernel, in clock ticks.
    pub system_time: u64,
    /// The nice value, -20 to 19.
    pub nice: i32,
    /// How many threads the process has.
    pub threads: u32,
    /// Always 0 since 2.6.17.
    pub itrealvalue: i64,
    /// When it started: clock ticks since boot, shifted by the time namespace of the reader.
    pub start_time: u64,
    /// The size of its address space, in bytes.
    pub virtual_size: u64,
    /// How much of it is in memory, in pages; not exact.
    pub resident_pages: u64,
    /// The first address of the program text.
    pub start_code: u64,
    /// The first address behind the program text.
    pub end_code: u64,
    /// Where the stack of the first thread began.
    pub start_stack: u64,
    /// The signal that the parent gets at its end; -1 for a thread that is not the leader.
    pub exit_signal: i32,
    /// The processor it ran on last.
    pub processor: i32,
    /// The priority of a real-time policy, 1 to 99; else 0.
    pub rt_priority: u32,
    /// The scheduling policy, sched(7).
    pub policy: u32,
    /// Where the program's data begins.
    pub start_data: u64,
    /// The first address behind the program's data.
    pub end_data: u64,
    /// Where the heap begins, brk(2).
    pub start_brk: u64,
    /// Where the arguments begin.
    pub arg_start: u64,
    /// The first address behind the arguments.
    pub arg_end: u64,
    /// Where the environment begins.
    pub env_start: u64,
    /// The first address behind the environment.
    pub env_end: u64,
    /// How a zombie ended, as wait(2) would say.
    pub exit_code: i32,
}

/// `PF_KTHREAD` of include/linux/sched.h.
const KERNEL_THREAD: u32 = 0x0020_0000;

impl Stat {
    /// Whether it is a thread of the kernel.
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & KERNEL_THREAD != 0
    }

    /// Whether the addresses are true; else the caller lacks ptrace access. Also false for threads of the kernel and for
    /// zombies, which have no memory.
    pub fn shows_addresses(&self) -> bool {
        self.start_stack != 0
    }

    /// Major and minor number of the controlling terminal.
    pub fn terminal(&self) -> Option<(u32, u32)> {
        let tty = self.tty.cast_unsigned();
        (tty != 0).then_some(((tty >> 8) & 0xfff, (tty & 0xff) | ((tty >> 12) & 0xf_ff00)))
    }
}

/// The value of `/proc/PID/stat`.
pub fn parse(bytes: &[u8]) -> Result<Stat, Unreadable> {
    stat(bytes).ok_or_else(|| Unreadable::line(bytes))
}

/// `PID (COMM) STATE PPID …`: behind the command name, which may hold anything, come only numbers.
fn stat(bytes: &[u8]) -> Option<Stat> {
    let (pid, _) = text::split_once(bytes, b' ')?;
    let open = pid.len() + 1;
    let close = bytes.iter().rposition(|byte| *byte == b')')?;
    let comm = bytes.get(open..close)?.strip_prefix(b"(")?.to_vec();
    let [letter] = text::words(&bytes[close + 1..]).next()?.try_into().ok()?;
    let fields: Vec<&[u8]> = text::words(&bytes[close + 1..]).collect();
    // The numbers are those of the manual page, where the state is field 3.
    let field = |number: usize| fields.get(number - 3).copied();
    let id = |number| text::decimal(field(number)?).map(Pid);
    let signed = |number| text::decimal::<i32>(field(number)?);
    let unsigned = |number| text::decimal::<u32>(field(number)?);
    let address = |number| text::decimal::<u64>(field(number)?);
    Some(Stat {
        pid: Tid(text::decimal(pid)?),
        comm,
        state: State::from_letter(letter),
        ppid: id(4)?,
        pgrp: id(5)?,
        session: id(6)?,
        tty: signed(7)?,
        foreground: signed(8)?,
        flags: unsigned(9)?,
        user_time: address(14)?,
        system_time: address(15)?,
        nice: signed(19)?,
        threads: unsigned(20)?,
        itrealvalue: text::decimal(field(21)?)?,
        start_time: address(22)?,
        virtual_size: address(23)?,
        resident_pages: address(24)?,
        start_code: address(26)?,
        end_code: address(27)?,
        start_stack: address(28)?,
        exit_signal: signed(38)?,
        processor: signed(39)?,
        rt_priority: unsigned(40)?,
        policy: unsigned(41)?,
        start_data: address(45)?,
        end_data: address(46)?,
        start_brk: address(47)?,
        arg_start: address(48)?,
        arg_end: address(49)?,
        env_start: address(50)?,
        env_end: address(51)?,
        exit_code: signed(52)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{self, ProcError};

    const NUMBERS: &[u8] = b" R 8016 8015 3332 34816 8025 4194304 105 0 0 0 7 6 0 0 20 -5 1 0 137466 3133440 416 \
        18446744073709551615 94418345398272 94418345418153 140736770666608 0 0 0 0 0 0 0 0 0 17 1 3 2 0 0 0 \
        94418345434160 94418345435776 94418739732480 140736770669072 140736770669301 140736770669302 140736770670571 9\n";

    fn of(comm: &[u8]) -> Result<Stat, Unreadable> {
        parse(&[b"8025 (", comm, b")", NUMBERS].concat())
    }

    #[test]
    fn the_fields_are_those_of_the_manual_page() -> Result<(), Unreadable> {
        let stat = of(b"cat")?;
        assert_eq!((stat.pid, stat.state), (Tid(8025), State::Running));
        assert_eq!((stat.ppid, stat.pgrp, stat.session), (Pid(8016), Pid(8015), Pid(3332)));
        assert_eq!((stat.terminal(), stat.foreground, stat.flags), (Some((136, 0)), 8025, 4194304));
        assert_eq!((stat.nice, stat.threads, stat.itrealvalue, stat.start_time), (-5, 1, 0, 137466));
        assert_eq!((stat.user_time, stat.system_time), (7, 6));
        assert_eq!((stat.virtual_size, stat.resident_pages), (3133440, 416));
        assert_eq!(
            (stat.start_code, stat.end_code, stat.start_stack),
            (94418345398272, 94418345418153, 140736770666608)
        );
        assert_eq!((stat.exit_signal, stat.processor, stat.rt_priority, stat.policy), (17, 1, 3, 2));
        assert_eq!((stat.start_data, stat.end_data, stat.start_brk), (94418345434160, 94418345435776, 94418739732480));
        assert_eq!((stat.arg_start, stat.arg_end), (140736770669072, 140736770669301));
        assert_eq!((stat.env_start, stat.env_end, stat.exit_code), (140736770669302, 140736770670571, 9));
        Ok(())
    }

    #[test]
    fn a_command_may_be_called_anything() -> Result<(), Unreadable> {
        for comm in [&b""[..], b") R 1 (", b"a) b\n", b"\xff\xfe", b"((", b"))) Z 1 1 1 1"] {
            let stat = of(comm)?;
            assert_eq!((stat.comm, stat.ppid), (comm.to_vec(), Pid(8016)));
        }
        Ok(())
    }

    #[test]
    fn a_line_that_is_cut_is_refused() {
        assert!(parse(b"8025 (cat) R 8016 8016").is_err());
        assert!(parse(b"8025 )cat( R 8016").is_err());
        assert!(parse(b"8025").is_err());
    }

    #[test]
    fn every_live_process_can_be_read() -> Result<(), ProcError> {
        for pid in proc::list_pids()? {
            match proc::parsed(pid, "stat", parse) {
                Err(ProcError::Gone) => {}
                stat => assert_eq!(stat?.pid, pid.leader()),
            }
        }
        let me = Pid(std::process::id() as i32);
        assert!(proc::parsed_thread(me, me.leader(), "stat", parse)?.shows_addresses());
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[0-9]{0,2} ?[()]{0,2}[0-9 )]{0,200}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }

        #[test]
        fn every_command_name_comes_back(comm: Vec<u8>) {
            prop_assert_eq!(of(&comm).map(|stat| stat.comm), Ok(comm));
        }
    }
}
