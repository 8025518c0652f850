//! What stands in the way of a freeze, and what would be lost: every reason, not only the first.

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, phrase};

use super::collect::{LivingFacts, ProcessFacts, Stray};
use super::connect::{self, Sharer};
use super::files::OpenFiles;
use super::{confinement, mapped, segments, system_v, terminals};
use crate::kernel::kcmp::{Owners, Shared};
use crate::kernel::outside;
use crate::proc;
use crate::resource::fd;
use crate::resource::memory::mapping;
use crate::resource::memory::vdso::Sort;
use crate::resource::task::control_group;
use crate::resource::task::limits::Reach;
use crate::resource::task::zombie;

/// All reasons.
pub fn judge(processes: &[ProcessFacts], files: &OpenFiles, sharers: &[Sharer]) -> Vec<Problem> {
    let reach = Reach::own();
    let mut problems = Vec::new();
    for process in processes {
        problems.extend(status(process));
        if process.living.is_none() {
            problems.extend(zombie::judge(process.stat.exit_code, &process.shown));
        }
        if let Some(living) = &process.living {
            problems.extend(places(process, living));
            problems.extend(odd_sort(process, living));
            problems.extend(reach.judge(living.limits.iter().map(|limit| limit.hard), &process.shown));
            problems.extend(living.mappings.iter().flat_map(|found| mapping::judge(found, &process.shown)));
            let elsewhere = living.threads.iter().filter_map(|thread| thread.control_groups.as_ref()).flatten();
            let control_groups: Vec<_> = living.control_groups.iter().chain(elsewhere).cloned().collect();
            problems
                .extend(control_group::judge(&control_groups).into_iter().map(|problem| problem.of(&process.shown)));
        }
    }
    problems.extend(clocks(processes));
    problems.extend(mapped::judge(processes));
    problems.extend(confinement::judge(processes));
    problems.extend(system_v::judge(processes));
    problems.extend(segments::judge(processes, sharers));
    problems.extend(connect::judge(sharers));
    problems.extend(terminals::judge(processes, files));
    problems.extend(shared_between_processes(processes));
    for facts in &files.facts.files {
        problems.extend(fd::judge(facts, &files.facts));
    }
    problems
}

fn status(process: &ProcessFacts) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |kind, what: Phrase, way_out: Phrase| {
        problems.push(Problem::blocks(kind, what).of(&process.shown).way_out(way_out));
    };
    // The init of a namespace that the engine has gone into belongs to the group.
    if process.status.kernel_thread == Some(true) || process.pid == Pid(1) && outside::known().is_none() {
        refuse(ProblemKind::Process, phrase!("it belongs to the system itself"), phrase!("Choose another process"));
    }
    if process.pid.0 as u32 == std::process::id() {
        refuse(ProblemKind::Selection, phrase!("Dormouse cannot freeze itself"), phrase!("Choose another process"));
    }
    let threads = process.living.iter().flat_map(|living| &living.threads);
    let statuses = || threads.clone().map(|thread| &thread.status).chain([&process.status]);
    if statuses().any(|status| status.thread_features.iter().flatten().any(|feature| feature == "shstk")) {
        refuse(
            ProblemKind::Processor,
            phrase!("it uses a shadow stack, which cannot be given back yet"),
            phrase!("Pause the group instead"),
        );
    }
    let strays = process.living.iter().flat_map(|living| &living.threads);
    for (tid, stray) in strays.filter_map(|thread| Some((thread.tid, thread.strays?))) {
        let what = match stray {
            Stray::Namespace(kind) => phrase!(
                "its thread {tid} alone lives in another namespace ({kind}) than the others, which cannot be given back yet",
                tid,
                kind = kind.trim_end_matches("_for_children")
            ),
            Stray::Files => phrase!(
                "its thread {tid} has a table of descriptors of its own (unshare), which cannot be given back yet",
                tid
            ),
            Stray::Filesystem => phrase!(
                "its thread {tid} has a working directory of its own (unshare), which cannot be given back yet",
                tid
            ),
        };
        refuse(ProblemKind::Process, what, phrase!("Pause the group instead"));
    }
    // The kernel names the thread that traces.
    let own_tracer = nix::unistd::gettid().as_raw();
    let tracer = process.status.tracer.filter(|tracer| tracer.0 != 0 && tracer.0 != own_tracer);
    if let Some(tracer) = tracer {
        let what = phrase!("pid {tracer} traces it", tracer);
        refuse(ProblemKind::Tracer, what, phrase!("Let the debugger go first"));
    }
    problems
}

/// Programs with short addresses in 64-bit code.
fn odd_sort(process: &ProcessFacts, living: &LivingFacts) -> Option<Problem> {
    if living.sort != Sort::Other {
        return None;
    }
    let what = phrase!("it is a program of the x32 ABI, and those cannot be frozen yet");
    Some(Problem::blocks(ProblemKind::Processor, what).of(&process.shown).way_out(phrase!("Pause it instead")))
}

/// All come back with the clocks of the first one.
fn clocks(processes: &[ProcessFacts]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let living = || processes.iter().filter_map(|process| Some((process, process.living.as_ref()?)));
    let Some(first) = living().next().map(|(_, living)| living.clock_offsets) else { return problems };
    for (process, found) in living() {
        if found.clocks_for_children {
            let what = phrase!("it has made a time namespace for its children, which cannot be given back yet");
            let problem = Problem::blocks(ProblemKind::Namespace, what).of(&process.shown);
            problems.push(problem.way_out(phrase!("Pause the group instead")));
        }
        if found.clock_offsets != first {
            let ahead = (first.monotonic.saturating_sub(found.clock_offsets.monotonic)) / 1_000_000_000;
            let what = phrase!("it lives in another time namespace than the first process of the group");
            let loss = phrase!("its own clocks: CLOCK_MONOTONIC jumps by {ahead} s", ahead);
            problems.push(Problem::loses(ProblemKind::Namespace, what, loss).of(&process.shown));
        }
    }
    problems
}

fn places(process: &ProcessFacts, living: &LivingFacts) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (what, place, ended) in [
        (phrase!("working directory"), &living.working_directory, living.ended.working_directory),
        (phrase!("root directory"), &living.root, living.ended.root),
    ] {
        if proc::strip_deleted(place).1 && !ended {
            let problem = Problem::blocks(ProblemKind::File, phrase!("its {what} has been removed", what));
            let shown = String::from_utf8_lossy(place).escape_debug().to_string();
            problems.push(
                problem.of(&process.shown).at(shown).way_out(phrase!("Let the program change to another directory")),
            );
        }
    }
    problems
}

/// Address spaces and handlers that several processes share, as between vfork(2) and execve(2).
fn shared_between_processes(processes: &[ProcessFacts]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (what, name) in
        [(Shared::Memory, phrase!("its memory")), (Shared::SignalHandlers, phrase!("its table of signal handlers"))]
    {
        let (mut owners, mut first) = (Owners::of(what), Vec::new());
        for (process, living) in processes.iter().filter_map(|process| Some((process, process.living.as_ref()?))) {
            match owners.find_or_add(living.speaker) {
                Err(_) => first.push(&process.shown),
                Ok(object) => {
                    let what = phrase!(
                        "it shares {name} with {object}, as between vfork and exec",
                        name,
                        object = first[object]
                    );
                    let problem = Problem::blocks(ProblemKind::Process, what).of(&process.shown);
                    problems.push(problem.way_out(phrase!("Try again in a moment")));
                }
            }
        }
    }
    problems
}
