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
pub async fn enter(connection: &Connection, user: u32, worker: u32, image: &str) {
    let name = name(image, worker);
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

/// `app-LAUNCHER-APPLICATION-NUMBER.scope`, "Desktop Environment Integration" of systemd: what the group is called is its own
/// word, in which dashes and all that no unit may be called by is escaped, systemd.unit(5).
fn name(image: &str, worker: u32) -> String {
    /// A unit's name has at most 255 letters.
    const MOST: usize = 200;
    let stem = image.strip_suffix(".dormouse").unwrap_or(image);
    let mut escaped = String::new();
    for byte in stem.bytes() {
        let letter = match byte {
            b'.' if escaped.is_empty() => "\\x2e".to_owned(),
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.' | b':' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        };
        if escaped.len() + letter.len() > MOST {
            break;
        }
        escaped += &letter;
    }
    if escaped.is_empty() {
        escaped.push_str("group");
    }
    format!("app-dormouse-{escaped}-{worker}.scope")
}

fn is_in(worker: u32, name: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{worker}/cgroup")).is_ok_and(|groups| groups.contains(name))
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn a_scope_has_a_name_that_systemd_takes() {
        assert_eq!(name("bash-42-1970.dormouse", 7), r"app-dormouse-bash\x2d42\x2d1970-7.scope");
        assert_eq!(name("my word\n@é", 7), r"app-dormouse-my\x20word\x0a\x40\xc3\xa9-7.scope");
        assert_eq!(name("", 7), "app-dormouse-group-7.scope");
        assert_eq!(name("../x", 7), r"app-dormouse-\x2e.\x2fx-7.scope");
        assert!(name(&"-".repeat(255), u32::MAX).len() <= 255);
    }
}
