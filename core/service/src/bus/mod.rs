//! The objects on the bus: one interface a file.

pub mod caller;
mod error;
mod groups;
mod images;
mod job;
mod jobs;
mod limit;
pub(crate) mod scope;
mod service;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dormouse_engine::Born;
use dormouse_wire::dbus::PATH;
use dormouse_wire::{Listed, Phrase, Problem, ProblemKind, phrase};
use tokio::sync::Mutex;
use zbus::Connection;
use zbus::message::Header;

pub use error::Error;

use crate::Options;
use crate::authorize::{Action, authorize};
use crate::watch::{Group, Survey, Watchers};
use crate::worker::{self, Meant, Order, Task, Who};
use caller::Caller;
use jobs::Jobs;
use limit::{Limit, Place};

/// What all objects share.
#[derive(Debug)]
pub struct House {
    /// The bus.
    pub connection: Connection,
    /// Whether this is the service of one session, without power over anybody else.
    pub session: bool,
    /// Who needs no word of polkit for what is his own.
    trusted: Option<u32>,
    /// The look at all processes.
    pub survey: Survey,
    /// Who wants to hear of changes.
    pub watchers: Mutex<Watchers>,
    /// The users whose folders of images are being looked at and have not answered yet.
    pub folders_asked: Arc<std::sync::Mutex<BTreeSet<u32>>>,
    /// The jobs.
    pub jobs: Jobs,
    /// How much is done at a time.
    limit: Limit,
    /// Whether anybody has called since this was last looked at.
    called: AtomicBool,
}

impl House {
    /// Without anybody in it.
    pub fn new(connection: Connection, options: Options) -> Arc<Self> {
        Arc::new(Self {
            connection,
            session: options.session,
            trusted: options.trusted,
            survey: Survey::begin(),
            watchers: Mutex::default(),
            folders_asked: Arc::default(),
            jobs: Jobs::default(),
            limit: Limit::default(),
            called: AtomicBool::new(false),
        })
    }

    /// Puts the objects on the bus.
    pub async fn open(self: &Arc<Self>) -> zbus::Result<()> {
        let server = self.connection.object_server();
        server.at(PATH, groups::Groups(Arc::clone(self))).await?;
        server.at(PATH, images::Images(Arc::clone(self))).await?;
        server.at(PATH, service::Service(Arc::clone(self))).await?;
        Ok(())
    }

    /// Whether nobody watches, no job is remembered, and nobody has called since this was last asked.
    pub async fn is_idle(&self) -> bool {
        let called = self.called.swap(false, Ordering::Relaxed);
        !called && self.watchers.lock().await.is_empty() && self.jobs.is_empty() && self.limit.is_idle()
    }

    /// Who calls; and room to work for him, as long as the place is kept.
    async fn enter(&self, header: &Header<'_>) -> Result<(Caller, Place), Error> {
        self.called.store(true, Ordering::Relaxed);
        let caller = Caller::of(self, header).await?;
        let place = self.limit.place(caller.user).await?;
        Ok((caller, place))
    }

    /// The group of the caller that has this id.
    async fn group(&self, caller: &Caller, id: &str) -> Result<Group, Error> {
        if id.len() > 4096 {
            return Err(Error::NotFound(phrase!("No group has a name as long as that.").to_string()));
        }
        self.survey.find(id.to_owned(), caller.user, caller.pid).await.map_err(Error::from)
    }

    /// The group that has this id, to be changed for its owner: the caller, or another user where an administrator agrees.
    async fn to_change(&self, caller: &Caller, header: &Header<'_>, id: &str) -> Result<(Listed, Who), Error> {
        let found = self.group(caller, id).await;
        if matches!(found, Err(Error::NotAuthorized(_))) && !self.session {
            self.authorize(caller, header, Action::Others, id).await?;
            let group = unguarded(self.survey.find(id.to_owned(), 0, caller.pid).await?)?;
            let owner =
                group.uid.ok_or_else(|| Error::Failed(phrase!("It is not known whose this group is.").to_string()))?;
            return Ok((group, caller::who(owner, self.session)?));
        }
        let group = unguarded(found?)?;
        self.authorize(caller, header, Action::Own, &group.name).await?;
        Ok((group, caller.who(self.session)?))
    }

    /// Lets a worker do something brief for this user.
    async fn answer_for(&self, who: Who, task: Task) -> Result<serde_json::Value, Error> {
        worker::answer(&Order { who, task }).await.map_err(Error::from)
    }

    /// Lets a worker do something brief for the caller.
    async fn answer(&self, caller: &Caller, task: Task) -> Result<serde_json::Value, Error> {
        self.answer_for(caller.who(self.session)?, task).await
    }

    /// Whether the caller may do this.
    async fn authorize(
        &self,
        caller: &Caller,
        header: &Header<'_>,
        action: Action,
        subject: &str,
    ) -> Result<(), Error> {
        if action == Action::Own && self.trusted == Some(caller.user) {
            return Ok(());
        }
        authorize(&self.connection, caller, header, action, subject).await
    }
}

/// Why a group is left alone.
fn guarded(why: &Phrase) -> Problem {
    Problem::blocks(ProblemKind::Selection, why.clone()).way_out(phrase!("Choose another group"))
}

/// A group that is not to be left alone.
fn unguarded(group: Group) -> Result<Listed, Error> {
    match &group.guarded {
        Some(why) => Err(Error::Failed(format!("This group is left alone: {why}."))),
        None => Ok(group.listed),
    }
}

/// The processes of a group.
fn meant(group: &Listed) -> Meant {
    let others = group.members.iter().map(|member| member.pid).filter(|pid| *pid != group.first_pid).collect();
    Meant { pid: group.first_pid, others, born: Born::default() }
}

/// JSON for the bus.
fn json<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Failed(format!("The answer cannot be written down: {error}.")))
}
