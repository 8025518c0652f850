//! Check: what a freeze would say, by the steps of a freeze up to where it would begin to write.

use dormouse_wire::needs::Sandbox;
use dormouse_wire::{ByteSize, Checked, Needs, Pid, Problem, ProblemKind, ProcessName};

use super::stopped::Stopped;
use super::turn::{Turn, in_turn};
use super::verdict::Verdict;
use super::{capsule, record, stop};
use crate::kernel::threads::beside;
use crate::survey::collect::ProcessFacts;
use crate::survey::connections::Connections;
use crate::survey::in_flight::Look;
use crate::survey::{belongs, buses, judge, needs, select, x11};
use crate::{FreezeError, Selection};

/// Says whether a group can be frozen, with every reason, and what ties it to others. The group stands still for some
/// milliseconds, as a freeze would see it, and runs on; `displays`: how X servers are asked for its windows.
pub fn check(selection: &Selection, displays: &x11::Options) -> Checked {
    let (processes, verdict, sandbox) = judged(selection);
    let members = if processes.is_empty() { members(selection) } else { processes.iter().map(shown).collect() };
    // Nobody needs to stand still for this.
    let Connections { graph, unseen, holdings } = Connections::look();
    let pids: Vec<Pid> = members.iter().map(|member| member.pid).collect();
    // The group runs on: whoever was born since would be frozen too, and is nobody outside.
    let pids = graph.descendants(&pids);
    let mut graph = graph.around(|process| pids.contains(&process.pid));
    let (displays, buses) = beside(|| x11::look(displays).of(&pids), || buses::look(&graph));
    buses::name_ends(&buses, &mut graph);
    Checked {
        displays,
        graph,
        buses,
        needs: Needs { sandbox, ..needs::of(&holdings, &pids) },
        unseen,
        processes: members,
        threads: processes.iter().filter_map(|found| found.living.as_ref()).map(|living| living.threads.len()).sum(),
        memory: ByteSize(processes.iter().map(resident).sum()),
        verdict,
    }
}

/// Only the verdict of [`check`].
pub fn verdict(selection: &Selection) -> dormouse_wire::Verdict {
    judged(selection).1
}

/// The processes of the group, none where they cannot be looked at, and the verdict. Of one thing it does not speak:
/// descriptors of odd kinds that are on their way in a datagram or sequenced packet socket. What waits there is looked at
/// only where an end of a socket is missed ([`Look::Lightly`]).
fn judged(selection: &Selection) -> (Vec<ProcessFacts>, dormouse_wire::Verdict, Option<Sandbox>) {
    crate::kernel::limits::raise_open_files();
    in_turn(|turn| judged_now(selection, turn))
}

fn judged_now(selection: &Selection, turn: &Turn) -> (Vec<ProcessFacts>, dormouse_wire::Verdict, Option<Sandbox>) {
    let mut stopped = Stopped::default();
    let mut looked = look(selection, Look::Lightly, &mut stopped);
    turn.note(&stopped);
    if looked.problems.iter().any(|problem| problem.kind == ProblemKind::UnixSocket) {
        // The other end may be on its way in a message. It is begun anew: nobody stands still that does not belong to it.
        drop(std::mem::take(&mut stopped));
        looked = look(selection, Look::Closely, &mut stopped);
        turn.note(&stopped);
    }
    let mut verdict = Verdict::new(false);
    verdict.note(looked.problems);
    let processes = looked.processes;
    if !processes.is_empty() {
        verdict.note(record::said(&mut stopped, &processes, &verdict));
    }
    (processes, dormouse_wire::Verdict::from_problems(verdict.problems), looked.sandbox)
}

/// The group, as far as it could be looked at, and what was found.
struct Looked {
    processes: Vec<ProcessFacts>,
    problems: Vec<Problem>,
    sandbox: Option<Sandbox>,
}

fn look(selection: &Selection, queues: Look, stopped: &mut Stopped) -> Looked {
    let nobody = |problems| Looked { processes: Vec::new(), problems, sandbox: None };
    match stop(selection, queues, stopped) {
        Ok(found) => {
            let mut sandbox = None;
            let mut problems = judge::judge(&found.processes, &found.open, &found.sharers);
            problems.extend(found.inner.judge(selection.asker.as_ref()));
            problems.extend(belongs::sockets(selection.asker.as_ref(), &found.open));
            match capsule::look(selection.asker.as_ref(), &found.processes, &found.open) {
                Ok(Some((seen, found))) => {
                    problems.extend(found);
                    sandbox = Some(seen.shown());
                }
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
            Looked { processes: found.processes, problems, sandbox }
        }
        Err(FreezeError::Refused(problems)) => nobody(problems),
        Err(FreezeError::Failed(problem)) => nobody(vec![*problem]),
        Err(FreezeError::Cancelled) => nobody(Vec::new()),
    }
}

fn shown(found: &ProcessFacts) -> ProcessName {
    found.shown.clone()
}

/// How much memory a process has, shared memory too, bytes.
fn resident(found: &ProcessFacts) -> u64 {
    found.status.memory.as_ref().map_or(0, |memory| memory.resident)
}

/// Who would have been frozen, as far as that can be told from outside.
fn members(selection: &Selection) -> Vec<ProcessName> {
    let seeds: Vec<Pid> = std::iter::once(selection.pid).chain(selection.others.iter().copied()).collect();
    let pids = select::members(&seeds, &selection.born).unwrap_or_default();
    pids.into_iter().filter_map(select::shown).collect()
}
