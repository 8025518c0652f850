//! The interface of the running groups.

use std::collections::HashMap;
use std::sync::Arc;

use dormouse_engine::Born;
use dormouse_engine::survey::listing::Whose;
use dormouse_wire::dbus::{JobKind, freeze_options};
use dormouse_wire::{Checked, Compression, Disconnect, Label, Pid, SessionMark, Verdict, phrase};
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::zvariant::{OwnedObjectPath, Value};

use super::{Error, House, guarded, job, json, meant};
use crate::authorize::Action;
use crate::watch::redact;
use crate::worker::{Order, Task};

/// The object that answers for groups.
#[derive(Debug)]
pub struct Groups(pub Arc<House>);

#[zbus::interface(name = "io.github.dormouse.Dormouse1.Groups")]
impl Groups {
    async fn list(&self, everybody: bool, #[zbus(header)] header: Header<'_>) -> Result<String, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        let whose = if everybody {
            self.0.authorize(&caller, &header, Action::SeeOthers, "").await?;
            Whose::All
        } else {
            Whose::User(caller.user)
        };
        json(&self.0.survey.list(whose).await?)
    }

    async fn verdict(&self, group: &str, #[zbus(header)] header: Header<'_>) -> Result<String, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        let group = self.0.group(&caller, group).await?;
        if let Some(why) = &group.guarded {
            return json(&Verdict::Blocked(vec![guarded(why)]));
        }
        json(&self.0.answer(&caller, Task::Verdict(meant(&group.listed))).await?)
    }

    async fn check(&self, group: &str, #[zbus(header)] header: Header<'_>) -> Result<String, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        let group = self.0.group(&caller, group).await?;
        let found = self.0.answer(&caller, Task::Check(meant(&group.listed))).await?;
        let mut checked: Checked = serde_json::from_value(found)
            .map_err(|error| Error::Failed(format!("The answer cannot be understood: {error}.")))?;
        if let Some(why) = &group.guarded {
            let mut reasons = match std::mem::replace(&mut checked.verdict, Verdict::Freezable) {
                Verdict::Freezable => Vec::new(),
                Verdict::Lossy(reasons) | Verdict::Blocked(reasons) => reasons,
            };
            reasons.push(guarded(why));
            checked.verdict = Verdict::from_problems(reasons);
        }
        if caller.user != 0 {
            redact(&mut checked.graph, caller.user);
        }
        json(&checked)
    }

    async fn process(&self, pid: i32, #[zbus(header)] header: Header<'_>) -> Result<String, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        json(&self.0.answer(&caller, Task::Process(Pid(pid))).await?)
    }

    async fn freeze(
        &self,
        group: &str,
        options: HashMap<String, Value<'_>>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        let told = told(&options)?;
        let Told { accept_losses, compression, keep_connections, keep_files, .. } = told;
        let (group, who) = self.0.to_change(&caller, &header, group).await?;
        let mut meant = meant(&group);
        for other in &told.with {
            let (other, owner) = self.0.to_change(&caller, &header, other).await?;
            if owner.user != who.user {
                return Err(Error::Failed(phrase!("Groups of several users do not go into one image.").to_string()));
            }
            meant.others.extend(other.members.iter().map(|member| member.pid));
        }
        if let Some(started) = told.started {
            meant = meant.only(started).ok_or_else(|| Error::Failed(phrase!("It has ended meanwhile.").to_string()))?;
        }
        let label = Label {
            name: told.label.or_else(|| Some(group.name.clone())),
            icon: group.icon.clone(),
            application: group.application.clone(),
            session: told.session,
        };
        let disconnect = told.disconnect;
        let task = Task::Freeze { meant, accept_losses, label, compression, disconnect, keep_connections, keep_files };
        job::begin(&self.0, &caller, JobKind::Freeze, group.id, Order { who, task }, None).await
    }

    async fn pause(&self, group: &str, #[zbus(header)] header: Header<'_>) -> Result<String, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        let (group, who) = self.0.to_change(&caller, &header, group).await?;
        let paused = json(&self.0.answer_for(who, Task::Pause(meant(&group))).await?);
        self.0.survey.hurry();
        paused
    }

    async fn resume(&self, group: &str, #[zbus(header)] header: Header<'_>) -> Result<String, Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        let (group, who) = self.0.to_change(&caller, &header, group).await?;
        let resumed = json(&self.0.answer_for(who, Task::Resume(meant(&group))).await?);
        self.0.survey.hurry();
        resumed
    }

    async fn watch(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        self.0.watchers.lock().await.add(caller)
    }

    async fn unwatch(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let (caller, _place) = self.0.enter(&header).await?;
        self.0.watchers.lock().await.remove(&caller.name);
        Ok(())
    }

    #[zbus(signal)]
    async fn changed(emitter: &SignalEmitter<'_>, groups: String, gone: Vec<String>) -> zbus::Result<()>;
}

/// What the options say.
#[derive(Default)]
struct Told {
    accept_losses: bool,
    label: Option<String>,
    compression: Compression,
    disconnect: Disconnect,
    keep_connections: bool,
    keep_files: bool,
    session: Option<SessionMark>,
    with: Vec<String>,
    started: Option<Born>,
}

/// Reads the options; one that is not known is refused, for it might matter.
fn told(options: &HashMap<String, Value<'_>>) -> Result<Told, Error> {
    let mut told = Told::default();
    for (name, value) in options {
        let odd = |_| Error::Failed(format!("The option {name} has the wrong type."));
        let text = || String::try_from(value.try_clone().map_err(odd)?).map_err(odd);
        match name.as_str() {
            freeze_options::ACCEPT_LOSSES => told.accept_losses = bool::try_from(value).map_err(odd)?,
            freeze_options::KEEP_CONNECTIONS => told.keep_connections = bool::try_from(value).map_err(odd)?,
            freeze_options::KEEP_FILES => told.keep_files = bool::try_from(value).map_err(odd)?,
            freeze_options::LABEL => told.label = Some(text()?),
            freeze_options::COMPRESSION => {
                let wanted = text()?;
                let unknown =
                    || Error::Failed(format!("There is no compression {wanted:?}: none, fast and small are."));
                told.compression = Compression::named(&wanted).ok_or_else(unknown)?;
            }
            freeze_options::DISCONNECT => {
                let boundaries: Vec<String> = value.try_clone().map_err(odd)?.try_into().map_err(odd)?;
                told.disconnect = Disconnect::these(boundaries);
            }
            freeze_options::SESSION => told.session.get_or_insert_default().id = text()?,
            freeze_options::SESSION_ORDER => {
                told.session.get_or_insert_default().order = u32::try_from(value).map_err(odd)?;
            }
            freeze_options::STARTED => {
                let started: HashMap<i32, u64> = value.try_clone().map_err(odd)?.try_into().map_err(odd)?;
                told.started = Some(started.into_iter().map(|(pid, started)| (Pid(pid), started)).collect());
            }
            freeze_options::WITH => told.with = value.try_clone().map_err(odd)?.try_into().map_err(odd)?,
            _ => return Err(Error::Failed(format!("There is no option {name}."))),
        }
    }
    let session = told.session.as_ref().is_some_and(|session| session.id.is_empty() || session.id.len() > 64);
    if session || told.with.len() > 1000 {
        return Err(Error::Failed(phrase!("The session is not named as one is.").to_string()));
    }
    if told.label.as_ref().is_some_and(|label| label.len() > 1000) {
        return Err(Error::Failed(phrase!("The name is too long.").to_string()));
    }
    Ok(told)
}
