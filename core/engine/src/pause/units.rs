//! Who runs the units of the system, and freezes them when asked: systemd, which only the engine's callers can reach.

use std::fmt::Debug;
use std::path::Path;

use dormouse_wire::Pid;

/// Freezes and thaws units. systemd keeps books on what is frozen, so that it is asked before a file is written
/// behind its back.
pub trait Units: Debug {
    /// Freezes a unit, such as `app-gedit-4211.scope`, whose control group is this folder; `pid` runs in it. An error says in a
    /// clause why not: there is no such manager, the unit is not its own, or the caller may not.
    fn freeze(&self, unit: &str, folder: &Path, pid: Pid) -> Result<(), String>;

    /// Thaws a unit that the manager has frozen. An error also where it knows nothing of that.
    fn thaw(&self, unit: &str, folder: &Path, pid: Pid) -> Result<(), String>;
}

/// Nobody runs units.
#[derive(Clone, Copy, Debug, Default)]
pub struct WithoutUnits;

impl Units for WithoutUnits {
    fn freeze(&self, _: &str, _: &Path, _: Pid) -> Result<(), String> {
        Err("nobody runs units".to_owned())
    }

    fn thaw(&self, _: &str, _: &Path, _: Pid) -> Result<(), String> {
        Err("nobody runs units".to_owned())
    }
}
