//! Who uses System V semaphores and message queues, sysvipc(7): they belong to no process and live on in the system, but who
//! used them last can be seen, and who would undo something at its end (SEM_UNDO, semop(2)).

// zoo: semaphores

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, phrase};

use super::collect::ProcessFacts;
use super::everyone::started;
use crate::kernel::bystander::Bystander;
use crate::kernel::kcmp::{self, Shared};
use crate::kernel::{outside, system_v};
use crate::proc::system_v::table;

/// Of so many semaphores is asked who used them.
const MOST: u64 = 200_000;

/// A set of semaphores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its id.
    pub id: u64,
    /// Who was the last to use one of them, by the pids that the kernel has noted.
    pub users: BTreeSet<Pid>,
    /// When one of them was used or the set was changed, seconds since the Epoch.
    pub time: u64,
}

/// A message queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its id.
    pub id: u64,
    /// Who was the last to send, by the pid that the kernel has noted, and when, seconds since the Epoch.
    pub sender: Option<(Pid, u64)>,
    /// Who was the last to receive, and when.
    pub receiver: Option<(Pid, u64)>,
}

/// The sets of semaphores of this ipc namespace that may be looked at.
pub fn sets() -> Vec<Set> {
    let mut left = MOST;
    // Key, id, permissions, number, four ids, and when the set was used and changed, proc(5).
    let set = |line: Vec<u64>| {
        let (id, number, time) = (line[1], line[3], *line.get(8)?.max(line.get(9)?));
        let asked = number.min(left);
        left -= asked;
        Some(Set { id, users: semaphore_users(id, asked), time })
    };
    table("sem").into_iter().filter_map(set).collect()
}

/// The message queues of this ipc namespace that may be looked at.
pub fn queues() -> Vec<Queue> {
    // Key, id, permissions, bytes, messages, last sender and receiver, four ids, and when they sent and received, proc(5).
    let queue = |line: Vec<u64>| {
        let user = |pid: usize, time: usize| {
            let pid = Pid(*line.get(pid)? as i32);
            Some((pid, *line.get(time)?)).filter(|_| pid.0 != 0)
        };
        Queue { id: line[1], sender: user(5, 11), receiver: user(6, 12) }
    };
    table("msg").into_iter().map(queue).collect()
}

/// Whether a process had started by this time, in seconds, of which the kernel notes whole ones. Otherwise it has only got the
/// pid of one that has ended, or was thawed since.
pub fn was_there(pid: Pid, time: u64) -> bool {
    let end = UNIX_EPOCH.checked_add(Duration::from_secs(time.saturating_add(1)));
    started(pid).zip(end).is_some_and(|(started, end)| started <= end)
}

/// What would be lost.
pub fn judge(processes: &[ProcessFacts]) -> Vec<Problem> {
    let (sets, queues) = (sets(), queues());
    if sets.is_empty() && queues.is_empty() {
        return Vec::new();
    }
    let own = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let bystander = if sets.is_empty() { None } else { Bystander::new(own.0, own.1, None).ok() };
    let members: BTreeSet<Pid> = processes.iter().map(|process| process.pid).collect();
    let mut problems = Vec::new();
    for process in processes {
        let lose = |what: Phrase, loss: Phrase| Problem::loses(ProblemKind::Process, what, loss).of(&process.shown);
        let used = sets.iter().filter(|set| set.users.contains(&process.pid));
        let own: Vec<String> = used.map(|set| set.id.to_string()).collect();
        if undoes(process, bystander.as_ref(), !own.is_empty()) {
            let what = match own.join(", ") {
                own if own.is_empty() => {
                    phrase!("it uses System V semaphores, and may undo at its end what it has done")
                }
                own => phrase!("it uses System V semaphores ({own}), and may undo at its end what it has done", own),
            };
            let loss = phrase!("what it would undo at its end (SEM_UNDO): nothing is undone any more, then");
            problems.push(lose(what, loss));
        }
        // Whoever has used them but is no member has ended: nobody else can reach them.
        if outside::has_own("ipc") {
            continue;
        }
        let shared = sets.iter().filter(|set| set.users.contains(&process.pid) && !set.users.is_subset(&members));
        problems.extend(shared.map(|set| lose(phrase!("it uses the System V semaphores {id}, which others have used, too, and which live on in the system", id = set.id), MEANWHILE)));
        let is_used = |queue: &&Queue| queue.users().any(|pid| pid == process.pid);
        let shared = queues.iter().filter(is_used).filter(|queue| queue.users().any(|pid| !members.contains(&pid)));
        problems.extend(shared.map(|queue| lose(phrase!("it uses the System V message queue {id}, which others have used, too, and which lives on in the system", id = queue.id), MEANWHILE)));
    }
    problems
}

const MEANWHILE: Phrase = phrase!("what those others make of them while it sleeps");

impl Queue {
    fn users(&self) -> impl Iterator<Item = Pid> {
        self.sender.iter().chain(&self.receiver).map(|(pid, _)| *pid)
    }
}

/// Whether it would undo something at its end, as far as that can be told; `uses`: it was the last to use a semaphore.
fn undoes(process: &ProcessFacts, bystander: Option<&Bystander>, uses: bool) -> bool {
    match process.living.as_ref() {
        // A process of several threads always has a list of what to undo, and it tells nothing.
        Some(living) if living.threads.len() > 1 => uses,
        _ => bystander.is_some_and(|bystander| may_undo(process, bystander)),
    }
}

/// Whether it has a list of what to undo.
fn may_undo(process: &ProcessFacts, bystander: &Bystander) -> bool {
    let Some(living) = process.living.as_ref().filter(|living| living.threads.len() == 1) else { return false };
    // The bystander has none.
    kcmp::tasks(living.speaker, bystander.tid(), Shared::SemaphoreUndo).is_ok_and(|order| order != Ordering::Equal)
}

fn semaphore_users(set: u64, semaphores: u64) -> BTreeSet<Pid> {
    let last = |number: u64| system_v::last_user(set as i32, number as i32).ok();
    (0..semaphores).filter_map(last).filter(|pid| pid.0 != 0).collect()
}
