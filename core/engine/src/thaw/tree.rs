//! The processes, built one after the other: each by its parent, with its pid, once its parent has its memory, so that
//! pages that were shared between them are shared again.

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::time::Instant;

use dormouse_wire::{Pid, Problem, ProblemKind, ProcessName, Progress, phrase};

use super::birth::{Member, not_born};
use super::control_groups::Places;
use super::home;
use super::inner::InnerMade;
use super::numbers::Numbers;
use super::objects::Objects;
use super::sharing::Sharing;
use super::space;
use super::standins::{self, StandIn};
use super::vdsos::Vdsos;
use crate::arguments;
use crate::image::Reader;
use crate::kernel::clone::sleeping_child;
use crate::kernel::ptrace::{self, Event};
use crate::kernel::{Errno, pidfd};
use crate::model::RemotePtr;
use crate::puppet::{Batch, Puppet, PuppetError, Stage};
use crate::resource::group::{Group, Process, Thread};
use crate::resource::namespace::{inner, user};
use crate::resource::task::signals;

/// The processes being built. Dropped, they are gone.
#[derive(Debug)]
pub struct Tree {
    /// By the index of their record; none yet: not built.
    pub built: Vec<Option<Built>>,
    /// The engine's pages, at the same place in all of them.
    pub place: space::Place,
    /// Stand-ins for dead leaders, until all members are in their sessions and process groups.
    pub stand_ins: Vec<StandIn>,
    /// Who sees to it that all have their numbers.
    pub numbers: Numbers,
    released: bool,
}

/// A process being built.
#[derive(Debug)]
pub struct Built {
    /// Its name, for a person.
    pub shown: ProcessName,
    /// What it is called in pid namespaces further in, the innermost last.
    pub inner: Vec<i32>,
    /// The user namespace of the group that it is in so far; none: that of the others.
    pub user: Option<usize>,
    /// Its threads, the leader first.
    pub puppets: Vec<Puppet>,
    /// The engine's pages in it.
    pub stage: Stage,
    /// A `syscall` instruction of its own, in its vdso.
    pub instruction: RemotePtr,
    /// Where the kernel's own mappings are.
    pub kernel: Vec<crate::resource::memory::inherit::Range>,
    /// They are those of a 32-bit program.
    pub narrow: bool,
}

impl Built {
    /// Runs a batch in the leader.
    pub fn run(&mut self, batch: &mut Batch) -> Result<(), Problem> {
        let desk = self.stage.desk(0);
        let Some(leader) = self.puppets.first_mut() else { return Ok(()) };
        leader.run(&desk, batch).map_err(|error| failed(&error, &self.shown))
    }
}

/// Whether a process leads a process group with members in pid namespaces further in, who can only be born in it.
fn leads_unseen(group: &Group, process: &Process) -> bool {
    let is_born = |other: &Process| other.family.process_group == process.pid() && other.place.pid != process.place.pid;
    process.family.process_group == process.pid()
        && !process.family.leads_session()
        && group.processes.iter().any(is_born)
}

/// A failure inside a process being built.
pub fn failed(error: &PuppetError, process: &ProcessName) -> Problem {
    let kind = match error {
        PuppetError::Call(call) if call.errno == Errno::ENOMEM || call.errno == Errno::ENOSPC => ProblemKind::Space,
        PuppetError::Call(call) if call.errno == Errno::EPERM => ProblemKind::Privilege,
        _ => ProblemKind::Process,
    };
    Problem::blocks(kind, error.said()).of(process)
}

/// What building needs to know.
struct Builder<'a> {
    group: &'a Group,
    vdsos: &'a Vdsos,
    objects: &'a Objects,
    reader: &'a Reader,
    places: &'a mut Places,
    progress: &'a dyn Progress,
    inner: &'a InnerMade,
    fill: super::fill::Fill,
    /// Indices of the children of each process, in the order of the records.
    children: HashMap<Pid, Vec<usize>>,
    sharing: Sharing,
}

/// Who makes a child.
#[derive(Clone, Copy, Debug)]
enum Above {
    Process(usize),
    StandIn(usize),
}

impl Tree {
    /// Builds all processes with their memory and sessions, and their threads.
    pub fn build(
        group: &Group,
        vdsos: &Vdsos,
        objects: &Objects,
        reader: &Reader,
        (inner, places): (&InnerMade, &mut Places),
        progress: &dyn Progress,
    ) -> Result<Self, Problem> {
        let place = space::Place { stays_parked: vdsos.stays_aside(false), ..space::Place::find(group)? };
        let mut children: HashMap<Pid, Vec<usize>> = HashMap::new();
        let mut roots = Vec::new();
        for (index, process) in group.processes.iter().enumerate() {
            match process.family.parent {
                Some(parent) => children.entry(parent).or_default().push(index),
                None => roots.push(index),
            }
        }
        let mut tree = Self {
            built: group.processes.iter().map(|_| None).collect(),
            place,
            stand_ins: Vec::new(),
            numbers: Numbers::of(group)?,
            released: false,
        };
        let fill = super::fill::Fill::new();
        let sharing = Sharing::of(group)?;
        let mut builder = Builder { group, vdsos, objects, reader, places, progress, inner, fill, children, sharing };
        progress.begins(dormouse_wire::Phase::Reading, super::fill::bytes(group));
        let (orphans, roots): (Vec<usize>, Vec<usize>) =
            roots.into_iter().partition(|root| standins::led_by(group, &group.processes[*root]).is_some());
        for root in roots {
            tree.root(&mut builder, root)?;
        }
        tree.orphans(&mut builder, orphans)?;
        tree.unshare(&builder.sharing)?;
        inner.show(group, tree.numbers.procs())?;
        home::go(&mut tree)?;
        home::go_further_in(&mut tree, group, inner)?;
        for index in 0..group.processes.len() {
            tree.threads(group, index)?;
            builder.places.scatter(group, index);
        }
        Ok(tree)
    }

    fn root(&mut self, builder: &mut Builder<'_>, index: usize) -> Result<(), Problem> {
        let process = &builder.group.processes[index];
        if let Some(leader) = standins::dead_leader(builder.group, process) {
            let above = self.stand_in(builder, leader, None)?;
            return self.child(builder, Above::StandIn(above), index);
        }
        let first = self.first(process.pid(), process.family.exit_signal, &process.shown())?;
        home::enter(self.built[index].insert(first), process.place, inner::Place::default(), builder.inner)?;
        self.go_early(builder, index)?;
        builder.places.enter(builder.group, index, None);
        self.grow(builder, index, None)
    }

    /// Processes whose parents are dead, in sessions that others of the group lead: one can come into a session only by
    /// birth, so that the leader makes somebody who makes the orphan, and ends. Whoever adopts orphans here has it then.
    fn orphans(&mut self, builder: &mut Builder<'_>, orphans: Vec<usize>) -> Result<(), Problem> {
        let group = builder.group;
        let mut waiting = orphans;
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut later = Vec::new();
            for index in waiting {
                let process = &group.processes[index];
                let Some(leader) = standins::led_by(group, process).filter(|leader| self.built[*leader].is_some())
                else {
                    later.push(index);
                    continue;
                };
                let shown = ProcessName {
                    pid: standins::free_pid(group)?,
                    comm: "a stand-in for a parent that is dead".into(),
                };
                let Some(above) = self.built[leader].as_mut() else { continue };
                let between = above.make_child(shown.pid, 0, 0, &shown)?;
                let mut between = StandIn { built: between, parent: Some(leader) };
                let made = between.built.make_child(process.pid(), 0, process.family.exit_signal, &process.shown());
                between.end();
                standins::reap(above, shown.pid)?;
                let above = group.processes[leader].place;
                home::enter(self.built[index].insert(made?), process.place, above, builder.inner)?;
                self.go_early(builder, index)?;
                builder.places.enter(builder.group, index, None);
                self.grow(builder, index, standins::memory_of(group, leader))?;
            }
            if later.len() == before {
                return Err(standins::lost(&group.processes[later[0]].shown()));
            }
            waiting = later;
        }
        Ok(())
    }

    /// A child of the engine itself, emptied.
    fn first(&self, pid: Pid, exit_signal: i32, shown: &ProcessName) -> Result<Built, Problem> {
        if is_init(pid) {
            return self.init(pid, shown);
        }
        let born = sleeping_child(pid, exit_signal).map_err(|errno| not_born(errno, shown))?;
        let mut built = self.adopt(born, shown)?;
        space::strip(&mut built, self.place)?;
        Ok(built)
    }

    /// The init of a pid namespace that was made for the group sleeps there already, with the same descriptors as the engine.
    fn init(&self, pid: Pid, shown: &ProcessName) -> Result<Built, Problem> {
        let mut built = self.adopt(pid, shown)?;
        space::strip(&mut built, self.place)?;
        let mut batch = Batch::new();
        if let Some(mounts) = user::mounts() {
            batch.must("live among its mounts", libc::SYS_setns, arguments![mounts.as_raw_fd(), libc::CLONE_NEWNS]);
        }
        batch.must("have descriptors of its own", libc::SYS_unshare, arguments![libc::CLONE_FILES]);
        built.run(&mut batch)?;
        Ok(built)
    }

    /// A stand-in for a session leader that is dead: it makes the session, and its members are born in it.
    fn stand_in(&mut self, builder: &Builder<'_>, leader: Pid, parent: Option<usize>) -> Result<usize, Problem> {
        if let Some(known) = self.stand_ins.iter().position(|stand_in| stand_in.built.shown.pid == leader) {
            return Ok(known);
        }
        let shown = standins::shown(leader);
        let mut built = match parent {
            None => self.first(leader, 0, &shown)?,
            Some(parent) => {
                let Some(above) = self.built[parent].as_mut() else { return Err(standins::lost(&shown)) };
                above.make_child(leader, 0, 0, &shown)?
            }
        };
        let mut batch = Batch::new();
        batch.must("begin a session", libc::SYS_setsid, arguments![]);
        built.run(&mut batch)?;
        let _ = builder;
        self.stand_ins.push(StandIn { built, parent });
        Ok(self.stand_ins.len() - 1)
    }

    /// Takes hold of the engine's own child.
    fn adopt(&self, pid: Pid, shown: &ProcessName) -> Result<Built, Problem> {
        let problem = |errno: Errno| {
            end(pid);
            Problem::blocks(ProblemKind::Process, phrase!("it cannot be traced: {why}", why = errno.desc())).of(shown)
        };
        ptrace::seize(pid.leader(), ptrace::Options { end_with_us: true, suspend_seccomp: false }).map_err(problem)?;
        ptrace::interrupt(pid.leader()).map_err(problem)?;
        Ok(Built {
            shown: shown.clone(),
            inner: Vec::new(),
            user: None,
            puppets: vec![stopped(pid).map_err(problem)?],
            stage: Stage::at(self.place.stage, self.place.threads),
            instruction: RemotePtr::NULL,
            kernel: Vec::new(),
            narrow: false,
        })
    }

    /// Gives a process its memory, then makes its children: those of another session first, for a child is born into
    /// its parent's.
    fn grow(&mut self, builder: &mut Builder<'_>, index: usize, parent: Option<usize>) -> Result<(), Problem> {
        let group = builder.group;
        let process = &group.processes[index];
        if builder.progress.cancelled() {
            return Err(Problem::blocks(ProblemKind::Cancelled, phrase!("the thaw was cancelled")));
        }
        if let (Some(built), Some(alive)) = (self.built[index].as_mut(), process.alive()) {
            let from = parent.and_then(|parent| group.processes[parent].alive());
            space::build(built, alive, from, builder.objects, (self.place, builder.vdsos))?;
            builder.fill.pages(process, alive, builder.reader, builder.progress)?;
            builder.vdsos.write(built, index, parent, self.place)?;
        }
        let children = builder.children.get(&process.pid()).cloned().unwrap_or_default();
        let leads = process.family.leads_session();
        let (inside, before): (Vec<usize>, Vec<usize>) =
            children.into_iter().partition(|child| !leads || group.processes[*child].family.session == process.pid());
        for child in before {
            self.child_of(builder, index, child)?;
        }
        if leads && let Some(built) = self.built[index].as_mut() {
            let mut batch = Batch::new();
            batch.must("begin a session", libc::SYS_setsid, arguments![]);
            // Its children inherit it; nobody but the leader can take it.
            super::terminals::take(group, builder.objects, process.pid(), &mut batch);
            built.run(&mut batch)?;
        }
        if leads_unseen(group, process)
            && let Some(built) = self.built[index].as_mut()
        {
            let mut batch = Batch::new();
            batch.must("make its process group", libc::SYS_setpgid, arguments![0, 0]);
            built.run(&mut batch)?;
        }
        for child in inside {
            self.child_of(builder, index, child)?;
        }
        Ok(())
    }

    fn child_of(&mut self, builder: &mut Builder<'_>, parent: usize, child: usize) -> Result<(), Problem> {
        match standins::dead_leader(builder.group, &builder.group.processes[child]) {
            Some(leader) if !standins::is_inside(builder.group, parent, leader) => {
                let above = self.stand_in(builder, leader, Some(parent))?;
                self.child(builder, Above::StandIn(above), child)
            }
            _ => self.child(builder, Above::Process(parent), child),
        }
    }

    fn child(&mut self, builder: &mut Builder<'_>, above: Above, child: usize) -> Result<(), Problem> {
        let process = &builder.group.processes[child];
        let (made_by, parent, flags) = match above {
            Above::Process(parent) => (self.built[parent].as_mut(), Some(parent), builder.sharing.flags(child)),
            Above::StandIn(stand_in) => {
                let above = &mut self.stand_ins[stand_in];
                (Some(&mut above.built), above.parent, 0)
            }
        };
        let Some(made_by) = made_by else { return Ok(()) };
        let entered = if matches!(above, Above::Process(_)) { parent } else { None };
        let of = parent.map(|parent| &builder.group.processes[parent]);
        let member = Member { group: builder.group, process, parent: of, flags };
        self.built[child] = Some(made_by.bear_member(member, builder.inner, &mut self.numbers)?);
        self.go_early(builder, child)?;
        builder.places.enter(builder.group, child, entered);
        self.grow(builder, child, parent)
    }

    /// Whoever shares his place in the filesystem with children goes to his user namespace before they are born, setns(2).
    fn go_early(&mut self, builder: &Builder<'_>, index: usize) -> Result<(), Problem> {
        let process = &builder.group.processes[index];
        match self.built[index].as_mut() {
            Some(built) if builder.sharing.is_shared(index, libc::CLONE_FS) => {
                home::go_one(built, process, builder.inner)
            }
            _ => Ok(()),
        }
    }

    /// Parts from their parents those that were born sharing with them only on behalf of others.
    fn unshare(&mut self, sharing: &Sharing) -> Result<(), Problem> {
        for (index, built) in self.built.iter_mut().enumerate() {
            let (Some(built), flags @ 1..) = (built, sharing.to_unshare(index)) else { continue };
            let mut batch = Batch::new();
            batch.must("part from what others share", libc::SYS_unshare, arguments![flags]);
            built.run(&mut batch)?;
        }
        Ok(())
    }

    /// Makes the threads of a process.
    fn threads(&mut self, group: &Group, index: usize) -> Result<(), Problem> {
        const FLAGS: i32 = libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SYSVSEM;
        let (Some(alive), Some(built)) = (group.processes[index].alive(), self.built[index].as_mut()) else {
            return Ok(());
        };
        let pid = group.processes[index].pid();
        let shared = signals::set_of(&alive.pending);
        let waiting = |thread: &Thread| shared | signals::set_of(&thread.signals.pending);
        if let (Some(leader), Some(thread)) = (built.puppets.first_mut(), alive.threads.first()) {
            leader.avoid(waiting(thread)).map_err(|errno| {
                let what = phrase!("its signals cannot be told from Dormouse's own: {why}", why = errno.desc());
                Problem::blocks(ProblemKind::Signal, what).of(&group.processes[index].shown())
            })?;
        }
        let levels = inner::levels(&group.inner, group.processes[index].place.pid);
        let others = alive.threads.get(1..).unwrap_or_default();
        built.make_threads(others, FLAGS as u64, &levels, &mut self.numbers)?;
        for thread in alive.threads.iter().skip(1) {
            let failed = |errno: Errno| {
                Problem::blocks(
                    ProblemKind::Thread,
                    phrase!("thread {tid} cannot be made: {why}", tid = thread.tid, why = errno.desc()),
                )
                .of(&group.processes[index].shown())
            };
            wait_born(thread.tid).map_err(failed)?;
            let mut puppet = Puppet::new(pid, thread.tid, waiting(thread)).map_err(failed)?;
            puppet.is_called(inner::called(&group.processes[index]), thread.called());
            built.puppets.push(puppet);
        }
        Ok(())
    }

    /// The processes are complete and no longer ours to end.
    pub fn let_go(mut self) {
        self.released = true;
    }
}

/// Waits until whoever was born stands still.
pub(super) fn wait_born(tid: dormouse_wire::Tid) -> Result<(), Errno> {
    loop {
        match ptrace::wait(tid)? {
            Event::Interrupted | Event::GroupStop(_) => return Ok(()),
            Event::Ended(_) => return Err(Errno::ESRCH),
            Event::Signal(_) | Event::Syscall | Event::Other(_) => ptrace::resume(tid, 0)?,
        }
    }
}

/// A process that was born, once it stands still.
pub(super) fn stopped(pid: Pid) -> Result<Puppet, Errno> {
    wait_born(pid.leader())?;
    Puppet::new(pid, pid.leader(), 0)
}

/// Whether it is the init of a pid namespace that was made for the group: nobody in it can end it, and whoever has made it does.
fn is_init(pid: Pid) -> bool {
    pid == Pid(1) && crate::kernel::outside::known().is_some()
}

/// Ends a process and takes the news of its end. The end of a leader is only told of when that of every other thread that
/// the engine traces has been taken, of those too that were born before another one could not be.
pub(super) fn end(pid: Pid) {
    use std::os::fd::AsFd;
    if is_init(pid) {
        return;
    }
    if let Ok(handle) = pidfd::open(pid) {
        let _ = pidfd::send_signal(handle.as_fd(), libc::SIGKILL);
    }
    let threads = crate::proc::list_threads(pid).unwrap_or_default();
    let threads = threads.into_iter().filter(|tid| *tid != pid.leader()).chain([pid.leader()]);
    ptrace::wait_for_ends(threads, Instant::now() + ptrace::PATIENCE);
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        self.numbers.dismiss();
        // Children before their parents, so that every one is gone from its parent's list and from ours.
        let stand_ins = self.stand_ins.iter().map(|stand_in| &stand_in.built);
        for built in self.built.iter().rev().flatten().chain(stand_ins) {
            if let Some(leader) = built.puppets.first() {
                end(leader.pid);
            }
        }
    }
}
