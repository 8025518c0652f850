//! Pids that are never in the way: a group whose numbers others have comes back in a pid namespace of its own,
//! pid_namespaces(7), where it keeps the numbers it knew; and a group that lives in one is frozen from within.
//!
//! The whole work is done inside: [`make`] and [`enter`] split this process in two, as fork(2) does. What goes on as
//! [`Side::Inside`] sees the pids and the `/proc` of the namespace, so that nothing else in the engine has to know of two numbers
//! for one process. The other half waits, passes on signals, and answers the status that the first one has ended with.
//!
//! A group whose first process is the init of a pid namespace lives in a whole set of them, a sandbox: see [`capsule`]. The way into it
//! is the same, and so is the way back: the set is made, and the work is done inside.
//!
//! A namespace that was made has an init of ours ([`init`]), which adopts and reaps, and ends when nobody is left.

mod awake;
mod capsule;
mod init;
mod outside;
mod users;
mod verify;

pub use awake::{awake, running};
pub use capsule::{ends_from_outside, fall_asleep, make as make_capsule};
pub use users::members;
pub use verify::{below, trust};

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;

use dormouse_wire::{Frozen, Pid, Problem, ProblemKind, phrase};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::Asker;
use crate::image::{Reader, SectionKind};
use crate::kernel::{Errno, files, identity, namespaces};
use crate::proc::{self, ns, status};
use crate::resource::group::Group;
use crate::survey::select;

const INIT: Pid = Pid(1);

/// Where this process goes on.
#[derive(Debug)]
pub enum Side {
    /// In the namespace.
    Inside(Inside),
    /// Outside it. The work has been done: it has ended with this status, or with 128 and the number of a signal.
    Outside(u8),
    /// Outside it. The group has been put to sleep, the init of its namespace and the half within too.
    Frozen(Box<Frozen>),
}

/// The half that does the work.
#[derive(Debug, Default)]
pub struct Inside {
    /// To the init of a namespace that was made.
    init: Option<UnixStream>,
    /// What the processes of an entered namespace are called outside and inside.
    numbers: Vec<(Pid, Pid)>,
    /// All that live in it are one group, with its init.
    is_whole: bool,
    /// Who waits for it outside, and does nothing else.
    waits: Option<Pid>,
    /// What was lost when it was made.
    losses: Vec<Problem>,
}

impl Inside {
    /// The group runs: it is left alone from now on, whatever becomes of this process.
    pub fn group_runs(&self) {
        if let Some(mut init) = self.init.as_ref() {
            // Where the init is gone, so is this process.
            let _ = init.write_all(&[init::RUNS]);
        }
    }

    /// Whether all that live here are one group, with the init of their pid namespace.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// What the first process of a sandbox that was made is called outside.
    pub fn first_outside(&self) -> Option<Pid> {
        let here = ns::read(Pid(std::process::id() as i32), "pid").ok()?;
        proc::from_outside(|is_other| {
            let is_first = |pid: &Pid| {
                ns::read(*pid, "pid").is_ok_and(|theirs| theirs == here)
                    && proc::parsed(*pid, "status", status::parse)
                        .is_ok_and(|found| found.namespace_pid.last() == Some(&1))
            };
            is_other.then(|| proc::list_pids().unwrap_or_default().into_iter().find(is_first))?
        })
    }

    /// What was lost when the namespaces of a group were made again.
    pub fn losses(&self) -> &[Problem] {
        &self.losses
    }

    /// What processes that are known by their numbers outside are called here: the first one, and others, but for the init.
    pub fn meant(&self, first: Pid, others: &[Pid]) -> Result<(Pid, Vec<Pid>), Problem> {
        let number = |outside: Pid| self.numbers.iter().find(|(known, _)| *known == outside).map(|(_, here)| *here);
        let gone = || Problem::blocks(ProblemKind::Process, phrase!("the process is gone")).of(&select::named(first));
        if self.is_whole {
            let elsewhere = |outside: &&Pid| number(**outside).is_none() && Some(**outside) != self.waits;
            let Some(other) = others.iter().find(elsewhere) else { return Ok((INIT, Vec::new())) };
            let what = phrase!("it lives outside of the sandbox that it is to be frozen with");
            let problem = Problem::blocks(ProblemKind::Selection, what).of(&select::named(*other));
            return Err(problem.way_out(phrase!("Freeze the sandbox alone, by the pid of a process in it")));
        }
        let others = others.iter().filter_map(|outside| number(*outside)).filter(|here| *here != INIT);
        match number(first) {
            None => Err(gone()),
            Some(INIT) => {
                let what = phrase!("it is the init of a pid namespace, which is not frozen itself");
                let way_out = phrase!("Freeze the processes in it, or pause it instead");
                Err(Problem::blocks(ProblemKind::Selection, what).of(&select::named(first)).way_out(way_out))
            }
            Some(here) => Ok((here, others.collect())),
        }
    }
}

/// The numbers of the group in this image, if others have some of them here and a namespace can be made for it; `None` too where
/// that cannot be told: then the thaw says why.
pub fn taken(image: &Path, asker: Option<&Asker>) -> Option<BTreeSet<i32>> {
    let wanted = can_be_made().then(|| wanted(image, asker))??;
    wanted.iter().any(|number| proc::folder(Pid(*number)).exists()).then_some(wanted)
}

/// Whether this process may make one: CAP_SYS_ADMIN, pid_namespaces(7).
pub fn can_be_made() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    identity::has_capability(CAP_SYS_ADMIN)
}

/// The numbers of the group in this image.
pub fn wanted(image: &Path, asker: Option<&Asker>) -> Option<BTreeSet<i32>> {
    let reader = match asker {
        Some(asker) => asker.open(image).ok()?,
        None => Reader::open(image).ok()?,
    };
    reader.section(SectionKind::Group).ok().map(|group: Group| numbers(&group))
}

/// The pids and tids of a group.
fn numbers(group: &Group) -> BTreeSet<i32> {
    let threads = group.processes.iter().flat_map(|process| match process.alive() {
        Some(alive) => alive.threads.iter().map(|thread| thread.tid.0).collect(),
        None => vec![process.pid().0],
    });
    // Leaders that have ended are there again for a moment, and their numbers stay in use.
    let around = group.processes.iter().flat_map(|process| {
        let family = &process.family;
        let own = |number: Pid, outside: bool| (!outside).then_some(number.0);
        let groups =
            [own(family.process_group, family.process_group_outside), own(family.session, family.session_outside)];
        [Some(family.pid.0)].into_iter().chain(groups).flatten().collect::<Vec<_>>()
    });
    threads.chain(around).collect()
}

/// Goes on in a new pid namespace in which these numbers are free. This process must have no other threads.
pub fn make(wanted: &BTreeSet<i32>) -> Result<Side, Problem> {
    let failed = |what: &'static str| {
        move |errno: Errno| {
            let problem =
                phrase!("a pid namespace for the group cannot be made: {what}: {why}", what, why = errno.desc());
            Problem::blocks(ProblemKind::Namespace, problem).way_out(phrase!("Run Dormouse as root, or free the pids"))
        }
    };
    if wanted.contains(&1) {
        let what = phrase!("the first process of a pid namespace cannot be given back in another one yet");
        return Err(Problem::blocks(ProblemKind::Namespace, what));
    }
    let own = free_number(wanted);
    namespaces::new_pids_for_children().map_err(failed("unshare"))?;
    let (control, answers) = UnixStream::pair().map_err(|_| failed("a pair of sockets")(Errno::EMFILE))?;
    match namespaces::fork().map_err(failed("fork"))? {
        namespaces::Side::Parent(_) => {
            drop(answers);
            outside::wait_for_init(control).map(Side::Outside)
        }
        namespaces::Side::Child => {
            drop(control);
            init::begin(answers, own).map(|init| Side::Inside(Inside { init: Some(init), ..Inside::default() }))
        }
    }
}

/// Goes on in the pid namespace that this process lives in, where that is another one than ours, and one that a thaw can make again;
/// `None`: it is ours, or one that whoever looks at the group closer refuses by name. This process must have no other threads.
pub fn enter(pid: Pid) -> Result<Option<Side>, Problem> {
    if let Some(capsule) = verify::capsule(pid)? {
        return capsule::enter(pid, &capsule).map(Some);
    }
    if !verify::is_like_ours(pid) {
        return Ok(None);
    }
    let failed = |what: &'static str| {
        move |errno: Errno| {
            let problem = phrase!("its pid namespace cannot be entered: {what}: {why}", what, why = errno.desc());
            Problem::blocks(ProblemKind::Namespace, problem)
                .of(&select::named(pid))
                .way_out(phrase!("Run Dormouse as root"))
        }
    };
    let link = |name: &str| files::open(&proc::folder(pid).join("ns").join(name), libc::O_RDONLY);
    let (pids, mounts) = (link("pid").map_err(failed("open"))?, link("mnt").map_err(failed("open"))?);
    let numbers = verify::numbers(pid);
    let place = std::env::current_dir();
    let outer = files::open(Path::new("/proc"), libc::O_PATH | libc::O_DIRECTORY).map_err(failed("open"))?;
    namespaces::enter_pids_for_children(&pids).map_err(failed("setns"))?;
    match namespaces::fork().map_err(failed("fork"))? {
        namespaces::Side::Parent(worker) => Ok(Some(Side::Outside(outside::wait_for(worker)?))),
        namespaces::Side::Child => {
            prctl::set_pdeathsig(Signal::SIGTERM).map_err(failed("prctl"))?;
            namespaces::enter_mounts(&mounts).map_err(failed("setns"))?;
            // Relative paths mean the same as before.
            if let Ok(place) = place {
                std::env::set_current_dir(&place).map_err(|_| failed("chdir")(Errno::ENOENT))?;
            }
            proc::see_outer(outer);
            Ok(Some(Side::Inside(Inside { numbers, ..Inside::default() })))
        }
    }
}

/// A number with room behind it for all processes and threads of the engine, which are numbered one after the other.
fn free_number(wanted: &BTreeSet<i32>) -> i32 {
    const ROOM: i32 = 4096;
    // The kernel gives no lower numbers by itself once it has come to the highest.
    const RESERVED: i32 = 300;
    let most = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok().and_then(|text| text.trim().parse().ok());
    let most: i32 = most.unwrap_or(32_768);
    let ends = wanted.iter().copied().chain([most]);
    let begins = std::iter::once(RESERVED).chain(wanted.iter().map(|number| RESERVED.max(*number)));
    let gaps = begins.zip(ends).filter(|(begin, end)| end > begin);
    let fits = gaps.clone().filter(|(begin, end)| end - begin > ROOM).last();
    fits.or_else(|| gaps.max_by_key(|(begin, end)| end - begin)).map_or(RESERVED, |(begin, _)| begin + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_has_room_behind_its_number() {
        let free = |numbers: &[i32]| free_number(&numbers.iter().copied().collect());
        let alone = free(&[]);
        assert!(alone > 300);
        assert_eq!(free(&[5000, 5001]), 5002);
        assert!(free(&[2, 3, 4]) >= 301);
    }
}
