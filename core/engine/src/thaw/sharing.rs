//! Tables of descriptors (CLONE_FILES) and places in the filesystem (CLONE_FS) that several processes share: clone(2)
//! shares them between parent and child only, so that whoever stands between two that share is born sharing too, and
//! parts from them (unshare(2)) when all are there.

use std::collections::{HashMap, HashSet};

use dormouse_wire::{Pid, Problem, ProblemKind, phrase};

use crate::resource::group::{Alive, Group};

/// What each process shares with its parent at its birth, by index.
#[derive(Debug)]
pub struct Sharing {
    born: Vec<i32>,
    unshare: Vec<i32>,
    /// With whom others are born sharing, by what they share.
    parents: HashMap<i32, HashSet<usize>>,
}

impl Sharing {
    /// Plans for a group.
    pub fn of(group: &Group) -> Result<Self, Problem> {
        let count = group.processes.len();
        let mut sharing = Self { born: vec![0; count], unshare: vec![0; count], parents: HashMap::new() };
        sharing.plan(group, libc::CLONE_FILES, |alive| alive.file_table)?;
        sharing.plan(group, libc::CLONE_FS, |alive| alive.filesystem)?;
        Ok(sharing)
    }

    /// Flags of clone(2) for the birth of a process.
    pub fn flags(&self, index: usize) -> u64 {
        self.born[index] as u64
    }

    /// Whether a child of it is born sharing this with it.
    pub fn is_shared(&self, index: usize, flag: i32) -> bool {
        self.parents.get(&flag).is_some_and(|parents| parents.contains(&index))
    }

    /// Flags of unshare(2) for a process.
    pub fn to_unshare(&self, index: usize) -> i32 {
        self.unshare[index]
    }

    fn plan(&mut self, group: &Group, flag: i32, of: impl Fn(&Alive) -> usize) -> Result<(), Problem> {
        let by_pid: HashMap<Pid, usize> =
            group.processes.iter().enumerate().map(|(index, process)| (process.pid(), index)).collect();
        let parent = |index: usize| group.processes[index].family.parent.and_then(|pid| by_pid.get(&pid)).copied();
        let mut sets: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, process) in group.processes.iter().enumerate() {
            if let Some(alive) = process.alive() {
                sets.entry(of(alive)).or_default().push(index);
            }
        }
        // Which set an edge from a process up to its parent serves.
        let mut serves: HashMap<usize, usize> = HashMap::new();
        for (set, members) in sets.iter().filter(|(_, members)| members.len() > 1) {
            let top = common_ancestor(members, &parent).ok_or_else(|| apart(group, members))?;
            for member in members {
                let mut at = *member;
                while at != top {
                    if serves.insert(at, *set).is_some_and(|other| other != *set) {
                        return Err(apart(group, members));
                    }
                    self.born[at] |= flag;
                    at = parent(at).ok_or_else(|| apart(group, members))?;
                    self.parents.entry(flag).or_default().insert(at);
                }
            }
            // Everybody on the way who does not belong to the set parts from it.
            let ways = serves.iter().filter(|(_, served)| *served == set).map(|(index, _)| *index);
            for index in ways.chain([top]).filter(|index| !members.contains(index)) {
                self.unshare[index] |= flag;
            }
        }
        Ok(())
    }
}

fn common_ancestor(members: &[usize], parent: &impl Fn(usize) -> Option<usize>) -> Option<usize> {
    let line = |from: usize| std::iter::successors(Some(from), |at| parent(*at)).collect::<Vec<_>>();
    let (first, others) = members.split_first()?;
    let others: Vec<_> = others.iter().map(|member| line(*member)).collect();
    line(*first).into_iter().find(|candidate| others.iter().all(|line| line.contains(candidate)))
}

fn apart(group: &Group, members: &[usize]) -> Problem {
    let names: Vec<_> = members.iter().map(|member| group.processes[*member].shown().to_string()).collect();
    let what = phrase!(
        "{names} share their descriptors or working directory in a way that cannot be built again",
        names = names.join(", ")
    );
    Problem::blocks(ProblemKind::Process, what)
}
