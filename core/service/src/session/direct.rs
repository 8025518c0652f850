//! Workers of our own, for whoever has the power to freeze: root.

use std::fs;
use std::path::Path;
use std::time::Duration;

use dormouse_engine::{Asker, Born};
use dormouse_wire::dbus::{AtLogout, Failure, Sleeping};
use dormouse_wire::{
    Compression, Disconnect, Frozen, Label, Listed, Phrase, Progress, ThawWish, Thawed, Verdict, phrase,
};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::{Hands, Wish, is_booted_by_systemd};
use crate::bus::{caller, scope};
use crate::store;
use crate::worker::{self, Meant, Order, Progress as Told, Task, Who};

/// How often is asked whether it is still wanted.
const BREATH: Duration = Duration::from_millis(50);
/// How long systemd may take for a scope.
const PATIENCE: Duration = Duration::from_secs(5);

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

    /// What a freeze of these groups into one image would say.
    pub fn verdict(&self, groups: &[&Listed], born: &Born, keep_connections: bool) -> Result<Verdict, Failure> {
        let meant = meant(groups, born)?;
        let verdict: Verdict = self.work(Task::Verdict(meant), &dormouse_wire::Quiet)?;
        Ok(if keep_connections { verdict.once_kept() } else { verdict })
    }

    /// Whether the user's session falls asleep at logout; chooses so before, if that is wanted.
    pub fn at_logout(&self, wanted: Option<bool>) -> Result<AtLogout, Failure> {
        self.work(Task::AtLogout(wanted), &dormouse_wire::Quiet)
    }

    fn work<T: DeserializeOwned>(&self, task: Task, progress: &dyn Progress) -> Result<T, Failure> {
        let order = Order { who: self.who.clone(), task };
        let value = self.runtime.block_on(async {
            let mut worker = worker::start(&order, None)?;
            if let (Task::Thaw { image, .. }, Some(pid)) = (&order.task, worker.pid()) {
                place(order.who.user, pid, image).await;
            }
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

/// The processes of these groups.
fn meant(groups: &[&Listed], born: &Born) -> Result<Meant, Failure> {
    let first = groups.first().ok_or_else(|| failed(phrase!("There is nobody to freeze.")))?;
    let members = groups.iter().flat_map(|group| &group.members).map(|member| member.pid);
    let born = born.of(members.clone());
    Ok(Meant { pid: first.first_pid, others: members.filter(|pid| *pid != first.first_pid).collect(), born })
}

/// What is woken belongs to its user's session, and not to the unit or the login that has woken it.
async fn place(user: u32, worker: u32, image: &str) {
    if !is_booted_by_systemd() {
        return;
    }
    let bus = async { zbus::connection::Builder::system()?.method_timeout(PATIENCE).build().await };
    match bus.await {
        Ok(bus) => scope::enter(&bus, user, worker, image).await,
        Err(error) => tracing::warn!(%error, "systemd cannot be asked for a scope"),
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
        let label = Label {
            name: Some(first.name.clone()),
            icon: first.icon.clone(),
            application: first.application.clone(),
            session: Some(wish.mark.clone()),
        };
        let task = Task::Freeze {
            meant: meant(groups, &wish.born)?,
            accept_losses: wish.accept_losses,
            label,
            compression: Compression::Fast,
            disconnect: Disconnect::Nothing,
            keep_connections: wish.keep_connections,
            keep_files: wish.keep_files,
        };
        self.work(task, progress)
    }

    fn images(&mut self) -> Result<Vec<Sleeping>, Failure> {
        self.work(Task::Images, &dormouse_wire::Quiet)
    }

    fn thaw(&mut self, image: &str, wish: ThawWish, progress: &dyn Progress) -> Result<Thawed, Failure> {
        self.work(Task::Thaw { image: image.to_owned(), wish }, progress)
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

/// Does something in the folder, which is made where it is not there.
pub(super) fn noted(folder: &Path, work: &mut dyn FnMut(&Path) -> std::io::Result<()>) -> Result<(), Failure> {
    if fs::metadata(folder).is_err() && store::make(folder).is_err() {
        return Ok(());
    }
    work(folder).map_err(|error| {
        let folder = folder.display().to_string();
        failed(phrase!("Who is being woken cannot be written down in {folder}: {why}.", folder, why = error))
    })
}
