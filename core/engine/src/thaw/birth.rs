//! How processes and threads come to their numbers. Who is mighty over all pid namespaces around him chooses for his children, clone3(2);
//! who is in a user namespace further in is not: for him the next number is named to the kernel in each of them, and whoever came with
//! another one, because somebody else was faster, ends and is made again.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, ProcessName, Tid, phrase};

use super::home;
use super::inner::InnerMade;
use super::numbers::Numbers;
use super::tree::{Built, end, failed, stopped, wait_born};
use crate::arguments;
use crate::kernel::Errno;
use crate::kernel::clone::CloneArguments;
use crate::kernel::ptrace::{self, Event};
use crate::proc;
use crate::puppet::{Batch, Puppet, PuppetError};
use crate::resource::group::{Group, Process, Thread};
use crate::resource::namespace::inner;
use crate::resource::namespace::user::{self, Made};
use crate::resource::task::credentials;
use crate::resource::task::filesystem::Filesystem;

/// So often a number is tried: at once first, then with pauses, for most that take it are gone soon.
const TRIES: u32 = 40;
const AT_ONCE: u32 = 10;
const PAUSE: Duration = Duration::from_millis(10);

/// Somebody else was faster.
fn pause(tries: u32) {
    if tries >= AT_ONCE {
        std::thread::sleep(PAUSE);
    }
}

/// Who is to be born.
#[derive(Clone, Copy, Debug)]
pub struct Birth<'a> {
    /// The number that the engine calls it by.
    pub number: i32,
    /// Its numbers further in, the innermost last.
    pub inner: &'a [i32],
    /// The pid namespaces within the group in which its maker has them, the outermost first.
    pub levels: &'a [usize],
    /// CLONE_*.
    pub flags: u64,
    /// The signal for its parent at its end.
    pub exit_signal: i32,
    /// Its name.
    pub shown: &'a ProcessName,
}

/// A process of the group, that of its parent, and with which flags of clone(2) it is made.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The group.
    pub group: &'a Group,
    /// The process.
    pub process: &'a Process,
    /// Its parent, if that belongs to the group.
    pub parent: Option<&'a Process>,
    /// CLONE_*.
    pub flags: u64,
}

impl Birth<'_> {
    /// Lets somebody make it, by the innermost numbers that he may choose; whoever is born is traced by the engine too and stands still.
    fn ask(&self, batch: &mut Batch, chosen: &[i32]) {
        const SET_TID: usize = 64;
        let arguments = CloneArguments {
            flags: self.flags | libc::CLONE_PTRACE as u64,
            exit_signal: self.exit_signal as u64,
            set_tid_size: chosen.len() as u64,
            ..CloneArguments::default()
        };
        let numbers: Vec<u8> = chosen.iter().rev().flat_map(|number| number.to_ne_bytes()).collect();
        let bytes = batch.bytes(&arguments.to_bytes());
        if !chosen.is_empty() {
            let wanted = batch.bytes(&numbers);
            batch.point(bytes, SET_TID, wanted);
        }
        batch.must(
            format!("make the process or thread {}", self.number),
            libc::SYS_clone3,
            arguments![bytes, size_of::<CloneArguments>()],
        );
    }

    /// All numbers, that outside first.
    fn numbers(&self) -> Vec<i32> {
        [&[self.number], self.inner].concat()
    }

    /// Whether somebody has come with all its numbers; of the one in a new namespace, there is no choice.
    fn is(&self, pid: Pid, thread: Tid) -> bool {
        let status = proc::parsed_thread(pid, thread, "status", proc::status::parse);
        status.is_ok_and(|status| status.namespace_pid == self.numbers())
    }

    fn vanished(&self) -> Problem {
        self.taken(phrase!("it was made, and has ended at once"))
    }

    pub(super) fn taken(&self, why: Phrase) -> Problem {
        let problem = Problem::blocks(ProblemKind::PidTaken, why).of(self.shown);
        problem.way_out(phrase!("Try again"))
    }
}

impl Built {
    /// Whether it may choose all numbers of its children itself.
    fn chooses(&self) -> bool {
        self.user.is_none()
    }

    /// Lets it make a process of the group, and lets that go into the networks and the like that it lives in.
    pub(super) fn bear_member(
        &mut self,
        member: Member<'_>,
        inner: &InnerMade,
        numbers: &mut Numbers,
    ) -> Result<Self, Problem> {
        let Member { group, process, parent, flags } = member;
        let shown = process.shown();
        let above = parent.map(|parent| parent.place).unwrap_or_default();
        let founded = process.place.pid.filter(|own| above.pid != Some(*own));
        // Whoever founds a namespace for pids has the numbers from its maker but for the last.
        let levels = inner::levels(&group.inner, if founded.is_some() { above.pid } else { process.place.pid });
        let mut birth = Birth {
            number: process.pid().0,
            inner: &process.inner,
            levels: &levels,
            flags,
            exit_signal: process.family.exit_signal,
            shown: &shown,
        };
        let owner =
            founded.and_then(|founded| group.inner.get(founded)?.owner).filter(|owner| self.user != Some(*owner));
        let mut built = if let Some(home) = owner.and_then(|owner| Some((owner, inner.namespace(owner)?))) {
            self.bear_elsewhere(birth, numbers, home, inner.groups(home.0))?
        } else {
            birth.flags |= founded.map_or(0, |_| libc::CLONE_NEWPID as u64);
            self.bear(birth, numbers)?
        };
        home::enter(&mut built, process.place, above, inner)?;
        if let Some(founded) = founded {
            numbers.opened(founded, process.pid(), &levels)?;
        }
        Ok(built)
    }

    /// Lets it make a child with this pid, where it may choose.
    pub(super) fn make_child(
        &mut self,
        pid: Pid,
        flags: u64,
        exit_signal: i32,
        shown: &ProcessName,
    ) -> Result<Self, Problem> {
        let birth = Birth { number: pid.0, inner: &[], levels: &[], flags, exit_signal, shown };
        let mut batch = Batch::new();
        birth.ask(&mut batch, &[pid.0]);
        self.make(&mut batch).map_err(|problem| problem.of(shown))?;
        self.born(pid, birth)
    }

    /// Lets it make whom it was asked for. A number that somebody else has got meanwhile is told as such: with pids of its own the group can
    /// be woken all the same.
    fn make(&mut self, batch: &mut Batch) -> Result<(), Problem> {
        let desk = self.stage.desk(0);
        let Some(leader) = self.puppets.first_mut() else { return Ok(()) };
        leader.run(&desk, batch).map_err(|error| match &error {
            PuppetError::Call(call) if call.errno == Errno::EEXIST => {
                let problem = Problem::blocks(ProblemKind::PidTaken, error.said()).of(&self.shown);
                problem.way_out(phrase!("Wait until whoever has its pid has ended"))
            }
            _ => failed(&error, &self.shown),
        })
    }

    /// Lets it make a child.
    pub(super) fn bear(&mut self, birth: Birth<'_>, numbers: &mut Numbers) -> Result<Self, Problem> {
        let pid = if self.chooses() {
            let mut batch = Batch::new();
            birth.ask(&mut batch, &birth.numbers());
            self.make(&mut batch).map_err(|problem| problem.of(birth.shown))?;
            Pid(birth.number)
        } else {
            let parent = self.shown.pid;
            self.bear_until(birth, numbers, parent, None)?
        };
        self.born(pid, birth)
    }

    /// Makes somebody, who has these numbers outside and further in unless others are faster: named in the last moment.
    fn ask_for(
        &mut self,
        birth: &Birth<'_>,
        numbers: &mut Numbers,
        (outside, further_in): (i32, &[i32]),
    ) -> Result<(), Problem> {
        numbers.name(birth, further_in)?;
        let mut batch = Batch::new();
        birth.ask(&mut batch, &[]);
        let desk = self.stage.desk(0);
        let Some(leader) = self.puppets.first_mut() else { return Ok(()) };
        let made = leader.run_at_once(&desk, &mut batch, || numbers.name_outside(outside));
        numbers.go_on();
        made.map_err(|error| failed(&error, birth.shown))
    }

    /// Makes a child, its own or of its parent, until one has the wanted numbers.
    fn bear_until(
        &mut self,
        birth: Birth<'_>,
        numbers: &mut Numbers,
        parent: Pid,
        mut reaper: Option<&mut Self>,
    ) -> Result<Pid, Problem> {
        for tries in 0..TRIES {
            let before = children(parent);
            self.ask_for(&birth, numbers, (birth.number, birth.inner))?;
            let newcomer = newcomer(parent, &before).ok_or_else(|| birth.vanished())?;
            if birth.is(newcomer, newcomer.leader()) {
                return Ok(newcomer);
            }
            let inner = further_in(newcomer);
            tracing::debug!(wanted = ?birth.numbers(), came = newcomer.0, ?inner, "somebody has come with other numbers");
            end(newcomer);
            reaper.as_deref_mut().unwrap_or(self).wait_for(newcomer, &inner)?;
            pause(tries);
        }
        Err(birth.taken(phrase!("others take its number, {number}, again and again", number = birth.number)))
    }

    /// Makes a child whose numbers do not matter.
    fn bear_anybody(&mut self, birth: Birth<'_>, numbers: &mut Numbers) -> Result<Self, Problem> {
        let before = children(self.shown.pid);
        let (outside, inside) = numbers.any(&birth);
        self.ask_for(&birth, numbers, (outside, &inside))?;
        let pid = newcomer(self.shown.pid, &before).ok_or_else(|| birth.vanished())?;
        self.born(pid, Birth { number: pid.0, inner: &further_in(pid), ..birth })
    }

    /// Lets somebody who has gone to the user namespace that a pid namespace belongs to make its first process: as a child of this one, with
    /// the memory of this one.
    pub(super) fn bear_elsewhere(
        &mut self,
        birth: Birth<'_>,
        numbers: &mut Numbers,
        (user, home): (usize, &OwnedFd),
        groups: &[u32],
    ) -> Result<Self, Problem> {
        let shown = ProcessName { pid: self.shown.pid, comm: "a stand-in for the maker of a pid namespace".into() };
        let between = Birth { flags: 0, shown: &shown, ..birth };
        let mut maker = self.bear_anybody(between, numbers)?;
        let made = maker.go(user, home, groups).and_then(|()| {
            // It ends with the signal that its maker ends with, clone(2).
            let flags = birth.flags | (libc::CLONE_PARENT | libc::CLONE_NEWPID) as u64;
            let birth = Birth { flags, exit_signal: 0, ..birth };
            maker.bear_until(birth, numbers, self.shown.pid, Some(self))
        });
        self.dismiss(&maker)?;
        Ok(Self { user: Some(user), ..self.born(made?, birth)? })
    }

    /// Goes to a user namespace, with these supplementary groups where it may choose them.
    pub(super) fn go(&mut self, user: usize, home: &OwnedFd, groups: &[u32]) -> Result<(), Problem> {
        let mut batch = Batch::new();
        // Within a user namespace, one is born with them.
        if self.user.is_none() && user::made().is_none_or(|made| made.birth.is_none()) {
            credentials::set_groups(groups, &mut batch);
        }
        let number = home.as_raw_fd();
        batch.must("go into its user namespace", libc::SYS_setns, arguments![number, libc::CLONE_NEWUSER]);
        self.run(&mut batch)?;
        self.user = Some(user);
        Ok(())
    }

    /// Lets a child that shares its place in the filesystem lead it into its own directory of /proc, and end.
    pub(super) fn go_to_nowhere(
        &mut self,
        record: &Filesystem,
        levels: &[usize],
        numbers: &mut Numbers,
    ) -> Result<(), Problem> {
        let shown = ProcessName { pid: self.shown.pid, comm: "a child whose directory it stays in".into() };
        let flags = libc::CLONE_FS as u64;
        let birth = Birth { number: 0, inner: &[], levels, flags, exit_signal: 0, shown: &shown };
        let mut child = self.bear_anybody(birth, numbers)?;
        let mut batch = Batch::new();
        let nowhere = batch.text(b"/proc/self/fdinfo");
        let purpose = "go to the directory of a process that ends";
        if record.ended.working_directory {
            batch.must(purpose, libc::SYS_chdir, arguments![nowhere]);
        }
        if record.ended.root {
            batch.must(purpose, libc::SYS_chroot, arguments![nowhere]);
        }
        let gone = child.run(&mut batch);
        self.dismiss(&child)?;
        gone
    }

    /// Ends a child that it does not need any more.
    fn dismiss(&mut self, child: &Self) -> Result<(), Problem> {
        end(child.shown.pid);
        self.wait_for(child.shown.pid, &child.inner)
    }

    fn wait_for(&mut self, child: Pid, inner: &[i32]) -> Result<(), Problem> {
        let called = inner::called_at(child.0, inner, self.inner.len());
        let mut batch = Batch::new();
        batch.must("wait for a child", libc::SYS_wait4, arguments![called, 0, libc::__WALL, 0]);
        self.run(&mut batch)
    }

    fn born(&self, pid: Pid, birth: Birth<'_>) -> Result<Self, Problem> {
        let mut puppet = stopped(pid).map_err(|errno| not_born(errno, birth.shown))?;
        let called = inner::called_at(pid.0, birth.inner, birth.inner.len());
        puppet.is_called(Pid(called), Tid(called));
        Ok(Self {
            shown: ProcessName { pid, ..birth.shown.clone() },
            inner: birth.inner.to_vec(),
            user: self.user,
            puppets: vec![puppet],
            stage: self.stage,
            instruction: self.instruction,
            kernel: self.kernel.clone(),
            narrow: self.narrow,
        })
    }

    /// Makes its other threads.
    pub(super) fn make_threads(
        &mut self,
        threads: &[Thread],
        flags: u64,
        levels: &[usize],
        numbers: &mut Numbers,
    ) -> Result<(), Problem> {
        let shown = self.shown.clone();
        let birth = |thread: &'_ Thread| (thread.tid.0, thread.inner.clone());
        // Where all live elsewhere than they were born, nobody is mighty over their numbers.
        if self.chooses() && !user::made().is_some_and(Made::is_elsewhere) {
            let mut batch = Batch::new();
            for (number, inner) in threads.iter().map(birth) {
                let birth = Birth { number, inner: &inner, levels, flags, exit_signal: 0, shown: &shown };
                birth.ask(&mut batch, &birth.numbers());
            }
            return self.make(&mut batch);
        }
        for (number, inner) in threads.iter().map(birth) {
            let birth = Birth { number, inner: &inner, levels, flags, exit_signal: 0, shown: &shown };
            self.make_thread(birth, numbers)?;
        }
        Ok(())
    }

    fn make_thread(&mut self, birth: Birth<'_>, numbers: &mut Numbers) -> Result<(), Problem> {
        let pid = self.shown.pid;
        let all = || proc::list_threads(pid).unwrap_or_default();
        for tries in 0..TRIES {
            let before = all();
            self.ask_for(&birth, numbers, (birth.number, birth.inner))?;
            let newcomer = all().into_iter().find(|tid| !before.contains(tid)).ok_or_else(|| birth.vanished())?;
            if birth.is(pid, newcomer) {
                return Ok(());
            }
            self.end_thread(newcomer)?;
            pause(tries);
        }
        Err(birth.taken(phrase!("others take the number of its thread {tid} again and again", tid = birth.number)))
    }

    fn end_thread(&self, tid: Tid) -> Result<(), Problem> {
        let unended = |errno: Errno| {
            let what = phrase!("thread {tid} cannot be ended again: {why}", tid, why = errno.desc());
            Problem::blocks(ProblemKind::Thread, what).of(&self.shown)
        };
        wait_born(tid).map_err(unended)?;
        let mut puppet = Puppet::new(self.shown.pid, tid, 0).map_err(unended)?;
        let asked = puppet.go_to_call(self.instruction, libc::SYS_exit, [0; 6]);
        asked.map_err(|error| failed(&error, &self.shown))?;
        ptrace::resume(tid, 0).map_err(unended)?;
        while !matches!(ptrace::wait(tid).map_err(unended)?, Event::Ended(_)) {
            ptrace::resume(tid, 0).map_err(unended)?;
        }
        Ok(())
    }
}

fn children(of: Pid) -> Vec<Pid> {
    proc::children(of, of.leader()).unwrap_or_default()
}

fn newcomer(parent: Pid, before: &[Pid]) -> Option<Pid> {
    children(parent).into_iter().find(|child| !before.contains(child))
}

/// What a process is called in pid namespaces further in.
fn further_in(pid: Pid) -> Vec<i32> {
    let status = proc::parsed(pid, "status", proc::status::parse);
    status.map(|status| status.namespace_pid.get(1..).unwrap_or_default().to_vec()).unwrap_or_default()
}

/// What is said of a process that cannot be made with its number.
pub fn not_born(errno: Errno, process: &ProcessName) -> Problem {
    let (kind, way_out) = match errno {
        Errno::EEXIST => (ProblemKind::PidTaken, phrase!("Wait until whoever has its pid has ended")),
        Errno::EPERM => (ProblemKind::Privilege, phrase!("Run Dormouse as root, or with CAP_CHECKPOINT_RESTORE")),
        Errno::EINVAL => {
            (ProblemKind::PidTaken, phrase!("Raise /proc/sys/kernel/pid_max: its pid is higher than that"))
        }
        _ => (ProblemKind::Process, phrase!("Try again")),
    };
    let problem = Problem::blocks(kind, phrase!("it cannot be made with its own pid: {why}", why = errno.desc()));
    problem.of(process).way_out(way_out)
}
