//! Message queues, msgget(2): looked at without taking anything from them (MSG_COPY, msgrcv(2)).

// zoo: system_v_objects

use std::collections::BTreeSet;

use dormouse_wire::Pid;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Known, Made, There};
use crate::kernel::system_v::{self, Object};
use crate::kernel::{Answer, outside};
use crate::proc::system_v::table;

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// By what it is known.
    pub known: Known,
    /// For how many bytes it has room.
    pub room: u64,
    /// The messages, oldest first.
    pub messages: Vec<Message>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its type.
    pub kind: i64,
    /// Its bytes.
    pub bytes: ByteBuf,
}

/// The queues of this ipc namespace that may be looked at.
pub fn there() -> Vec<There> {
    lines().into_iter().map(|(there, _, _)| there).collect()
}

/// Each with its bytes and the last who sent and who received.
fn lines() -> Vec<(There, usize, [Pid; 2])> {
    // Key, id, permissions, bytes, messages, two pids, four ids, three times.
    let line = |line: &Vec<u64>| {
        let pid = |place: usize| line.get(place).map(|pid| Pid(*pid as i32));
        Some((There::of_line(line, 0, 7)?, *line.get(3)? as usize, [pid(5)?, pid(6)?]))
    };
    table("msg").iter().filter_map(line).collect()
}

/// Those that members were the last to use; all of an ipc namespace that is theirs alone.
pub fn capture(members: &BTreeSet<Pid>) -> Answer<Vec<Queue>> {
    let mut queues = Vec::new();
    for (found, bytes, users) in lines() {
        if !outside::has_own("ipc") && !users.iter().any(|pid| members.contains(pid)) {
            continue;
        }
        let (id, mut messages) = (found.known.id, Vec::new());
        while let Some((kind, bytes)) = system_v::look_at_message(id, messages.len(), bytes)? {
            messages.push(Message { kind, bytes: ByteBuf::from(bytes) });
        }
        queues.push(Queue { known: found.known, room: system_v::room_of_queue(id)?, messages });
    }
    Ok(queues)
}

impl Queue {
    /// Finds it or makes it.
    pub fn restore(&self, there: &[There]) -> Result<Made, dormouse_wire::Problem> {
        let Known { id, owner, mode, .. } = self.known;
        let fill = || {
            system_v::give_queue(id, self.known.creator, 0, self.room)?;
            self.messages.iter().try_for_each(|message| system_v::send_message(id, message.kind, &message.bytes))?;
            system_v::give_queue(id, owner, mode, self.room)
        };
        Made::find_or_make(Object::Queue, &self.known, 0, there, fill)
    }
}
