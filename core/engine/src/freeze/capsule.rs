//! A group that has namespaces for itself, looked at from within.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use dormouse_wire::{Pid, Problem, ProblemKind, ProcessName, phrase};

use super::turn;
use crate::Asker;
use crate::kernel::kcmp::{Owners, Shared};
use crate::kernel::{mounts, outside};
use crate::proc::{self, stat};
use crate::resource::fd::network::tcp::kept;
use crate::resource::fd::{self, FileFacts};
use crate::resource::named_file::shown;
use crate::resource::namespace::{self, Seen, member};
use crate::resource::task::credentials::{self, Credentials};
use crate::resource::task::{scheduling, timers};
use crate::survey;
use crate::survey::collect::{LivingFacts, ProcessFacts};
use crate::survey::files::OpenFiles;
use crate::survey::select;

/// What is seen of the namespaces that the engine has gone into, where the init of them is a member, and what stands in the way.
pub fn look(
    asker: Option<&Asker>,
    processes: &[ProcessFacts],
    open: &OpenFiles,
) -> Result<Option<(Seen, Vec<Problem>)>, Problem> {
    let Some(outside) = outside::known() else { return Ok(None) };
    let mut seen = namespace::look(outside)?;
    let mut problems = std::mem::take(&mut seen.problems);
    let members = members(processes);
    problems.extend(seen.judge(&members));
    problems.extend(seen.locked(&members));
    if seen.has_users() {
        problems.extend(ungiven(processes, seen.goes_home()));
    }
    if asker.is_some_and(|asker| asker.user != 0) {
        let what = phrase!("it is in a sandbox, whose files may be anybody's");
        problems.push(Problem::blocks(ProblemKind::Privilege, what).way_out(phrase!("An administrator can do it")));
    }
    problems.extend(guests(processes));
    problems.extend(terminals(processes, open));
    problems.extend(connections(open));
    if outside::has_own("ipc") {
        problems.extend(unopened_queues(open)?);
    }
    Ok(Some((seen, problems)))
}

/// Whom all threads belong to, but for those in user namespaces further in.
fn members(processes: &[ProcessFacts]) -> Vec<(ProcessName, Credentials)> {
    let all = |process: &ProcessFacts| {
        let threads = process.living.iter().flat_map(|living| &living.threads).map(|thread| &thread.status);
        let statuses = threads.chain(process.living.is_none().then_some(&process.status));
        let named = |status| (process.shown.clone(), credentials::of_status(status, 0));
        statuses.map(named).collect::<Vec<_>>()
    };
    processes.iter().filter(|process| !is_further_in(process, processes)).flat_map(all).collect()
}

/// Whether a process lives in a user namespace within that of the sandbox.
fn is_further_in(process: &ProcessFacts, processes: &[ProcessFacts]) -> bool {
    let user =
        |living: &LivingFacts| living.namespaces.iter().find(|(kind, _)| *kind == "user").map(|(_, inode)| *inode);
    let first = processes.iter().find(|process| process.pid == Pid(1)).and_then(|first| first.living.as_ref());
    process.living.as_ref().is_some_and(|living| user(living) != first.and_then(user))
}

/// What nobody in a user namespace can be given; `goes_home`: they are born in another one than they live in.
fn ungiven(processes: &[ProcessFacts], goes_home: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut places = Owners::of(Shared::Filesystem);
    for process in processes {
        let Some(living) = &process.living else { continue };
        // Whoever lives further in goes there before those are born that share with him.
        if goes_home && places.find_or_add(living.speaker).is_ok() && !is_further_in(process, processes) {
            problems.push(member::shares_its_place(&process.shown));
        }
        let mut threads = living.threads.iter().filter(|thread| thread.exited.is_none());
        // A thread that cannot be asked is asked again when it is recorded.
        let runs_before = threads.any(|thread| scheduling::is_favoured(thread.tid).unwrap_or_default());
        if runs_before || living.timers.iter().any(|timer| timers::wakes_the_machine(timer.clock)) {
            problems.push(member::is_favoured(&process.shown));
        }
    }
    problems
}

/// Connections that are to be kept: the group is ended from outside, by somebody who holds nobody off.
fn connections(open: &OpenFiles) -> Option<Problem> {
    let kept = open.facts.files.iter().find(|facts| kept::keeps(facts, &open.facts).is_some())?;
    let what = phrase!("a connection to outside of a sandbox cannot be kept yet");
    Some(kept.problem(ProblemKind::Socket, what).way_out(phrase!("Freeze it without --keep-connections")))
}

/// Terminals outside: nobody can be given one in another pid namespace than that of the shell which has it.
fn terminals(processes: &[ProcessFacts], open: &OpenFiles) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((_, number), process) in survey::terminals::outside(processes, open) {
        let name = shown(&fd::pty::node(number));
        let is_it =
            |facts: &FileFacts| fd::terminal::outside(facts, &open.facts).is_some_and(|(_, other)| other == number);
        problems.push(if open.facts.files.iter().any(is_it) {
            let what = phrase!("it has a terminal outside of its sandbox open, which it cannot be given again yet");
            let problem = Problem::blocks(ProblemKind::Terminal, what).of(&process).at(name);
            problem.way_out(phrase!(
                "Start the sandbox without one (< /dev/null > FILE 2>&1), or with one of its own (tmux, script)"
            ))
        } else {
            let what = phrase!("its session is on a terminal outside of its sandbox");
            Problem::loses(ProblemKind::Terminal, what, phrase!("that terminal: Ctrl-C there reaches it no more"))
                .of(&process)
                .at(name)
        });
    }
    problems
}

/// POSIX message queues that nobody has open, mq_overview(7).
fn unopened_queues(open: &OpenFiles) -> Result<Vec<Problem>, Problem> {
    let unread = |error: std::io::Error| {
        let what = phrase!("the message queues in its ipc namespace cannot be listed: {why}", why = error);
        Problem::blocks(ProblemKind::Namespace, what).way_out(phrase!("Run Dormouse as root"))
    };
    let mounted = mounts::new_filesystem("mqueue", b"mqueue", &[]).map_err(|errno| unread(errno.into()))?;
    let mut problems = Vec::new();
    for entry in std::fs::read_dir(mounts::reached_by(mounted.as_fd())).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let found = entry.metadata().map_err(unread)?;
        let place = (found.dev(), found.ino());
        if !open.facts.files.iter().any(|file| (file.stat.st_dev, file.stat.st_ino) == place) {
            let what = phrase!("it is a message queue in the ipc namespace of the group that nobody has open");
            let problem = Problem::loses(ProblemKind::File, what, phrase!("the queue, and what waits in it"));
            problems.push(problem.at(shown(Path::new(&entry.file_name()))));
        }
    }
    Ok(problems)
}

/// Processes that came into the sandbox from outside, and belong to nobody in it.
fn guests(processes: &[ProcessFacts]) -> Vec<Problem> {
    let own = Pid(std::process::id() as i32);
    let parent = |pid: Pid| proc::parsed(pid, "stat", stat::parse).ok().map(|stat| stat.ppid);
    let is_guest = |pid: &Pid| {
        let is_member = processes.iter().any(|process| process.pid == *pid);
        let of_dormouse = *pid == own || turn::is_dormouse(*pid) || parent(*pid).is_none_or(|parent| parent == own);
        !is_member && !of_dormouse
    };
    let guests = proc::list_pids().unwrap_or_default().into_iter().filter(is_guest).filter_map(select::shown);
    let what = phrase!("it came into the sandbox from outside (nsenter, perhaps), and would end with it");
    let way_out = phrase!("Let it end first");
    guests
        .map(|guest| Problem::blocks(ProblemKind::Namespace, what.clone()).of(&guest).way_out(way_out.clone()))
        .collect()
}
