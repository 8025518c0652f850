//! What processes share as a whole, kcmp(2): a table of descriptors, root with working directory and umask, all their memory.
//! Threads share all of that; a process does with another what clone(2) was told, and memory between vfork(2) and execve(2).

use std::collections::HashMap;

use dormouse_wire::{EdgeKind, Pid, Strength, ThingKind};

use super::holdings::Holdings;
use super::ties::Ties;
use crate::kernel::kcmp::{Owners, Shared};
use crate::proc::{self, status};

const KINDS: [(Shared, ThingKind); 3] = [
    (Shared::Files, ThingKind::DescriptorTable),
    (Shared::Filesystem, ThingKind::FilesystemState),
    (Shared::Memory, ThingKind::AddressSpace),
];

/// Adds the ties between those who share.
pub fn tie(holdings: &[Holdings], ties: &mut Ties) {
    for (what, kind) in KINDS {
        for mut sharers in alike(holdings, what).into_iter().flat_map(|alike| sharers(&alike, what)) {
            // All who have ended have the same: nothing.
            sharers.retain(|holding| lives(holding.name.pid));
            let Some(first) = sharers.first() else { continue };
            // It has no name but theirs.
            let thing = ties.thing(kind, &format!("of {}", first.name));
            for holding in sharers {
                ties.holds(holding.name.pid, thing, EdgeKind::Shares, Strength::Strong, None);
            }
        }
    }
}

/// Processes that may share: a kcmp of each with all would take long. Root and working directory stay shared when a program is
/// executed; descriptors and memory do not, execve(2).
fn alike(holdings: &[Holdings], what: Shared) -> Vec<Vec<&Holdings>> {
    let mut alike: HashMap<_, Vec<&Holdings>> = HashMap::new();
    for holding in holdings.iter().filter(|holding| holding.lives && !holding.closed) {
        let likeness = match what {
            Shared::Filesystem => ([0; 2], holding.umask),
            _ => (holding.program, None),
        };
        alike.entry(likeness).or_default().push(holding);
    }
    alike.into_values().collect()
}

/// Those of them that have an object in common, by that object.
fn sharers<'a>(alike: &[&'a Holdings], what: Shared) -> Vec<Vec<&'a Holdings>> {
    let mut owners = Owners::of(what);
    let mut sharers: Vec<Vec<&Holdings>> = Vec::new();
    for holding in alike {
        match owners.find_or_add(holding.name.pid.leader()) {
            Ok(object) => sharers[object].push(holding),
            Err(_) => sharers.push(vec![holding]),
        }
    }
    sharers.retain(|sharers| sharers.len() > 1);
    sharers
}

fn lives(pid: Pid) -> bool {
    proc::parsed(pid, "status", status::parse).is_ok_and(|status| status.memory.is_some())
}
