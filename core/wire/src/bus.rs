//! Message buses that a group is connected to, and the names it has there: D-Bus specification.

use serde::{Deserialize, Serialize};

use crate::verdict::ProcessName;
use crate::window::Access;

/// A message bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bus {
    /// Where it listens: a path, or `@` and an abstract name. In the graph the thing of this kind has the same name.
    pub name: String,
    /// Whether it has answered.
    pub access: Access,
    /// Who of the group has a name there, as the bus tells it.
    pub clients: Vec<BusClient>,
}

/// A connection to a bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusClient {
    /// The process that has connected.
    #[serde(flatten)]
    pub process: ProcessName,
    /// The unique name of the connection, such as `:1.7`.
    pub unique: String,
    /// The well-known names that it owns, such as `org.gnome.Calculator`.
    pub names: Vec<String>,
}

impl BusClient {
    /// `org.gnome.Calculator (:1.7)`, or `:1.7` for one without another name.
    pub fn shown(&self) -> String {
        match self.names.as_slice() {
            [] => self.unique.clone(),
            names => format!("{} ({})", names.join(", "), self.unique),
        }
    }
}
