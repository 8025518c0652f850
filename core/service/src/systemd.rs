//! systemd, asked over the bus to freeze and thaw the units it runs: org.freedesktop.systemd1(5). The engine knows no bus.

use std::env;
use std::path::Path;
use std::time::Duration;

use dormouse_engine::Units;
use dormouse_wire::Pid;
use nix::unistd::Uid;
use zbus::blocking::Connection;
use zbus::blocking::connection::Builder;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};

const NAME: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// How long systemd may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// systemd, of the system and of each user.
#[derive(Debug, Default)]
pub struct Systemd;

impl Units for Systemd {
    fn freeze(&self, unit: &str, folder: &Path, pid: Pid) -> Result<(), String> {
        told(unit, folder, pid, "FreezeUnit").map_err(|error| error.to_string())
    }

    fn thaw(&self, unit: &str, folder: &Path, pid: Pid) -> Result<(), String> {
        told(unit, folder, pid, "ThawUnit").map_err(|error| error.to_string())
    }
}

/// Tells systemd to do this with the unit, once it has said that it is its own.
fn told(unit: &str, folder: &Path, pid: Pid, what: &str) -> zbus::Result<()> {
    let bus = bus(folder)?;
    let path: OwnedObjectPath = bus
        .call_method(Some(NAME), "/org/freedesktop/systemd1", Some(MANAGER), "GetUnitByPID", &(pid.0 as u32))?
        .body()
        .deserialize()?;
    let property = |name: &str| -> zbus::Result<String> {
        let properties = Some("org.freedesktop.DBus.Properties");
        let value: OwnedValue =
            bus.call_method(Some(NAME), &path, properties, "Get", &(UNIT, name))?.body().deserialize()?;
        Ok(String::try_from(value)?)
    };
    let id = property("Id")?;
    if id != unit {
        return Err(zbus::Error::Failure(format!("the process runs in {id} for systemd, and not in {unit}")));
    }
    if what == "ThawUnit" && property("FreezerState")? == "running" {
        return Err(zbus::Error::Failure(format!("systemd has not frozen {unit}")));
    }
    bus.call_method(Some(NAME), "/org/freedesktop/systemd1", Some(MANAGER), what, &unit)?;
    Ok(())
}

/// The bus of the systemd whose unit this is: below `user@UID.service` it is the user's, else the system's.
fn bus(folder: &Path) -> zbus::Result<Connection> {
    let of_user = |name: &str| name.strip_prefix("user@")?.strip_suffix(".service")?.parse::<u32>().ok();
    let mut above = folder.parent().into_iter().flat_map(Path::iter);
    let user = above.find_map(|name| of_user(name.to_str()?));
    let builder = match user {
        None => Builder::system()?,
        Some(user) if user == Uid::effective().as_raw() && env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some() => {
            Builder::session()?
        }
        Some(user) => Builder::address(format!("unix:path=/run/user/{user}/bus").as_str())?,
    };
    builder.method_timeout(PATIENCE).build()
}
