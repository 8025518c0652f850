//! Processes that stand still because their control group is frozen: nothing else below /proc/PID tells, for in cgroup v2
//! they look as if they slept.

use std::collections::HashMap;

use super::Process;
use crate::survey::control_group::{ControlGroup, Freezer, Hierarchies};

/// Marks the processes of frozen control groups as paused; each control group is asked once.
pub(super) fn mark(processes: &mut [Process]) {
    let hierarchies = Hierarchies::mounted().unwrap_or_default();
    let mut known: HashMap<ControlGroup, bool> = HashMap::new();
    for process in processes.iter_mut().filter(|process| !process.paused && !process.has_ended()) {
        let Some(cgroups) = &process.cgroups else { continue };
        process.paused = [Freezer::Unified, Freezer::Old].into_iter().any(|freezer| {
            let group = hierarchies.within(&cgroups.memberships, freezer);
            group.is_some_and(|group| *known.entry(group).or_insert_with_key(ControlGroup::stands_still))
        });
    }
}
