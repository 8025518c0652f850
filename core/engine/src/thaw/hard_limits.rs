//! Hard limits that are above what a user can have here, getrlimit(2): another machine, or another kernel, gives others. In an image that is not
//! root's they are lowered, for nobody can raise his own.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, phrase};

use crate::image::Reader;
use crate::proc;
use crate::proc::limits::{Limit, Limits};
use crate::proc::status::Ids;
use crate::resource::group::{Group, Life};
use crate::resource::task::limits;

/// RLIMIT_NPROC and RLIMIT_SIGPENDING: the kernel works both out from how much memory there is, to the same number.
const BY_MEMORY: [usize; 2] = [6, 11];

/// Lowers those of an image; what is told of it.
pub fn lower(group: &mut Group, reader: &Reader) -> Vec<Problem> {
    let Ok(found) = reader.metadata() else { return Vec::new() };
    if found.uid() == 0 {
        return Vec::new();
    }
    let mut most = Most::of(found.uid());
    let mut lowered: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    for process in &mut group.processes {
        let Life::Alive(alive) = &mut process.life else { continue };
        let is_usual = is_usual(&alive.limits.0);
        for (resource, (soft, hard)) in alive.limits.0.iter_mut().enumerate() {
            let allowed = most.of_resource(resource, *hard);
            if allowed >= *hard {
                continue;
            }
            if !(is_usual && BY_MEMORY.contains(&resource)) {
                lowered.insert(resource, (*hard, allowed));
            }
            (*soft, *hard) = ((*soft).min(allowed), allowed);
        }
    }
    lowered.into_iter().map(|(resource, change)| told(resource, change)).collect()
}

/// Whether both are what the kernel gives: one that was set is another one.
fn is_usual(limits: &[(u64, u64)]) -> bool {
    let [one, other] = BY_MEMORY.map(|resource| limits.get(resource));
    one.is_some() && one == other
}

fn told(resource: usize, (before, now): (u64, u64)) -> Problem {
    let shown = |limit: u64| if limit == Limit::UNLIMITED { phrase!("none") } else { Phrase::from(limit.to_string()) };
    let name = limits::name(resource);
    let what =
        phrase!("the limit on {name} is lower here for its user than it was ({before})", name, before = shown(before));
    Problem::loses(ProblemKind::Limit, what, phrase!("that limit: it is {now} now", now = shown(now)))
}

/// The hard limits that a user can have: those of the engine, which is started as a login is, and those of his own processes, none
/// of which can have raised them itself.
struct Most {
    own: Option<Limits>,
    owner: u32,
    owners: Option<Vec<Limits>>,
}

impl Most {
    fn of(owner: u32) -> Self {
        Self {
            own: proc::parsed(Pid(std::process::id() as i32), "limits", proc::limits::parse).ok(),
            owner,
            owners: None,
        }
    }

    /// The highest that is allowed, up to this one.
    fn of_resource(&mut self, resource: usize, hard: u64) -> u64 {
        let of = |limits: &Limits| limits.get(resource).map_or(u64::MAX, |limit| limit.hard);
        let own = self.own.as_ref().map_or(u64::MAX, of);
        if hard <= own {
            return hard;
        }
        let owner = self.owner;
        let owners = self.owners.get_or_insert_with(|| limits_of(owner)).iter().map(of);
        owners.fold(own, u64::max).min(hard)
    }
}

/// Those of the processes that are nobody's but this user's.
fn limits_of(user: u32) -> Vec<Limits> {
    let of = |pid: Pid| {
        let status = proc::parsed(pid, "status", proc::status::parse).ok()?;
        let limits = proc::parsed(pid, "limits", proc::limits::parse).ok()?;
        (status.uid == Ids { real: user, effective: user, saved: user, filesystem: user }).then_some(limits)
    };
    proc::list_pids().into_iter().flatten().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_gives_by_memory_is_the_same_twice() {
        let mut limits = vec![(1, 1); 16];
        assert!(is_usual(&limits));
        limits[6] = (7, 7);
        assert!(!is_usual(&limits) && !is_usual(&[]));
        let own = proc::parsed(Pid(std::process::id() as i32), "limits", proc::limits::parse).map(|own| own[0].hard);
        let mut most = Most::of(u32::MAX - 1);
        assert_eq!(Some(most.of_resource(0, u64::MAX)), own.ok());
        assert_eq!(most.of_resource(0, 0), 0);
    }
}
