//! The interface of the images.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use dormouse_wire::dbus::{JobKind, bundle_options, thaw_options};
use dormouse_wire::{ChangedFiles, ThawWish, UserNames};
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
        let wish = told(&options)?;
        self.0.authorize(&caller, &header, Action::Own, image).await?;
        let task = Task::Thaw { image: image.to_owned(), wish };
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

    async fn export_bundle(
        &self,
        image: &str,
        file: Fd<'_>,
        options: HashMap<String, Value<'_>>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        let mut working_files = false;
        for (name, value) in &options {
            if name != bundle_options::WORKING_FILES {
                return Err(Error::Failed(format!("There is no option {name}.")));
            }
            working_files = bool::try_from(value).map_err(|_| wrong_type(name))?;
        }
        let task = Task::ExportBundle { image: image.to_owned(), working_files };
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

fn wrong_type(option: &str) -> Error {
    Error::Failed(format!("The option {option} has the wrong type."))
}

/// Reads the options of a thaw; one that is not known is refused, for it might matter.
fn told(options: &HashMap<String, Value<'_>>) -> Result<ThawWish, Error> {
    let mut wish = ThawWish::default();
    for (name, value) in options {
        let text = || {
            let copy = value.try_clone().map_err(|_| wrong_type(name))?;
            String::try_from(copy).map_err(|_| wrong_type(name))
        };
        let unknown = |wanted: &str| Error::Failed(format!("The option {name} is never {wanted:?}."));
        match name.as_str() {
            thaw_options::RESET_CONNECTIONS => {
                wish.reset_connections = bool::try_from(value).map_err(|_| wrong_type(name))?;
            }
            thaw_options::CHANGED_FILES => {
                let wanted = text()?;
                wish.changed_files = ChangedFiles::named(&wanted).ok_or_else(|| unknown(&wanted))?;
            }
            thaw_options::USERS => {
                let wanted = text()?;
                wish.users = UserNames::named(&wanted).ok_or_else(|| unknown(&wanted))?;
            }
            _ => return Err(Error::Failed(format!("There is no option {name}."))),
        }
    }
    Ok(wish)
}

fn own(file: Fd<'_>) -> Result<OwnedFd, Error> {
    let file = match file {
        Fd::Owned(file) => Ok(file),
        Fd::Borrowed(file) => file.try_clone_to_owned(),
    };
    file.map_err(|error| Error::Failed(format!("The file cannot be used: {error}.")))
}
