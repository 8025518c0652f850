//! The interface of the service itself.

use dormouse_wire::phrase;
use std::sync::Arc;

use nix::unistd::Uid;
use zbus::message::Header;
use zbus::zvariant::OwnedObjectPath;

use super::{Error, House, json};
use crate::worker::Task;

/// The object that answers for the service.
#[derive(Debug)]
pub struct Service(pub Arc<House>);

#[expect(clippy::unused_self, reason = "properties are methods")]
#[zbus::interface(name = "io.github.dormouse.Dormouse1.Service")]
impl Service {
    async fn jobs(&self, #[zbus(header)] header: Header<'_>) -> Result<Vec<OwnedObjectPath>, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        Ok(self.0.jobs.of(caller.user))
    }

    async fn at_logout(&self, #[zbus(header)] header: Header<'_>) -> Result<String, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        json(&self.0.answer(&caller, Task::AtLogout(None)).await?)
    }

    async fn set_at_logout(&self, chosen: bool, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        self.0.answer(&caller, Task::AtLogout(Some(chosen))).await.map(drop)
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn lacks(&self) -> String {
        if Uid::effective().is_root() {
            String::new()
        } else {
            phrase!("The service runs without the rights of an administrator: it can list and pause what is yours, and freeze nothing.").to_string()
        }
    }
}
