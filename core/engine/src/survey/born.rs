//! Who was meant: a pid may be somebody else's by the time that something is done about it.

use std::collections::BTreeMap;

use dormouse_wire::Pid;
use serde::{Deserialize, Serialize};

use crate::proc::{self, stat};

/// When processes started, in clock ticks since boot, proc_pid_stat(5): with its pid, that tells a process from all others. Nothing is
/// known of those that are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Born(BTreeMap<Pid, u64>);

impl FromIterator<(Pid, u64)> for Born {
    fn from_iter<T: IntoIterator<Item = (Pid, u64)>>(processes: T) -> Self {
        Self(processes.into_iter().collect())
    }
}

impl Born {
    /// Those of these pids, as far as they are known.
    #[must_use]
    pub fn of(&self, pids: impl IntoIterator<Item = Pid>) -> Self {
        pids.into_iter().filter_map(|pid| Some((pid, *self.0.get(&pid)?))).collect()
    }

    /// The processes and when they started.
    pub fn iter(&self) -> impl Iterator<Item = (Pid, u64)> {
        self.0.iter().map(|(pid, started)| (*pid, *started))
    }

    /// Whether nothing is known of anybody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is known when this one started.
    pub fn knows(&self, pid: Pid) -> bool {
        self.0.contains_key(&pid)
    }

    /// Whether a pid is somebody else's now than the process that was meant. Nobody's is nobody else's.
    pub fn is_another(&self, pid: Pid) -> bool {
        let now = || proc::parsed(pid, "stat", stat::parse).ok();
        self.0.get(&pid).is_some_and(|started| now().is_some_and(|now| now.start_time != *started))
    }

    /// Whether the process that was meant is there; a zombie is.
    pub fn is_there(&self, pid: Pid) -> bool {
        proc::folder(pid).exists() && !self.is_another(pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_started_at_another_time_is_another() {
        let own = Pid(std::process::id() as i32);
        let started = proc::parsed(own, "stat", stat::parse).map(|stat| stat.start_time).unwrap_or_default();
        let born = |started| Born::from_iter([(own, started)]);
        assert!(!born(started).is_another(own) && born(started).is_there(own));
        assert!(born(started - 1).is_another(own) && !born(started - 1).is_there(own));
        assert!(!Born::default().is_another(own));
        assert!(!Born::from_iter([(Pid(i32::MAX), 1)]).is_another(Pid(i32::MAX)));
    }
}
