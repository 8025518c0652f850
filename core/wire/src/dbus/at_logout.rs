//! Whether a session falls asleep at logout.

use serde::{Deserialize, Serialize};

/// Whether somebody's session falls asleep at logout and wakes at login.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtLogout {
    /// Whether that was chosen.
    pub chosen: bool,
    /// Why nothing would come of it on this machine: a whole sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hindrance: Option<String>,
}
