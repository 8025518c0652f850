//! The list of groups that a person sees: names, sizes and states of what [`super::groups`] has sorted.

use std::time::UNIX_EPOCH;

use dormouse_wire::{ByteSize, Listed};

use super::groups::Group;
use super::names::Entries;

/// Whose groups to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    All,
    /// Those in which this user has a process.
    User(u32),
}

/// These groups, the largest first. Names of users and verdicts are left to the caller.
pub fn of(groups: &[Group<'_>], entries: &Entries, whose: Whose) -> Vec<Listed> {
    let is_wanted = |group: &&Group<'_>| match whose {
        Whose::All => true,
        Whose::User(uid) => group.members.iter().any(|process| process.uid == Some(uid)),
    };
    let mut list: Vec<Listed> = groups.iter().filter(is_wanted).map(|group| listed(group, entries)).collect();
    list.sort_by(|one, other| other.memory.cmp(&one.memory).then_with(|| one.first_pid.cmp(&other.first_pid)));
    list
}

/// One group as the list shows it.
pub fn listed(group: &Group<'_>, entries: &Entries) -> Listed {
    let members = &group.members;
    let name = entries.name(group);
    let started = group.first.started.and_then(|started| started.duration_since(UNIX_EPOCH).ok());
    let living: Vec<_> = members.iter().filter(|process| !process.has_ended()).collect();
    Listed {
        id: group.id.clone(),
        kind: group.kind,
        name: name.name,
        icon: name.icon,
        application: name.application,
        unit: group.unit.as_ref().map(|unit| unit.name.clone()),
        first_pid: group.first.pid,
        processes: members.len(),
        members: members.iter().map(|process| process.shown()).collect(),
        joined: group.joined.clone(),
        private: sum(members.iter().map(|process| process.private)),
        memory: sum(members.iter().map(|process| process.resident)),
        swap: sum(members.iter().map(|process| process.swap)),
        cpu: members.iter().filter_map(|process| process.cpu_share).reduce(|sum, share| sum + share),
        started: started.map(|started| started.as_secs()),
        uid: group.first.uid,
        user: None,
        paused: !living.is_empty() && living.iter().all(|process| process.paused),
        ended: living.is_empty(),
        verdict: None,
    }
}

/// The sum of what is known; nothing where nothing is.
fn sum(sizes: impl Iterator<Item = Option<ByteSize>>) -> Option<ByteSize> {
    sizes.flatten().reduce(|sum, size| ByteSize(sum.0.saturating_add(size.0)))
}

#[cfg(test)]
mod tests {
    use dormouse_wire::Pid;

    use super::*;
    use crate::proc::stat::State;
    use crate::survey::everyone::Process;
    use crate::survey::groups;

    fn process(pid: i32, session: i32, memory: Option<u64>) -> Process {
        Process { session: Pid(session), resident: memory.map(ByteSize), ..Process::sample(pid, &["x"]) }
    }

    #[test]
    fn the_largest_comes_first_and_what_is_not_known_is_absent() {
        let of_user = |process| Process { uid: Some(5), ..process };
        let processes =
            [process(10, 10, Some(1)), of_user(process(11, 10, None)), process(20, 20, None), process(30, 30, Some(7))];
        let list = |whose| of(&groups::of(&processes), &Entries::default(), whose);
        let told: Vec<_> =
            list(Whose::All).into_iter().map(|group| (group.first_pid.0, group.memory, group.processes)).collect();
        assert_eq!(told, [(30, Some(ByteSize(7)), 1), (10, Some(ByteSize(1)), 2), (20, None, 1)]);
        assert_eq!(list(Whose::User(5)).len(), 1);
        let json = serde_json::to_value(&list(Whose::All)[2]).expect("it is JSON");
        assert_eq!(json.get("memory"), None);
        assert_eq!((json["kind"].as_str(), json["id"].as_str()), (Some("session"), Some("session-20")));
    }

    #[test]
    fn a_group_is_paused_when_all_that_live_stand_still_and_has_ended_when_none_lives() {
        let paused = |process| Process { paused: true, ..process };
        let zombie = Process { state: State::Zombie, ..process(12, 10, None) };
        let is_paused = |processes: &[Process]| {
            let list = of(&groups::of(processes), &Entries::default(), Whose::All);
            (list[0].paused, list[0].ended)
        };
        assert_eq!(is_paused(&[paused(process(10, 10, None)), zombie.clone()]), (true, false));
        assert_eq!(is_paused(&[paused(process(10, 10, None)), process(11, 10, None)]), (false, false));
        assert_eq!(is_paused(&[zombie]), (false, true));
    }
}
