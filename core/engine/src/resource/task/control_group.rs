//! Control groups, cgroups(7): in which one of each hierarchy a process is, or a thread where it is in another one
//! (cgroup v1, and threaded groups of cgroup v2), and what was set there that a new group would not have.
//!
//! A group belongs to the system and not to its members: one that is still there at the thaw is taken as it is, and what is
//! written down here serves to make again one that is gone.

// zoo: control_groups control_groups_of_threads

pub mod hierarchies;
pub mod settings;

use std::collections::HashMap;

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::kernel::outside;
use crate::proc::cgroup::CgroupMembership;
use hierarchies::Hierarchies;
use settings::ControlSetting;

/// A control group of one hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlGroup {
    /// The controllers of its hierarchy, or its name as `name=…`; none: that of cgroup v2.
    pub controllers: Vec<String>,
    /// Its path below the root of the hierarchy, as the engine saw it; `/` is the root itself.
    pub path: ByteBuf,
    /// What was set there and differs from a new group, in the order in which it is set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<ControlSetting>,
    /// What was set there besides and means something in that boot only, such as a limit on one disk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unkept: Vec<String>,
}

impl ControlGroup {
    /// Whether its hierarchy is that of cgroup v2.
    pub fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether it is the root of its hierarchy.
    pub fn is_root(&self) -> bool {
        self.path.as_slice() == b"/"
    }

    /// The names on the way to it.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        names(&self.path)
    }

    /// Its path, for a person.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.path).escape_debug().to_string()
    }

    /// Whether there can be such a group, whoever wrote the record.
    pub fn is_possible(&self) -> bool {
        // cgroup.max.depth, and the length of a name.
        const DEEPEST: usize = 1 << 12;
        const LONGEST: usize = 255;
        const MOST: usize = 64;
        let plain = |name: &[u8]| {
            !matches!(name, b"" | b"." | b"..")
                && name.len() <= LONGEST
                && !name.iter().any(|byte| b"/\0\n".contains(byte))
        };
        let below = self.path.strip_prefix(b"/");
        let path = below.is_some_and(|below| below.is_empty() || below.split(|byte| *byte == b'/').all(plain));
        path && self.path.len() <= DEEPEST
            && self.controllers.len() <= MOST
            && self.settings.iter().all(|setting| setting.is_known(self.is_unified()))
    }

    /// Whether it is what this membership tells of.
    pub fn is(&self, membership: &CgroupMembership) -> bool {
        self.controllers == membership.controllers && self.path.as_slice() == membership.path.as_slice()
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

/// Whether systemd calls a unit so, systemd.unit(5): such a group comes and goes with the unit, and is nobody else's to make.
pub fn is_unit(name: &[u8]) -> bool {
    [&b".scope"[..], b".service", b".slice"].iter().any(|kind| name.len() > kind.len() && name.ends_with(kind))
}

/// The control groups of a whole group, each once, with those above them: a group that is gone cannot be made again without.
#[derive(Debug, Default)]
pub struct Captured {
    /// The records.
    pub records: Vec<ControlGroup>,
    known: HashMap<(Vec<String>, Vec<u8>), usize>,
    hierarchies: Hierarchies,
}

impl Captured {
    /// None yet.
    pub fn begin() -> Self {
        Self { hierarchies: Hierarchies::here(), ..Self::default() }
    }

    /// Those of a process or thread, as indices.
    pub fn of(&mut self, memberships: &[CgroupMembership]) -> Vec<usize> {
        if outside::has_own("cgroup") {
            return Vec::new();
        }
        let seen = memberships.iter().filter(|membership| is_seen(membership));
        seen.map(|membership| self.one(&membership.controllers, &membership.path)).collect()
    }

    fn one(&mut self, controllers: &[String], path: &[u8]) -> usize {
        let key = (controllers.to_vec(), path.to_vec());
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let above = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        if above > 0 {
            self.one(controllers, &path[..above]);
        }
        let mut record =
            ControlGroup { controllers: key.0.clone(), path: ByteBuf::from(key.1.clone()), ..ControlGroup::default() };
        // What systemd has set for a slice it sets again itself.
        let is_slice = record.names().last().is_some_and(|name| name.ends_with(b".slice"));
        if !record.is_root() && !is_slice {
            settings::capture(&self.hierarchies, &mut record);
        }
        self.records.push(record);
        self.known.insert(key, self.records.len() - 1);
        self.records.len() - 1
    }
}

/// Whether the group lies within what the engine sees of its hierarchy, and is one that can be found again.
fn is_seen(membership: &CgroupMembership) -> bool {
    membership.path.starts_with(b"/") && !names(&membership.path).any(|name| name == b"..")
}

/// What of this is not kept.
pub fn judge(memberships: &[CgroupMembership]) -> Vec<Problem> {
    let lost = |membership: &CgroupMembership, what| {
        let path = String::from_utf8_lossy(&membership.path).escape_debug().to_string();
        let loss = phrase!("its place there: it comes back in the control group of the thaw");
        Problem::loses(ProblemKind::Namespace, what, loss).at(path)
    };
    if outside::has_own("cgroup") {
        let below = memberships.iter().filter(|membership| membership.path != b"/");
        let what = phrase!("it is in a control group below the root of the sandbox's own cgroup namespace");
        return below.map(|membership| lost(membership, what.clone())).collect();
    }
    let unseen = memberships.iter().filter(|membership| !is_seen(membership));
    let what = phrase!("it is in a control group outside of Dormouse's own cgroup namespace");
    unseen.map(|membership| lost(membership, what.clone())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn group(path: &[u8]) -> ControlGroup {
        ControlGroup { path: ByteBuf::from(path.to_vec()), ..ControlGroup::default() }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_not_believed() {
        for path in [&b"/"[..], b"/a", b"/a b/c.scope", b"/..a", b"/\xff"] {
            assert!(group(path).is_possible(), "{path:?}");
        }
        for path in [&b""[..], b"a", b"/a/", b"//a", b"/..", b"/a/../b", b"/a/./b", b"/a\0", b"/a\nb"] {
            assert!(!group(path).is_possible(), "{path:?}");
        }
        assert!(!group(&[b"/".to_vec(), vec![b'a'; 256]].concat()).is_possible());
        let setting = ControlSetting { name: "cgroup.procs".into(), value: ByteBuf::from(b"1".to_vec()) };
        assert!(!ControlGroup { settings: vec![setting], ..group(b"/a") }.is_possible());
    }

    #[test]
    fn what_belongs_to_systemd_is_known_by_its_name() {
        assert!(is_unit(b"app-gnome-x-1.scope") && is_unit(b"user@1000.service") && is_unit(b"user.slice"));
        assert!(!is_unit(b".scope") && !is_unit(b"scope") && !is_unit(b"x.scope2"));
    }

    #[test]
    fn a_group_stands_behind_those_above_it_and_each_is_there_once() {
        let membership = |path: &[u8]| CgroupMembership {
            hierarchy: 99,
            controllers: vec!["name=nowhere".into()],
            path: path.to_vec(),
        };
        let mut captured = Captured::begin();
        assert_eq!(captured.of(&[membership(b"/a/b"), membership(b"/../x")]), [1]);
        assert_eq!(captured.of(&[membership(b"/a"), membership(b"/")]), [0, 2]);
        let paths: Vec<&[u8]> = captured.records.iter().map(|record| record.path.as_slice()).collect();
        assert_eq!(paths, [&b"/a"[..], b"/a/b", b"/"]);
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path: Vec<u8>) {
            let group = group(&path);
            let _ = (group.is_possible(), group.names().count(), group.shown());
        }
    }
}
