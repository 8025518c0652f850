//! A capsule: a group whose members all live in one set of namespaces, the init of their pid namespace among them, as bubblewrap and
//! unshare(1) make it. It is frozen from within, and ended from outside, for with its init everybody in it ends, the engine too;
//! and it is woken in namespaces that are made for it.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::OnceLock;

use dormouse_wire::{Frozen, Pid, Problem, ProblemKind, Severity, phrase};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::os::fd::AsFd;

use super::verify::Capsule;
use super::{Inside, Side, free_number, numbers, outside, users, verify};
use crate::Asker;
use crate::image::{Reader, SectionKind};
use crate::kernel::clone::Relation;
use crate::kernel::outside::Outside;
use crate::kernel::{Errno, clone, files, namespaces, pidfd, procfs};
use crate::proc;
use crate::resource::group::Group;
use crate::resource::moves::Move;
use crate::resource::namespace::Namespaces;
use crate::resource::owners::Owners;
use crate::survey::select;

/// To the half outside, which ends the capsule.
static OTHER_HALF: OnceLock<UnixStream> = OnceLock::new();

/// Goes on in the capsule of this process.
pub fn enter(pid: Pid, capsule: &Capsule) -> Result<Side, Problem> {
    let failed = |what: &'static str| {
        move |errno: Errno| {
            let problem = phrase!("its namespaces cannot be entered: {what}: {why}", what, why = errno.desc());
            Problem::blocks(ProblemKind::Namespace, problem)
                .of(&select::named(pid))
                .way_out(phrase!("Run Dormouse as root"))
        }
    };
    let broken = |error: std::io::Error| failed("open")(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)));
    let link = |name: &str| files::open(&proc::folder(capsule.init).join("ns").join(name), libc::O_RDONLY);
    let pids = link("pid").map_err(failed("open"))?;
    // That of mounts last: with it, paths lead elsewhere.
    let others = capsule.own.iter().filter(|kind| !matches!(**kind, "pid" | "mnt" | "user")).chain([&"mnt"]);
    let others = others.map(|kind| link(kind)).collect::<Result<Vec<_>, _>>().map_err(failed("open"))?;
    let init = pidfd::open(capsule.init).map_err(failed("pidfd_open"))?;
    let numbers = verify::numbers(capsule.meant);
    let around = Outside::here(capsule.own.clone()).map_err(broken)?;
    let outer = files::open(Path::new("/proc"), libc::O_PATH | libc::O_DIRECTORY).map_err(failed("open"))?;
    let (ours, theirs) = UnixStream::pair().map_err(broken)?;
    namespaces::enter_pids_for_children(&pids).map_err(failed("setns"))?;
    match namespaces::fork().map_err(failed("fork"))? {
        namespaces::Side::Parent(worker) => {
            drop(theirs);
            outside::wait_or_end(worker, ours, &init)
        }
        namespaces::Side::Child => {
            drop(ours);
            prctl::set_pdeathsig(Signal::SIGTERM).map_err(failed("prctl"))?;
            // What an ordinary user has made may have anything at /proc, and may change it meanwhile.
            let is_users = capsule.own.contains(&"user");
            let trusted = is_users.then(procfs::new).transpose().map_err(failed("fsopen"))?;
            namespaces::enter(&others).map_err(failed("setns"))?;
            trusted.map(|trusted| procfs::trust_only(&trusted)).transpose().map_err(failed("fchdir"))?;
            if !is_users && !has_own_proc() {
                let what = phrase!("there is no /proc in its sandbox that shows the processes in it");
                let way_out = phrase!("Start it with one: bwrap --proc /proc, or unshare --mount-proc");
                return Err(Problem::blocks(ProblemKind::Namespace, what).of(&select::named(pid)).way_out(way_out));
            }
            around.begin();
            proc::see_outer(outer);
            let _ = OTHER_HALF.set(theirs);
            Ok(Side::Inside(Inside { numbers, is_whole: true, waits: capsule.waits, ..Inside::default() }))
        }
    }
}

/// Whether /proc is a proc(5) that shows the pid namespace of this process.
fn has_own_proc() -> bool {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    let is_proc = files::open(Path::new("/proc"), libc::O_PATH).and_then(|folder| files::filesystem(&folder));
    let own = std::fs::read_link("/proc/self");
    is_proc == Ok(PROC_SUPER_MAGIC) && own.is_ok_and(|own| own == Path::new(&std::process::id().to_string()))
}

/// Whether this process works within a capsule that the half outside is to end.
pub fn ends_from_outside() -> bool {
    OTHER_HALF.get().is_some()
}

/// The image is sealed, and the capsule stands still: it is ended from outside, and this process with it. Who waits there tells of
/// the freeze. Answers only where nobody does.
pub fn fall_asleep(frozen: &Frozen) -> Problem {
    let told = OTHER_HALF.get().map(|mut other| {
        ciborium::into_writer(frozen, &mut other).map_err(|error| error.to_string())?;
        other.flush().and_then(|()| other.shutdown(Shutdown::Write)).map_err(|error| error.to_string())?;
        // The end comes as a signal; the end of the other half comes here.
        other.read(&mut [0]).map_err(|error| error.to_string())
    });
    let what = match told {
        Some(Err(why)) => {
            phrase!("the group could not be ended after its image was sealed: {why}; it runs on beside it", why)
        }
        _ => phrase!("the group could not be ended after its image was sealed; it runs on beside it"),
    };
    Problem::blocks(ProblemKind::Process, what)
        .at(frozen.image.display().to_string())
        .way_out(phrase!("Remove the image"))
}

/// What an image with namespaces needs to be woken.
struct Wanted {
    reader: Reader,
    record: Namespaces,
    group: Group,
}

/// Goes on in namespaces made for the group of this image, where it had some for itself; `None` where it had not, and where that
/// cannot be told: then the thaw says why. This process must have no other threads.
/// `moves`: what of the outside has moved since the freeze; `owners`: who takes whose place.
pub fn make(
    image: &Path,
    asker: Option<&Asker>,
    moves: &[Move],
    owners: &Owners,
) -> Result<Option<Side>, Vec<Problem>> {
    let Some(mut wanted) = wanted(image, asker) else { return Ok(None) };
    let mut misfits = owners.misfits(&wanted.group, Some(&wanted.record));
    misfits.retain(|misfit| misfit.severity == Severity::Blocks);
    if !misfits.is_empty() {
        return Err(misfits);
    }
    owners.lead(&mut wanted.group, Some(&mut wanted.record));
    let unmoved = wanted.group.moved(moves, Some(&mut wanted.record));
    let mut problems = verify::trust(&wanted.reader, &wanted.record, asker);
    if problems.is_empty() {
        problems = wanted.record.preflight(&wanted.reader);
        problems.extend(users::members(&wanted.record, &wanted.group));
    }
    problems.extend(unmoved);
    if !problems.is_empty() {
        return Err(problems);
    }
    settle(&wanted).map(Some).map_err(|problem| vec![problem])
}

fn wanted(image: &Path, asker: Option<&Asker>) -> Option<Wanted> {
    let reader = match asker {
        Some(asker) => asker.open(image).ok()?,
        None => Reader::open(image).ok()?,
    };
    let record = reader.optional_section(SectionKind::Namespaces).ok()??;
    let group = reader.section(SectionKind::Group).ok()?;
    Some(Wanted { reader, record, group })
}

pub(super) fn unmade(what: &'static str) -> impl Fn(Errno) -> Problem {
    move |errno| {
        let problem = phrase!("namespaces for the group cannot be made: {what}: {why}", what, why = errno.desc());
        Problem::blocks(ProblemKind::Namespace, problem)
            .way_out(phrase!("Run Dormouse as root, outside of any sandbox"))
    }
}

fn settle(wanted: &Wanted) -> Result<Side, Problem> {
    match namespaces::fork().map_err(unmade("fork"))? {
        namespaces::Side::Parent(maker) => outside::wait_for(maker).map(Side::Outside),
        namespaces::Side::Child => {
            prctl::set_pdeathsig(Signal::SIGTERM).map_err(unmade("prctl"))?;
            begin(wanted)
        }
    }
}

/// In the process that makes the namespaces: it lives in all of them but that of pids, whose init it makes, and the worker beside it.
/// Its end is theirs until the group runs.
fn begin(wanted: &Wanted) -> Result<Side, Problem> {
    let io = |what: &'static str| {
        move |error: std::io::Error| unmade(what)(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
    };
    let kinds: Vec<&str> = wanted.record.own.iter().map(String::as_str).collect();
    let known = crate::resource::namespace::KINDS.into_iter().filter(|kind| kinds.contains(kind)).collect();
    let around = Outside::here(known).map_err(io("open"))?;
    let clocks = files::open(Path::new("/proc/self/ns/time"), libc::O_RDONLY).ok();
    nix::unistd::chdir("/").map_err(unmade("chdir"))?;
    // Of pids last, so that its first process is born with the clocks of the group.
    let (pids, others): (Vec<&str>, Vec<&str>) = kinds
        .iter()
        .filter(|kind| **kind != "user" && wanted.record.owner(kind).is_none_or(|_| **kind == "mnt"))
        .partition(|kind| **kind == "pid");
    namespaces::part_with(&others).map_err(unmade("unshare"))?;
    let own = free_number(&numbers(&wanted.group));
    // Of what is lost where that is not possible, the thaw tells.
    let shifted = wanted.group.clocks.restore().is_none();
    namespaces::part_with(&pids).map_err(unmade("unshare"))?;
    if wanted.record.users.is_empty() {
        first_process(own, Relation::Child)?;
    } else {
        users::make(&wanted.record, &wanted.group, own)?;
    }
    if let Some(clocks) = clocks.filter(|_| shifted) {
        namespaces::enter(&[clocks]).map_err(unmade("setns"))?;
    }
    match clone::fork_sharing_files().map_err(unmade("clone"))? {
        namespaces::Side::Parent(worker) => {
            namespaces::part_with_files().map_err(unmade("unshare"))?;
            let status = outside::wait_for(worker)?;
            std::process::exit(i32::from(status))
        }
        namespaces::Side::Child => {
            prctl::set_pdeathsig(Signal::SIGTERM).map_err(unmade("prctl"))?;
            let outer = files::open(Path::new("/proc"), libc::O_PATH | libc::O_DIRECTORY).map_err(unmade("open"))?;
            let losses = wanted.record.restore(&wanted.reader)?;
            around.begin();
            proc::see_outer(outer);
            Ok(Side::Inside(Inside { is_whole: true, losses, ..Inside::default() }))
        }
    }
}

/// Makes the init of the new pid namespace, which sleeps until the worker takes hold of it. Whoever is born after it has this number.
pub(super) fn first_process(own: i32, relation: Relation) -> Result<(), Problem> {
    const BREATH: u16 = 20;
    const PATIENCE: usize = 500;
    let (mut read, mut written) = std::io::pipe().map_err(|_| unmade("pipe")(Errno::EMFILE))?;
    let init = match clone::fork_sharing(relation).map_err(unmade("clone"))? {
        namespaces::Side::Parent(init) => init,
        namespaces::Side::Child => {
            let ready = prctl::set_pdeathsig(Signal::SIGKILL).is_ok() && namespaces::next_pid(own).is_ok();
            let _ = written.write_all(&[u8::from(ready)]);
            if ready { clone::sleep() } else { std::process::exit(1) }
        }
    };
    for breath in 0.. {
        let mut files = [PollFd::new(read.as_fd(), PollFlags::POLLIN)];
        if matches!(poll(&mut files, PollTimeout::from(BREATH)), Ok(1..)) {
            let mut byte = [0];
            let ready = read.read(&mut byte).is_ok() && byte == [1];
            return if ready {
                Ok(())
            } else {
                Err(unmade("the number of its next process cannot be chosen")(Errno::EPERM))
            };
        }
        // Somebody else's child is not waited for.
        let is_there = match relation {
            Relation::Sibling => breath < PATIENCE,
            Relation::Child => {
                matches!(waitpid(init, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive) | Err(Errno::EINTR))
            }
        };
        if !is_there {
            break;
        }
    }
    Err(unmade("the first process has ended")(Errno::ECHILD))
}

/// What a pidfd says of a process: whether it has ended by then, milliseconds.
pub fn has_ended(process: &OwnedFd, patience: u16) -> bool {
    let mut files = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut files, PollTimeout::from(patience)), Ok(1..))
}
