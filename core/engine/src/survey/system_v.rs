//! System V semaphores and message queues, sysvipc(7): they belong to no process and live on in the system, but who used
//! them last can be seen, and who would undo something at its end (SEM_UNDO, semop(2)).

// zoo: semaphores

use std::cmp::Ordering;
use std::collections::HashSet;

use dormouse_wire::{Pid, Problem, ProblemKind};

use super::collect::ProcessFacts;
use crate::kernel::bystander::Bystander;
use crate::kernel::kcmp::{self, Shared};
use crate::kernel::system_v;
use crate::proc::text;

/// What would be lost.
pub fn judge(processes: &[ProcessFacts]) -> Vec<Problem> {
    let (sets, queues) = (table("sem"), table("msg"));
    if sets.is_empty() && queues.is_empty() {
        return Vec::new();
    }
    // Of semaphores: key, id, permissions, number; of queues: key, id, permissions, bytes, messages, last sender and
    // receiver, proc(5).
    let sets: Vec<(u64, HashSet<Pid>)> = sets.iter().map(|line| (line[1], semaphore_users(line[1], line[3]))).collect();
    let queues: Vec<(u64, HashSet<Pid>)> = queues
        .iter()
        .filter_map(|line| Some((line[1], [*line.get(5)?, *line.get(6)?].map(|pid| Pid(pid as i32)).into())))
        .collect();
    let own = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let bystander = if sets.is_empty() { None } else { Bystander::new(own.0, own.1).ok() };
    let mut problems = Vec::new();
    for process in processes {
        let used = |found: &[(u64, HashSet<Pid>)]| -> Vec<String> {
            found.iter().filter(|(_, users)| users.contains(&process.pid)).map(|(id, _)| id.to_string()).collect()
        };
        let lose = |what: String, loss: &str| Problem::loses(ProblemKind::Process, what, loss).of(&process.shown);
        let own = used(&sets);
        let undoes = bystander.as_ref().is_some_and(|bystander| may_undo(process, bystander));
        if !own.is_empty() || undoes {
            let which = if own.is_empty() { String::new() } else { format!(" ({})", own.join(", ")) };
            let loss = "what others make of them while it sleeps, and they themselves when the system is started again; \
                        what it would undo at its end (SEM_UNDO) is undone at the freeze";
            problems.push(lose(format!("it uses System V semaphores{which}, which live on in the system"), loss));
        }
        let own = used(&queues);
        if !own.is_empty() {
            let loss = "what others make of them while it sleeps, and they themselves when the system is started again";
            let what = format!("it uses System V message queues ({}), which live on in the system", own.join(", "));
            problems.push(lose(what, loss));
        }
    }
    problems
}

/// Whether it has a list of what to undo. A process of several threads always has one, and it tells nothing.
fn may_undo(process: &ProcessFacts, bystander: &Bystander) -> bool {
    let Some(living) = process.living.as_ref().filter(|living| living.threads.len() == 1) else { return false };
    // The bystander has none.
    kcmp::tasks(living.speaker, bystander.tid(), Shared::SemaphoreUndo).is_ok_and(|order| order != Ordering::Equal)
}

fn semaphore_users(set: u64, semaphores: u64) -> HashSet<Pid> {
    let last = |number: u64| system_v::last_user(set as i32, number as i32).ok();
    (0..semaphores).filter_map(last).filter(|pid| pid.0 != 0).collect()
}

/// The lines of a table in /proc/sysvipc as numbers, without its head; a kernel without System V objects has none.
fn table(name: &str) -> Vec<Vec<u64>> {
    parse(&std::fs::read(format!("/proc/sysvipc/{name}")).unwrap_or_default())
}

fn parse(bytes: &[u8]) -> Vec<Vec<u64>> {
    let number = |word: &str| word.parse::<i64>().map_or(0, |number| number as u64);
    let lines = text::lines(bytes).skip(1).map(|line| String::from_utf8_lossy(line).into_owned());
    let numbers = lines.map(|line| line.split_ascii_whitespace().map(number).collect::<Vec<_>>());
    numbers.filter(|numbers| numbers.len() >= 7).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = b"       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n\
            -559038737          7   600          2  1000  1000  1000  1000          0 1700000000\n  short 3\n";
        let lines = parse(table);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0][1..4], [7, 600, 2]);
    }
}
