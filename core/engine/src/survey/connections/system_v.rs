//! Who used System V semaphores and message queues last. Others who use them, too, are not known to anybody: such a tie is
//! told between the last ones only, and who has a queue or a set at hand but has not used it is not seen.
//! A pid that the kernel has noted may be another process's by now: it counts where that one had started by then.

use dormouse_wire::{EdgeKind, Strength, ThingKind};

use super::ties::Ties;
use crate::survey::system_v::{self, was_there};

/// Adds these ties.
pub fn tie(ties: &mut Ties) {
    for set in system_v::sets() {
        let thing = ties.thing(ThingKind::Semaphores, &set.id.to_string());
        for pid in set.users.into_iter().filter(|pid| was_there(*pid, set.time)) {
            ties.holds(pid, thing, EdgeKind::Uses, Strength::Weak, None);
        }
    }
    for queue in system_v::queues() {
        let thing = ties.thing(ThingKind::MessageQueue, &queue.id.to_string());
        for (user, does) in [(queue.sender, EdgeKind::Writes), (queue.receiver, EdgeKind::Reads)] {
            if let Some((pid, _)) = user.filter(|(pid, time)| was_there(*pid, *time)) {
                ties.holds(pid, thing, does, Strength::Weak, None);
            }
        }
    }
}
