//! Whether an image can be thawed here: every problem at once, before anything exists.
//!
//! An image is untrusted: what it says is checked before it is believed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dormouse_wire::{ByteSize, Phrase, Pid, Problem, ProblemKind, Severity, phrase};

use super::inner::InnerMade;
use super::{consistent, hard_limits, objects, stand_ins, trust};
use crate::image::{Reader, SectionKind};
use crate::kernel::identity::Acting;
use crate::kernel::{files, outside};
use crate::resource::content::Content;
use crate::resource::fd::kind_named;
use crate::resource::fd::network::tcp::kept;
use crate::resource::group::{Group, Life, Process};
use crate::resource::memory::layout::Executable;
use crate::resource::memory::mapping::Backing;
use crate::resource::named_file::shown;
use crate::resource::namespace::mount::Table;
use crate::resource::namespace::{Namespaces, user};
use crate::resource::task::credentials::{Credentials, Privileges};
use crate::resource::task::limits::Reach;
use crate::resource::task::seccomp::Seccomp;
use crate::{Pids, ThawError, ThawOptions, pid_namespace};

/// What stands in the way of a thaw of this record, whoever wrote it, and what would be lost by one. Makes nothing.
pub fn preflight(group: &Group, reader: &Reader, options: &ThawOptions) -> Vec<Problem> {
    let mut group = group.clone();
    let lost = kept::give_up(&mut group.open_files, group.hold.as_deref(), options.reset_connections);
    // What cannot be read of them is told below.
    let mut namespaces = capsule(reader).unwrap_or_default();
    let misfits = options.owners.misfits(&group, namespaces.as_ref());
    options.owners.lead(&mut group, namespaces.as_mut());
    let lowered = hard_limits::lower(&mut group, reader);
    let unmoved = group.moved(&options.moves, namespaces.as_mut());
    if let (Some(namespaces), None) = (namespaces, outside::known()) {
        return [unmoved, misfits, before_it_is_made(&namespaces, &group, reader, options)].concat();
    }
    let chosen = stand_ins::choose(&mut group, reader, options, stand_ins::How::Look);
    let mut problems = problems(&group, reader, options);
    stand_ins::say_remedies(&mut problems, &mut group, reader, options);
    problems.extend(chosen);
    problems.extend(unmoved);
    problems.extend(lost);
    problems.extend(lowered.into_iter().chain(misfits));
    let is_taken = |problem: &Problem| problem.kind == ProblemKind::PidTaken;
    if options.pids == Pids::Elsewhere && problems.iter().any(is_taken) && pid_namespace::can_be_made() {
        problems.retain(|problem| !is_taken(problem));
        problems.extend(own_pids(&ThawOptions { pids: Pids::Own, ..options.clone() }));
        problems.sort();
    }
    problems
}

/// The record of the group, led to whom it belongs to here and to where its paths have moved; what of that cannot be meant.
pub fn group(reader: &Reader, options: &ThawOptions) -> Result<(Group, Vec<Problem>), Problem> {
    let mut group: Group = reader.section(SectionKind::Group).map_err(|error| error.problem())?;
    // What cannot be read of them is told with all that is in the way.
    let misfits = options.owners.misfits(&group, capsule(reader).unwrap_or_default().as_ref());
    options.owners.lead(&mut group, None);
    let mut told = hard_limits::lower(&mut group, reader);
    told.extend(misfits);
    if !options.moves.is_empty() {
        told.extend(group.moved(&options.moves, capsule(reader)?.as_mut()));
    }
    Ok((group, told))
}

/// The namespaces that the group had for itself.
fn capsule(reader: &Reader) -> Result<Option<Namespaces>, Problem> {
    reader.optional_section(SectionKind::Namespaces).map_err(|error| error.problem())
}

/// What can be said of a group with namespaces for itself as long as they are not there: what its files are, shows within.
fn before_it_is_made(namespaces: &Namespaces, group: &Group, reader: &Reader, options: &ThawOptions) -> Vec<Problem> {
    let mut problems = consistent::problems(group, reader);
    problems.extend(trust::problems(group, reader, options.asker.as_ref()));
    problems.extend(pid_namespace::trust(reader, namespaces, options.asker.as_ref()));
    if problems.is_empty() {
        problems.extend(namespaces.preflight(reader));
        problems.extend(super::processor::preflight(group, reader));
        problems.extend(pid_namespace::members(namespaces, group));
        problems.extend(privileges(group, namespaces.users.is_empty()));
        problems.extend(confinement(group));
        problems.extend(objects::room(group));
        problems.extend(room(group));
    }
    problems.sort();
    problems.dedup();
    problems
}

/// A group that had namespaces for itself is woken in ones that were made for it, and nowhere else.
fn is_at_home(reader: &Reader) -> Option<Problem> {
    let what = match capsule(reader) {
        Err(problem) => return Some(problem),
        Ok(Some(_)) if outside::known().is_none() => {
            phrase!("the group had namespaces for itself, and none were made for it")
        }
        Ok(None) if outside::known().is_some() => {
            phrase!("the group had no namespaces for itself, and some were made for it")
        }
        Ok(_) => return None,
    };
    Some(Problem::blocks(ProblemKind::Namespace, what).at(reader.path().display().to_string()))
}

/// That the group comes back in a pid namespace of its own, if it does.
pub fn own_pids(options: &ThawOptions) -> Option<Problem> {
    const WHY: Phrase =
        phrase!("others have pids of it: it comes back in a pid namespace of its own, where it keeps its numbers");
    let loss = phrase!("it sees no other processes than its own, and those see it under other numbers");
    (options.pids == Pids::Own).then(|| Problem::loses(ProblemKind::PidTaken, WHY, loss))
}

/// The same as the thaw itself finds it: a pid that somebody has is taken.
pub fn problems(group: &Group, reader: &Reader, options: &ThawOptions) -> Vec<Problem> {
    let mut problems = consistent::problems(group, reader);
    problems.extend(trust::problems(group, reader, options.asker.as_ref()));
    problems.extend(is_at_home(reader));
    problems.extend(super::inner::preflight(group, reader, options.asker.as_ref()));
    if !problems.is_empty() {
        return problems;
    }
    problems.extend(super::vdsos::check(group));
    problems.extend(super::processor::preflight(group, reader));
    problems.extend(pids(group));
    problems.extend(privileges(group, user::made().is_none()));
    problems.extend(confinement(group));
    problems.extend(super::terminals::preflight(group, options));
    problems.extend(objects::room(group));
    problems.extend(room(group));
    problems.extend(super::huge_pages::preflight(group));
    problems.extend(super::control_groups::preflight(group, reader, options));
    problems.extend(super::segments::preflight(group));
    problems.extend(super::system_v::preflight(group));
    problems.extend(files_among(group, reader, None));
    problems.sort();
    problems.dedup();
    problems
}

/// What can be said of files and directories among mounts within the group, now that those have been made; nothing else is there yet.
pub fn look_within(group: &Group, inner: &InnerMade, reader: &Reader) -> Result<(), ThawError> {
    let mut problems = Vec::new();
    for (index, _) in group.inner.iter().enumerate().filter(|(_, inner)| inner.kind == "mnt") {
        problems.extend(inner.among(Some(index), || files_among(group, reader, Some(index)))?);
    }
    problems.sort();
    problems.dedup();
    if problems.iter().any(|problem| problem.severity == Severity::Blocks) {
        return Err(ThawError::Refused(problems));
    }
    Ok(())
}

/// Files that are missing or have changed, and directories that cannot be entered: of those among these mounts, by their names here.
fn files_among(group: &Group, reader: &Reader, mounts: Option<usize>) -> Vec<Problem> {
    let mut problems = places(group, trust::is_mighty(reader), mounts);
    for (index, file) in group.mapped_files.iter().enumerate().filter(|(_, file)| file.mounts == mounts) {
        let mut problem = file.check(true);
        if problem.is_empty() {
            problem.extend(file.may_open(if file.writable { libc::O_RDWR } else { libc::O_RDONLY }));
        }
        // A file that is mapped only to be run or read by itself is named once, however many processes map it.
        let users = group.processes.iter().filter(|process| uses(process, index)).count();
        problems.extend(problem.into_iter().filter(|_| users > 0));
    }
    problems.extend(group.contents.iter().filter(|one| one.mounts == mounts).filter_map(Content::preflight));
    for file in group.open_files.iter().filter(|file| file.mounts == mounts) {
        match kind_named(file) {
            Ok(kind) => problems.extend(kind.preflight(file)),
            Err(problem) => problems.push(problem),
        }
    }
    problems
}

fn uses(process: &Process, file: usize) -> bool {
    process.alive().is_some_and(|alive| {
        alive.memory.layout.executable == Executable::Named(file)
            || alive.memory.mappings.iter().any(|mapping| mapping.backing == Backing::File(file))
    })
}

/// Pids and tids that others have.
fn pids(group: &Group) -> Vec<Problem> {
    let mut problems = Vec::new();
    for process in &group.processes {
        let threads = process.alive().map(|alive| alive.threads.iter().map(|thread| thread.tid.0).collect());
        for number in threads.unwrap_or_else(|| vec![process.pid().0]) {
            // The init of a namespace that was made for the group waits for it to become this process.
            if number == 1 && outside::known().is_some() {
                continue;
            }
            let Ok(status) = crate::proc::parsed(Pid(number), "status", crate::proc::status::parse) else { continue };
            let name = String::from_utf8_lossy(&status.name).into_owned();
            let zombie = status.state == crate::proc::stat::State::Zombie;
            let (what, way_out) = if zombie {
                let what = phrase!(
                    "pid {number} is still held by {name}, which has ended but has not been waited for",
                    number,
                    name
                );
                (what, phrase!("Wait until its parent, pid {ppid}, has reaped it", ppid = status.ppid))
            } else {
                let what = phrase!("pid {number} belongs to another process now: {name}", number, name);
                (what, phrase!("End that process, or wait until it has ended"))
            };
            problems.push(Problem::blocks(ProblemKind::PidTaken, what).of(&process.shown()).way_out(way_out));
        }
    }
    problems
}

/// Credentials and limits that the engine cannot give, because it does not have them itself.
///
/// `outside`: it has no user namespace of its own, in which whoever comes has all capabilities.
fn privileges(group: &Group, outside: bool) -> Vec<Problem> {
    let reach = Reach::own();
    let mut problems = Vec::new();
    for process in &group.processes {
        let is_outside = outside && process.place.user.is_none();
        let own = if is_outside { Privileges::own() } else { Privileges::whole(true) };
        let hard = process.alive().map(|alive| alive.limits.0.iter().map(|(_, hard)| *hard));
        problems.extend(hard.and_then(|hard| reach.judge(hard, &process.shown())));
        let credentials: Vec<_> = match &process.life {
            Life::Alive(alive) => alive.threads.iter().map(|thread| &thread.credentials).collect(),
            Life::Zombie(zombie) => vec![&zombie.credentials],
        };
        let lacking = credentials.iter().fold(0, |lacking, credentials| lacking | own.lacking(credentials));
        if lacking != 0 {
            let what = phrase!(
                "it had capabilities that Dormouse does not have here (bits {lacking})",
                lacking = format_args!("{lacking:#x}")
            );
            let problem = Problem::blocks(ProblemKind::Privilege, what).of(&process.shown());
            problems.push(problem.way_out(phrase!("Thaw it with more privileges")));
        }
    }
    problems
}

/// Working and root directories that are not there, or that the process may not enter; `mighty`: root enters them for it.
fn places(group: &Group, mighty: bool, mounts: Option<usize>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let late = mounts.map(|mounts| late_places(group, mounts)).unwrap_or_default();
    for process in group.processes.iter().filter(|process| process.place.mnt == mounts) {
        let Some(alive) = process.alive() else { continue };
        let Some(place) = group.filesystems.get(alive.filesystem) else { continue };
        let credentials = alive.threads.first().map(|thread| &thread.credentials).filter(|_| !mighty);
        let who = credentials.map(Credentials::towards_files);
        // Where it cannot act as the user, the thaw cannot either, and says so.
        let Ok(_acting) = who.as_ref().map(Acting::begin).transpose() else { continue };
        let named = [
            (phrase!("working directory"), &place.working_directory, place.ended.working_directory),
            (phrase!("root directory"), &place.root, place.ended.root),
        ];
        for (what, path, _) in named.into_iter().filter(|(.., ended)| !ended) {
            // With a dot behind it for the right to enter it.
            let path = Path::new(OsStr::from_bytes(path));
            if late.iter().any(|late| path.starts_with(late)) {
                continue;
            }
            if let Err(errno) = files::open(&path.join("."), libc::O_PATH | libc::O_DIRECTORY) {
                let problem = phrase!("its {what} cannot be entered: {why}", what, why = errno.desc());
                let problem = Problem::blocks(ProblemKind::File, problem).of(&process.shown()).at(shown(path));
                problems.push(problem.way_out(phrase!("Make it again, then thaw again")));
            }
        }
    }
    problems
}

/// Where something is mounted that is not there before the processes are.
fn late_places(group: &Group, mounts: usize) -> Vec<&Path> {
    let Some(inner) = group.inner.get(mounts) else { return Vec::new() };
    let late = Table { filesystems: &group.mounted, mounts: &inner.mounts }.late();
    let late = inner.mounts.iter().zip(late).filter(|(_, late)| *late);
    late.map(|(mount, _)| Path::new(OsStr::from_bytes(&mount.mount_point))).collect()
}

/// Filters can be held off by somebody mighty only, for as long as the engine works in those that they confine.
fn confinement(group: &Group) -> Option<Problem> {
    let is_confined = |process: &&Process| {
        process.alive().is_some_and(|alive| alive.threads.iter().any(|thread| thread.seccomp != Seccomp::Off))
    };
    let confined = group.processes.iter().find(is_confined).filter(|_| !crate::kernel::seccomp::may_suspend())?;
    let what = phrase!(
        "it is to be confined by seccomp, and Dormouse may not hold that off until it is complete: that wants CAP_SYS_ADMIN, and a Dormouse that is not confined itself"
    );
    let problem = Problem::blocks(ProblemKind::Privilege, what).of(&confined.shown());
    Some(problem.way_out(phrase!("Run Dormouse as root, outside of any sandbox")))
}

/// Memory that must be there for what the group has in its own pages.
fn room(group: &Group) -> Vec<Problem> {
    let wanted = super::fill::resident(group);
    let available = std::fs::read("/proc/meminfo").map_or(u64::MAX, |text| available(&text));
    if wanted <= available {
        return Vec::new();
    }
    let what = phrase!(
        "the group needs {wanted} of memory, and {available} are available",
        wanted = ByteSize(wanted),
        available = ByteSize(available)
    );
    vec![Problem::blocks(ProblemKind::Space, what).way_out(phrase!("End other programs, or add swap"))]
}

/// Memory and swap that can be had, bytes, proc_meminfo(5).
fn available(text: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(text);
    let kilobytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
    };
    match kilobytes("MemAvailable") {
        Some(memory) => memory.saturating_add(kilobytes("SwapFree").unwrap_or(0)).saturating_mul(1024),
        None => u64::MAX,
    }
}
