//! Workers of our own, for whoever has the power to freeze: root.

use std::fs;
use std::path::Path;
use std::time::Duration;

use dormouse_engine::Asker;
use dormouse_wire::dbus::{Failure, Sleeping};
use dormouse_wire::{Compression, Disconnect, Frozen, Label, Listed, Phrase, Progress, Thawed, phrase};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::{Hands, Wish};
use crate::bus::caller;
use crate::store;
use crate::worker::{self, Meant, Order, Progress as Told, Task, Who};

/// How often is asked whether it is still wanted.
const BREATH: Duration = Duration::from_millis(50);

/// The workers of one user.
#[derive(Debug)]
pub struct Direct {
    runtime: Runtime,
    who: Who,
}

fn failed(sentence: Phrase) -> Failure {
    Failure { sentence, problems: Vec::new() }
}

impl Direct {
    /// For this user.
    pub fn of(user: u32) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(phrase!("The work could not begin: {why}.", why = error)))?;
        let who = caller::who(user, false).map_err(|error| failed(Phrase::from(error.to_string())))?;
        let acting = who.asker().as_ref().map(Asker::acting).transpose();
        let folder = acting.map(|_acting| store::chosen(&who.choice).unwrap_or_else(|| who.usual.clone()));
        let folder = folder
            .map_err(|problem| Failure { sentence: phrase!("The work could not begin."), problems: vec![problem] })?;
        Ok(Self { runtime, who: Who { folder, ..who } })
    }

    fn work<T: DeserializeOwned>(&self, task: Task, progress: &dyn Progress) -> Result<T, Failure> {
        let order = Order { who: self.who.clone(), task };
        let value = self.runtime.block_on(async {
            let mut worker = worker::start(&order, None)?;
            worker.let_go();
            let mut cancelled = false;
            loop {
                let told = tokio::select! {
                    told = worker.next() => told,
                    () = tokio::time::sleep(BREATH) => {
                        if progress.cancelled() && !cancelled {
                            cancelled = true;
                            worker.cancel();
                        }
                        continue;
                    }
                };
                match told {
                    Told::Begins(phase, bytes) => progress.begins(phase, bytes),
                    Told::Moved(_) => {}
                    Told::Ended(ended) => return ended.map_err(worker::Ended::failure),
                }
            }
        })?;
        understood(value)
    }
}

/// What an answer says.
pub(super) fn understood<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Failure> {
    serde_json::from_value(value)
        .map_err(|error| failed(phrase!("The answer cannot be understood: {why}.", why = error)))
}

impl Hands for Direct {
    fn freeze(&mut self, groups: &[&Listed], wish: &Wish, progress: &dyn Progress) -> Result<Frozen, Failure> {
        let Some(first) = groups.first() else { return Err(failed(phrase!("There is nobody to freeze."))) };
        let members = groups.iter().flat_map(|group| &group.members).map(|member| member.pid);
        let others = members.filter(|pid| *pid != first.first_pid).collect();
        let label = Label {
            name: Some(first.name.clone()),
            icon: first.icon.clone(),
            application: first.application.clone(),
            session: Some(wish.mark.clone()),
        };
        let task = Task::Freeze {
            meant: Meant { pid: first.first_pid, others },
            accept_losses: wish.accept_losses,
            label,
            compression: Compression::Fast,
            disconnect: Disconnect::Nothing,
            keep_connections: wish.keep_connections,
        };
        self.work(task, progress)
    }

    fn images(&mut self) -> Result<Vec<Sleeping>, Failure> {
        self.work(Task::Images, &dormouse_wire::Quiet)
    }

    fn thaw(&mut self, image: &str, progress: &dyn Progress) -> Result<Thawed, Failure> {
        self.work(Task::Thaw { image: image.to_owned(), reset_connections: false }, progress)
    }

    fn delete(&mut self, image: &str) -> Result<(), Failure> {
        let held: Option<String> = self.work(Task::Delete(image.to_owned()), &dormouse_wire::Quiet)?;
        if let Some(id) = held
            && let Err(error) = dormouse_engine::let_connections_go(&id)
        {
            tracing::warn!(image, %error, "the packet filter of a deleted image stays");
        }
        Ok(())
    }

    fn note(&mut self, work: &mut dyn FnMut(&Path) -> std::io::Result<()>) -> Result<(), Failure> {
        let asker = self.who.asker();
        let _acting = asker
            .as_ref()
            .map(Asker::acting)
            .transpose()
            .map_err(|problem| Failure { sentence: phrase!("The work could not begin."), problems: vec![problem] })?;
        noted(&self.who.folder, work)
    }
}

/// Does something in the folder, if it is there.
pub(super) fn noted(folder: &Path, work: &mut dyn FnMut(&Path) -> std::io::Result<()>) -> Result<(), Failure> {
    if fs::metadata(folder).is_err() {
        return Ok(());
    }
    work(folder).map_err(|error| {
        let folder = folder.display().to_string();
        failed(phrase!("Who is being woken cannot be written down in {folder}: {why}.", folder, why = error))
    })
}
