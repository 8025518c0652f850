//! A woken group belongs to its user's session, and not to the service that woke it: where systemd runs, the worker gets a
//! scope of its own in the user's slice before it makes the first process, org.freedesktop.systemd1(5).

use std::time::Duration;

use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::names::BusName;
use zbus::zvariant::{OwnedObjectPath, Value};

const SYSTEMD: &str = "org.freedesktop.systemd1";
/// How long systemd may take to move a process.
const PATIENCE: Duration = Duration::from_secs(2);
const BREATH: Duration = Duration::from_millis(10);

/// Moves a worker into a scope. Where there is no systemd it stays where it is.
pub async fn enter(connection: &Connection, user: u32, worker: u32) {
    let name = format!("dormouse-woken-{worker}.scope");
    match asked(connection, user, worker, &name).await {
        Ok(false) => {}
        Ok(true) => {
            let arrived = async {
                while !is_in(worker, &name) {
                    tokio::time::sleep(BREATH).await;
                }
            };
            if tokio::time::timeout(PATIENCE, arrived).await.is_err() {
                tracing::warn!("systemd has not moved the worker into {name}; the group stays with the service");
            }
        }
        Err(error) => tracing::warn!(%error, "systemd makes no scope; the group stays with the service"),
    }
}

/// Asks systemd for the scope, if there is one to ask.
async fn asked(connection: &Connection, user: u32, worker: u32, name: &str) -> zbus::Result<bool> {
    if !DBusProxy::new(connection).await?.name_has_owner(BusName::try_from(SYSTEMD)?).await? {
        return Ok(false);
    }
    let slice = if user == 0 { "system.slice".to_owned() } else { format!("user-{user}.slice") };
    let properties = [
        ("Description", Value::from("A group that Dormouse has woken")),
        ("PIDs", Value::from(vec![worker])),
        ("Slice", Value::from(slice)),
        ("CollectMode", Value::from("inactive-or-failed")),
    ];
    let none: [(&str, Vec<(&str, Value<'_>)>); 0] = [];
    let manager = Some("org.freedesktop.systemd1.Manager");
    let body = (name, "fail", &properties[..], &none[..]);
    let answer =
        connection.call_method(Some(SYSTEMD), "/org/freedesktop/systemd1", manager, "StartTransientUnit", &body);
    let _: OwnedObjectPath = answer.await?.body().deserialize()?;
    Ok(true)
}

fn is_in(worker: u32, name: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{worker}/cgroup")).is_ok_and(|groups| groups.contains(name))
}
