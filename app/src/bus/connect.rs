//! On which bus the service is: the system's first, then that of the session.

use dormouse_wire::dbus::NAME;
use zbus::fdo::DBusProxy;
use zbus::names::BusName;
use zbus::{Connection, fdo};

/// The buses there are.
#[derive(Debug, Default)]
pub struct Buses {
    system: Option<Connection>,
    session: Option<Connection>,
}

impl Buses {
    /// Connects to those to which there is no connection yet.
    pub async fn open(&mut self) {
        if self.system.is_none() {
            self.system = Connection::system().await.ok();
        }
        if self.session.is_none() {
            self.session = Connection::session().await.ok();
        }
    }

    /// The connections, the system's first.
    pub fn all(&self) -> impl Iterator<Item = &Connection> {
        self.system.iter().chain(&self.session)
    }

    /// The first bus on which the service is, or that would start it.
    pub async fn with_service(&self) -> Option<Connection> {
        for connection in self.all() {
            if is_there(connection).await.unwrap_or(false) {
                return Some(connection.clone());
            }
        }
        None
    }

    /// Forgets connections that have ended.
    pub async fn drop_dead(&mut self) {
        for place in [&mut self.system, &mut self.session] {
            if let Some(connection) = place
                && is_there(connection).await.is_err()
            {
                *place = None;
            }
        }
    }
}

async fn is_there(connection: &Connection) -> fdo::Result<bool> {
    let bus = DBusProxy::new(connection).await?;
    if bus.name_has_owner(BusName::try_from(NAME).map_err(zbus::Error::from)?).await? {
        return Ok(true);
    }
    let would_start = bus.list_activatable_names().await?;
    Ok(would_start.iter().any(|name| name.as_str() == NAME))
}
