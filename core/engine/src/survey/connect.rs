//! What cannot be cut: processes outside the group that hold the other end of its pipes or socket pairs, are on its
//! terminals, map its shared memory, or share a table of descriptors or a working directory with it.

use std::collections::{HashMap, HashSet};

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, ProcessName, phrase};
use nix::unistd::{Pid as Raw, getpgid, getsid};

use super::collect::ProcessFacts;
use super::files::OpenFiles;
use crate::kernel::kcmp::{Owners, Shared};
use crate::kernel::terminal;
use crate::proc::maps::{Mapping, MappingName, VmFlags, parse_maps};
use crate::proc::{self, stat};
use crate::resource::fd::{pty, unix};

/// A process outside the group that maps shared memory of the group.
#[derive(Clone, Debug)]
pub struct Sharer {
    /// The process outside.
    pub outside: ProcessName,
    /// The process of the group.
    pub inside: ProcessName,
    /// What is shared, for a person.
    pub shown: Phrase,
}

/// Device (major and minor) and inode number.
type Inode = ((u32, u32), u64);

/// Everybody outside who maps memory that is the group's own: shared, and without a name to find it by.
pub fn sharers(processes: &[ProcessFacts]) -> Vec<Sharer> {
    let mut shared: HashMap<Inode, (&ProcessName, Phrase)> = HashMap::new();
    for process in processes {
        for found in process.living.iter().flat_map(|living| &living.mappings) {
            if found.flags.contains(VmFlags::MAY_SHARE) && is_nameless(&found.mapping) {
                let shown = crate::resource::memory::mapping::shown_name(&found.name);
                shared.insert((found.device, found.inode), (&process.shown, shown));
            }
        }
    }
    if shared.is_empty() {
        return Vec::new();
    }
    let members: HashSet<Pid> = processes.iter().map(|process| process.pid).collect();
    let own = Pid(std::process::id() as i32);
    let mut sharers = Vec::new();
    for pid in proc::list_pids().unwrap_or_default() {
        if pid == own || members.contains(&pid) {
            continue;
        }
        // Whoever ends meanwhile, or may not be looked at, shares nothing with us that we could give back.
        let mappings = proc::parsed(pid, "maps", parse_maps).unwrap_or_default();
        let hit = mappings.iter().find_map(|mapping| shared.get(&(mapping.device, mapping.inode)));
        if let Some((inside, shown)) = hit {
            let comm = proc::parsed(pid, "stat", stat::parse).map(|stat| stat.comm).unwrap_or_default();
            let outside = ProcessName { pid, comm: String::from_utf8_lossy(&comm).into_owned() };
            sharers.push(Sharer { outside, inside: (*inside).clone(), shown: shown.clone() });
        }
    }
    sharers
}

fn is_nameless(mapping: &Mapping) -> bool {
    match &mapping.name {
        MappingName::File(path) => proc::strip_deleted(path).1,
        MappingName::AnonymousShared(_) => true,
        _ => false,
    }
}

/// The processes that belong to the group because they cannot be cut from it.
pub fn joined(processes: &[ProcessFacts], open: &OpenFiles, sharers: &[Sharer]) -> Vec<Pid> {
    let pipes = open.facts.files.iter().filter(|file| file.link.starts_with(b"pipe:["));
    let ends = pipes.flat_map(|pipe| open.facts.held_outside(&pipe.stat)).filter_map(|holder| holder.here);
    let masters = open.facts.files.iter().filter(|file| pty::is_master(file));
    let numbers = masters.filter_map(|master| terminal::number(&master.file).ok());
    let on_terminals = numbers.flat_map(|number| pty::users_outside(number, &open.facts)).map(|process| process.pid);
    // A display server shares memory with each of its clients: none of them takes it along, and it takes none along.
    let apart = if sharers.is_empty() { Vec::new() } else { unix::facts::servers_and_clients(&open.facts) };
    let sharers = sharers.iter().map(|sharer| sharer.outside.pid).filter(|pid| !apart.contains(pid));
    let sockets = unix::facts::joined(&open.facts);
    let mut joined: Vec<Pid> = ends.chain(sockets).chain(sharers).chain(on_terminals).collect();
    joined.extend(of_one_piece(processes));
    joined.sort();
    joined.dedup();
    if joined.is_empty() {
        return joined;
    }
    // Neither the system itself nor whoever runs this command is put to sleep for a pipe or a terminal.
    let own = ancestors(Pid(std::process::id() as i32));
    joined.retain(|pid| pid.0 != 1 && !own.contains(pid));
    joined
}

/// Who shares something as a whole with a member, kcmp(2): a table of descriptors, root and working directory, memory.
fn of_one_piece(processes: &[ProcessFacts]) -> Vec<Pid> {
    let mut found = Vec::new();
    let members: HashSet<Pid> = processes.iter().map(|process| process.pid).collect();
    let mut others = proc::list_pids().unwrap_or_default();
    others.retain(|pid| !members.contains(pid));
    for what in [Shared::Files, Shared::Filesystem, Shared::Memory] {
        let mut owners = Owners::of(what);
        for living in processes.iter().filter_map(|process| process.living.as_ref()) {
            let _ = owners.find_or_add(living.speaker);
        }
        found.extend(others.iter().filter(|pid| owners.find(pid.leader()).is_some()));
    }
    found
}

/// Whose parents are dead, in the sessions and process groups that members lead: init has adopted them, or a subreaper.
pub fn orphans(processes: &[ProcessFacts]) -> Vec<Pid> {
    let own = ancestors(Pid(std::process::id() as i32));
    let members: HashMap<Pid, Pid> = processes.iter().map(|process| (process.pid, process.stat.session)).collect();
    let session = |pid: Pid| getsid(Some(Raw::from_raw(pid.0))).ok().map(|session| Pid(session.as_raw()));
    let process_group = |pid: Pid| getpgid(Some(Raw::from_raw(pid.0))).ok().map(|group| Pid(group.as_raw()));
    // A child is born into its parent's session; whoever is in another one has lost that parent, or leads a session.
    let has_lost_its_parent = |pid: Pid, session_of: Pid| {
        let parent = proc::parsed(pid, "stat", stat::parse).map(|stat| stat.ppid);
        session_of != pid && parent.is_ok_and(|parent| session(parent) != Some(session_of))
    };
    let belongs = |pid: &Pid| {
        // Whoever ends meanwhile belongs to nobody.
        let (Some(session), Some(group)) = (session(*pid), process_group(*pid)) else { return false };
        members.get(&session) == Some(&session) || members.contains_key(&group) && has_lost_its_parent(*pid, session)
    };
    let mut pids = proc::list_pids().unwrap_or_default();
    pids.retain(|pid| pid.0 != 1 && !members.contains_key(pid) && !own.contains(pid) && belongs(pid));
    pids
}

/// A process and all above it.
fn ancestors(pid: Pid) -> Vec<Pid> {
    let parent = |pid: &Pid| {
        let stat = proc::parsed(*pid, "stat", stat::parse).ok()?;
        Some(stat.ppid).filter(|parent| parent.0 > 0)
    };
    std::iter::successors(Some(pid), parent).collect()
}

/// Shared memory that somebody outside has too cannot be given back.
pub fn judge(sharers: &[Sharer]) -> Vec<Problem> {
    let problem = |sharer: &Sharer| {
        let what = phrase!("{outside} has this memory too and is not part of the group", outside = sharer.outside);
        let problem = Problem::blocks(ProblemKind::Memory, what).of(&sharer.inside);
        problem
            .at(phrase!("shared memory {shown}", shown = sharer.shown))
            .way_out(phrase!("Freeze them together, or pause the group instead"))
    };
    sharers.iter().map(problem).collect()
}
