//! A process among the others: parent, session, process group; credentials(7), setsid(2), setpgid(2).

// zoo: sessions

use dormouse_wire::Pid;
use serde::{Deserialize, Serialize};

/// Pid and relations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// The pid.
    pub pid: Pid,
    /// The parent, if it belongs to the group.
    pub parent: Option<Pid>,
    /// The process group.
    pub process_group: Pid,
    /// The session.
    pub session: Pid,
    /// The session has members outside the group, or its terminal lies outside: at the thaw it is that of the caller.
    pub session_outside: bool,
    /// The process group has members outside the group: at the thaw it is that of the caller.
    pub process_group_outside: bool,
    /// The signal its parent gets at its end; mostly SIGCHLD.
    pub exit_signal: i32,
}

impl Family {
    /// Whether the process leads a session of its own after the thaw.
    pub fn leads_session(&self) -> bool {
        self.session == self.pid && !self.session_outside
    }
}
