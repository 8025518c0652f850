//! The service on the system bus, for whoever has no power to freeze.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use dormouse_wire::dbus::{
    Failure, Folder, GroupsProxy, ImagesProxy, JobProxy, JobState, Sleeping, freeze_options, thaw_options,
};
use dormouse_wire::{Frozen, Listed, Phrase, Problem, ProblemKind, Progress, ThawWish, Thawed, phrase};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use zbus::Connection;
use zbus::connection::Builder;
use zbus::proxy::CacheProperties;
use zbus::zvariant::{OwnedObjectPath, Value};

use super::direct::{noted, understood};
use super::{Hands, Wish};

/// How often a job is looked at.
const BREATH: Duration = Duration::from_millis(50);
/// How long the service may take for an answer that is no job.
const PATIENCE: Duration = Duration::from_mins(1);

/// The service.
#[derive(Debug)]
pub struct OverBus {
    runtime: Runtime,
    connection: Connection,
    groups: GroupsProxy<'static>,
    images: ImagesProxy<'static>,
}

fn failed(sentence: Phrase, why: impl ToString) -> Failure {
    let problem = Problem::blocks(ProblemKind::Privilege, Phrase::from(why.to_string()));
    Failure { sentence, problems: vec![problem] }
}

fn refused(error: zbus::Error) -> Failure {
    let said = match error {
        zbus::Error::MethodError(name, text, _) => text.unwrap_or_else(|| name.to_string()),
        error => error.to_string(),
    };
    Failure { sentence: Phrase::from(said), problems: Vec::new() }
}

impl OverBus {
    /// The service, which the bus starts.
    pub fn find() -> Result<Self, Failure> {
        let sentence =
            || phrase!("The service of Dormouse cannot be reached: run this as root, or install the service.");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(sentence(), error))?;
        let connected = runtime.block_on(async {
            let connection = Builder::system()?.method_timeout(PATIENCE).build().await?;
            let groups = GroupsProxy::new(&connection).await?;
            let images = ImagesProxy::new(&connection).await?;
            // Asked for once, so that it is there.
            images.folder().await?;
            Ok::<_, zbus::Error>((connection, groups, images))
        });
        let (connection, groups, images) = connected.map_err(|error| failed(sentence(), error))?;
        Ok(Self { runtime, connection, groups, images })
    }

    async fn attend<T: DeserializeOwned>(&self, job: OwnedObjectPath, progress: &dyn Progress) -> Result<T, Failure> {
        let job = JobProxy::builder(&self.connection).path(job).map_err(refused)?;
        let job = job.cache_properties(CacheProperties::No).build().await.map_err(refused)?;
        let mut cancelled = false;
        loop {
            let state = job.state().await.map_err(refused)?;
            let state = JobState::named(&state);
            if matches!(state, Some(JobState::Running)) {
                if progress.cancelled() && !cancelled {
                    cancelled = true;
                    job.cancel().await.map_err(refused)?;
                }
                if let Ok(phase) = serde_json::from_value(job.phase().await.map_err(refused)?.into()) {
                    progress.begins(phase, 0);
                }
                tokio::time::sleep(BREATH).await;
                continue;
            }
            let result = job.result().await.map_err(refused)?;
            let odd = |error| failed(phrase!("The answer cannot be understood."), error);
            let value: serde_json::Value = serde_json::from_str(&result).map_err(odd)?;
            return if state == Some(JobState::Done) { understood(value) } else { Err(understood(value)?) };
        }
    }
}

impl Hands for OverBus {
    fn freeze(&mut self, groups: &[&Listed], wish: &Wish, progress: &dyn Progress) -> Result<Frozen, Failure> {
        let Some((first, others)) = groups.split_first() else {
            return Err(Failure { sentence: phrase!("There is nobody to freeze."), problems: Vec::new() });
        };
        let with: Vec<&str> = others.iter().map(|group| group.id.as_str()).collect();
        let mut options = HashMap::from([
            (freeze_options::ACCEPT_LOSSES, Value::from(wish.accept_losses)),
            (freeze_options::KEEP_CONNECTIONS, Value::from(wish.keep_connections)),
            (freeze_options::KEEP_FILES, Value::from(wish.keep_files)),
            (freeze_options::SESSION, Value::from(wish.mark.id.as_str())),
            (freeze_options::SESSION_ORDER, Value::from(wish.mark.order)),
        ]);
        let members = groups.iter().flat_map(|group| &group.members).map(|member| member.pid);
        let started: HashMap<i32, u64> = wish.born.of(members).iter().map(|(pid, started)| (pid.0, started)).collect();
        if !started.is_empty() {
            options.insert(freeze_options::STARTED, Value::from(started));
        }
        if !with.is_empty() {
            options.insert(freeze_options::WITH, Value::from(with));
        }
        self.runtime.block_on(async {
            let job = self.groups.freeze(&first.id, options).await.map_err(refused)?;
            self.attend(job, progress).await
        })
    }

    fn images(&mut self) -> Result<Vec<Sleeping>, Failure> {
        let list = self.runtime.block_on(self.images.list()).map_err(refused)?;
        serde_json::from_str(&list).map_err(|error| failed(phrase!("The answer cannot be understood."), error))
    }

    fn thaw(&mut self, image: &str, wish: ThawWish, progress: &dyn Progress) -> Result<Thawed, Failure> {
        self.runtime.block_on(async {
            let job = self.images.thaw(image, thaw_options::of(wish)).await.map_err(refused)?;
            self.attend(job, progress).await
        })
    }

    fn delete(&mut self, image: &str) -> Result<(), Failure> {
        self.runtime.block_on(self.images.delete(image)).map_err(refused)
    }

    fn note(&mut self, work: &mut dyn FnMut(&Path) -> std::io::Result<()>) -> Result<(), Failure> {
        // Where the service has them, whatever the environment says here.
        let folder = self.runtime.block_on(self.images.folder()).map_err(refused)?;
        let folder: Folder = serde_json::from_str(&folder)
            .map_err(|error| failed(phrase!("The answer cannot be understood."), error))?;
        noted(&folder.path, work)
    }
}
