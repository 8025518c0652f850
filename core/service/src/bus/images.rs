//! The interface of the images.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use dormouse_wire::dbus::{JobKind, thaw_options};
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::zvariant::{Fd, OwnedObjectPath, Value};

use super::{Error, House, job, json};
use crate::authorize::Action;
use crate::worker::{Order, Task};

/// The object that answers for images.
#[derive(Debug)]
pub struct Images(pub Arc<House>);

#[zbus::interface(name = "io.github.dormouse.Dormouse1.Images")]
impl Images {
    async fn list(&self, #[zbus(header)] header: Header<'_>) -> Result<String, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        json(&self.0.answer(&caller, Task::Images).await?)
    }

    async fn folder(&self, #[zbus(header)] header: Header<'_>) -> Result<String, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        json(&self.0.answer(&caller, Task::Room).await?)
    }

    async fn inspect(&self, image: &str, #[zbus(header)] header: Header<'_>) -> Result<String, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        json(&self.0.answer(&caller, Task::Inspect(image.to_owned())).await?)
    }

    async fn preflight(&self, image: &str, #[zbus(header)] header: Header<'_>) -> Result<String, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        json(&self.0.answer(&caller, Task::Preflight(image.to_owned())).await?)
    }

    async fn thaw(
        &self,
        image: &str,
        options: HashMap<String, Value<'_>>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        let mut reset_connections = false;
        for (name, value) in &options {
            if name != thaw_options::RESET_CONNECTIONS {
                return Err(Error::Failed(format!("There is no option {name}.")));
            }
            let odd = |_| Error::Failed(format!("The option {name} has the wrong type."));
            reset_connections = bool::try_from(value).map_err(odd)?;
        }
        self.0.authorize(&caller, &header, Action::Own, image).await?;
        let task = Task::Thaw { image: image.to_owned(), reset_connections };
        let who = caller.who(self.0.session)?;
        job::begin(&self.0, &caller, JobKind::Thaw, image.to_owned(), Order { who, task }, None).await
    }

    async fn export(
        &self,
        image: &str,
        file: Fd<'_>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        let task = Task::Export(image.to_owned());
        let file = Some(own(file)?);
        let who = caller.who(self.0.session)?;
        job::begin(&self.0, &caller, JobKind::Export, image.to_owned(), Order { who, task }, file).await
    }

    async fn import(
        &self,
        name: &str,
        file: Fd<'_>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        let task = Task::Import(name.to_owned());
        let file = Some(own(file)?);
        let who = caller.who(self.0.session)?;
        job::begin(&self.0, &caller, JobKind::Import, name.to_owned(), Order { who, task }, file).await
    }

    async fn delete(&self, image: &str, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        let held = self.0.answer(&caller, Task::Delete(image.to_owned())).await?;
        // Who names it had the image; the user himself may not do it.
        if let Some(id) = held.as_str()
            && let Err(error) = dormouse_engine::let_connections_go(id)
        {
            tracing::warn!(image, %error, "the packet filter of a deleted image stays");
        }
        self.0.images_changed(caller.user).await;
        Ok(())
    }

    async fn move_to(&self, folder: &str, #[zbus(header)] header: Header<'_>) -> Result<OwnedObjectPath, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        let wanted = Some(folder).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let (task, who) = (Task::Move(wanted), caller.who(self.0.session)?);
        job::begin(&self.0, &caller, JobKind::Move, folder.to_owned(), Order { who, task }, None).await
    }

    #[zbus(signal)]
    async fn changed(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;
}

fn own(file: Fd<'_>) -> Result<OwnedFd, Error> {
    let file = match file {
        Fd::Owned(file) => Ok(file),
        Fd::Borrowed(file) => file.try_clone_to_owned(),
    };
    file.map_err(|error| Error::Failed(format!("The file cannot be used: {error}.")))
}
