//! The worker that owns the connection: it finds the service, tells of it, and asks it, each question by itself, so that a
//! large answer holds up no small one. When the service ends it waits for it to come back.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dormouse_wire::dbus::{
    GroupsProxy, ImagesProxy, JobKind, JobProxy, NAME, ServiceProxy, bundle_options, freeze_options, thaw_options,
};
use dormouse_wire::{Checked, Compression, Verdict};
use futures_util::StreamExt;
use futures_util::future::{pending, select_all};
use serde_json::from_str;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::sleep;
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::zvariant::{Fd, OwnedObjectPath, Value};

use super::connect::Buses;
use super::follow::follow;
use super::{Answer, Ask, Bus, FreezeHow, News, Service, Trouble};
use crate::say;

/// How long to wait before looking for a service again that has just ended.
const BREATH: Duration = Duration::from_millis(500);
/// How often to look for one where no bus would tell.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Where news go.
type Told = Arc<dyn Fn(News) + Send + Sync>;

/// Starts the worker. The news come from another thread.
pub fn start(everybody: bool, told: impl Fn(News) + Send + Sync + 'static) -> Bus {
    let (sender, asks) = unbounded_channel();
    relm4::spawn(run(everybody, asks, Arc::new(told)));
    Bus(sender)
}

/// Why a session with the service is over.
enum End {
    /// The service has ended, or the bus.
    Gone,
    /// The app has.
    Closed,
}

async fn run(mut everybody: bool, mut asks: UnboundedReceiver<Ask>, told: Told) {
    let mut buses = Buses::default();
    loop {
        buses.open().await;
        if let Some(connection) = buses.with_service().await
            && let Ok(session) = Session::open(&connection, everybody, &told).await
        {
            match session.serve(&mut asks, &mut everybody).await {
                Ok(End::Closed) => return,
                Ok(End::Gone) | Err(_) => told(News::Service(Service::Sought)),
            }
            sleep(BREATH).await;
            buses.drop_dead().await;
            continue;
        }
        told(News::Service(Service::Missing));
        let retried = async {
            loop {
                match asks.recv().await {
                    None => return false,
                    Some(Ask::Refresh) => return true,
                    Some(Ask::Everybody(all)) => everybody = all,
                    // There is nobody to ask; the pages have been told.
                    Some(_) => {}
                }
            }
        };
        tokio::select! {
            goes_on = retried => if !goes_on { return },
            () = arrival(&buses) => {}
            () = sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Waits until the service has come onto one of the buses.
async fn arrival(buses: &Buses) {
    let mut waits = Vec::new();
    for connection in buses.all() {
        waits.push(Box::pin(owner_changes(connection, true)));
    }
    if waits.is_empty() { pending().await } else { drop(select_all(waits).await) }
}

/// Waits until the name of the service has got an owner, or has lost it.
async fn owner_changes(connection: &Connection, arrives: bool) {
    let wait = async {
        let bus = DBusProxy::new(connection).await?;
        let mut changes = bus.receive_name_owner_changed_with_args(&[(0, NAME)]).await?;
        while let Some(change) = changes.next().await {
            if change.args().is_ok_and(|change| change.new_owner().is_some() == arrives) {
                break;
            }
        }
        Ok::<_, zbus::Error>(())
    };
    if wait.await.is_err() && arrives {
        pending::<()>().await;
    }
}

/// The service, as long as it is there.
struct Session {
    connection: Connection,
    service: ServiceProxy<'static>,
    groups: GroupsProxy<'static>,
    images: ImagesProxy<'static>,
    told: Told,
    /// Whether everybody's groups are listed.
    everybody: AtomicBool,
    /// The lists are to be read again.
    groups_due: Notify,
    images_due: Notify,
    /// How often groups have changed.
    changes: AtomicU64,
}

impl Session {
    /// Says hello, which starts the service where the bus can.
    async fn open(connection: &Connection, everybody: bool, told: &Told) -> Answer<Arc<Self>> {
        let service = ServiceProxy::new(connection).await?;
        let (version, lacks) = (service.version().await?, service.lacks().await?);
        let session = Arc::new(Self {
            connection: connection.clone(),
            service,
            groups: GroupsProxy::new(connection).await?,
            images: ImagesProxy::new(connection).await?,
            told: told.clone(),
            everybody: AtomicBool::new(everybody),
            groups_due: Notify::new(),
            images_due: Notify::new(),
            changes: AtomicU64::new(0),
        });
        told(News::Service(Service::There {
            version,
            lacks: Some(lacks).filter(|lacks| !lacks.is_empty()).map(|lacks| say::translated(&lacks)),
        }));
        Ok(session)
    }

    /// Passes on what the service tells, and asks what is to be asked, until one of the two ends.
    async fn serve(self: Arc<Self>, asks: &mut UnboundedReceiver<Ask>, everybody: &mut bool) -> Answer<End> {
        let mut groups = self.groups.receive_changed().await?;
        let mut images = self.images.receive_changed().await?;
        let connection = self.connection.clone();
        let mut gone = Box::pin(owner_changes(&connection, false));
        self.groups.watch().await?;
        // Dropped with this: what is still asked then has nobody to answer.
        let mut work = JoinSet::new();
        work.spawn(self.clone().list_groups());
        work.spawn(self.clone().list_images());
        self.refresh();
        work.spawn(self.clone().jobs());
        work.spawn(self.clone().tell_at_logout());
        loop {
            tokio::select! {
                () = &mut gone => return Ok(End::Gone),
                change = groups.next() => {
                    let Some(change) = change else { return Ok(End::Gone) };
                    if let Ok(change) = change.args() {
                        self.changed(change.groups(), change.gone());
                    }
                }
                change = images.next() => {
                    if change.is_none() { return Ok(End::Gone) }
                    self.images_due.notify_one();
                }
                ask = asks.recv() => match ask {
                    None => return Ok(End::Closed),
                    Some(Ask::Refresh) => self.refresh(),
                    Some(Ask::Everybody(all)) => {
                        *everybody = all;
                        self.everybody.store(all, Ordering::Relaxed);
                        self.groups_due.notify_one();
                    }
                    Some(ask) => drop(work.spawn(self.clone().answer(ask))),
                },
                Some(_) = work.join_next() => {}
            }
        }
    }

    fn tell(&self, news: News) {
        (self.told)(news);
    }

    fn refresh(&self) {
        self.groups_due.notify_one();
        self.images_due.notify_one();
    }

    fn changed(&self, groups: &str, gone: &[String]) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        if let Ok(groups) = from_str(groups) {
            self.tell(News::Changed { groups: Arc::new(groups), gone: Arc::new(gone.to_vec()) });
        }
    }

    /// Lists the groups whenever that is due, one list at a time: an old one never comes after a new one. Where something
    /// changed while the service was listing, the list may not know it, and is read again.
    async fn list_groups(self: Arc<Self>) {
        loop {
            self.groups_due.notified().await;
            let before = self.changes.load(Ordering::Relaxed);
            self.tell(match parsed(self.groups.list(self.everybody.load(Ordering::Relaxed)).await) {
                Ok(groups) => News::Groups(Arc::new(groups)),
                Err(trouble) => News::NoGroups(trouble),
            });
            if self.changes.load(Ordering::Relaxed) != before {
                self.groups_due.notify_one();
            }
        }
    }

    /// Lists the images whenever that is due, one list at a time.
    async fn list_images(self: Arc<Self>) {
        loop {
            self.images_due.notified().await;
            self.tell(match parsed(self.images.list().await) {
                Ok(images) => News::Images(Arc::new(images)),
                Err(trouble) => News::NoImages(trouble),
            });
            if let Ok(folder) = parsed(self.images.folder().await) {
                self.tell(News::Folder(Arc::new(folder)));
            }
        }
    }

    /// The jobs that were under way before.
    async fn jobs(self: Arc<Self>) {
        let jobs = self.service.jobs().await.unwrap_or_default();
        let follow = |path| Box::pin(follow(&self.connection, path, |job| self.tell(News::Job(Arc::new(job)))));
        futures_util::future::join_all(jobs.into_iter().map(follow)).await;
    }

    /// A service of another version may not know.
    async fn tell_at_logout(self: Arc<Self>) {
        if let Ok(at_logout) = parsed(self.service.at_logout().await) {
            self.tell(News::AtLogout(at_logout));
        }
    }

    // tidy: long because each question has its arm
    async fn answer(self: Arc<Self>, ask: Ask) {
        match ask {
            Ask::Verdict(group) => {
                let answer = parsed(self.groups.verdict(&group).await).map(Verdict::once_cut);
                self.tell(News::Verdict { group, answer });
            }
            Ask::Check(group) => {
                let answer = parsed(self.groups.check(&group).await);
                let answer =
                    Arc::new(answer.map(|checked: Checked| Checked { verdict: checked.verdict.once_cut(), ..checked }));
                self.tell(News::Checked { group, answer });
            }
            Ask::Process(pid) => {
                let answer = Arc::new(parsed(self.groups.process(pid).await));
                self.tell(News::Process { pid, answer });
            }
            Ask::Pause(group) => {
                let answer = self.groups.pause(&group).await.map(drop).map_err(Trouble::from);
                self.tell(News::Paused { group, paused: true, answer });
            }
            Ask::Resume(group) => {
                let answer = self.groups.resume(&group).await.map(drop).map_err(Trouble::from);
                self.tell(News::Paused { group, paused: false, answer });
            }
            Ask::Preflight(image) => {
                let answer = parsed(self.images.preflight(&image).await).map(Arc::new);
                self.tell(News::Preflight { image, answer });
            }
            Ask::Delete(image) => {
                let answer = self.images.delete(&image).await.map_err(Trouble::from);
                self.tell(News::Deleted { image, answer });
            }
            Ask::Cancel(job) => self.cancel(&job).await,
            Ask::Freeze { group, how } => {
                let job = self.groups.freeze(&group, freeze_options(how)).await;
                self.job(JobKind::Freeze, group, job).await;
            }
            Ask::Thaw { image, wish } => {
                let job = self.images.thaw(&image, thaw_options::of(wish)).await;
                self.job(JobKind::Thaw, image, job).await;
            }
            Ask::Export { image, file } => {
                let job = self.images.export(&image, descriptor(file)).await;
                self.job(JobKind::Export, image, job).await;
            }
            Ask::ExportBundle { image, file, working_files } => {
                let options = HashMap::from([(bundle_options::WORKING_FILES, Value::from(working_files))]);
                let job = self.images.export_bundle(&image, descriptor(file), options).await;
                self.job(JobKind::Export, image, job).await;
            }
            Ask::Import { name, file } => {
                let job = self.images.import(&name, descriptor(file)).await;
                self.job(JobKind::Import, name, job).await;
            }
            Ask::Move(folder) => {
                let job = self.images.move_to(&folder).await;
                self.job(JobKind::Move, folder, job).await;
            }
            Ask::AtLogout(chosen) => {
                if let Err(error) = self.service.set_at_logout(chosen).await {
                    self.tell(News::NotAtLogout(error.into()));
                }
                self.tell_at_logout().await;
            }
            // These two are the loop's.
            Ask::Refresh | Ask::Everybody(_) => {}
        }
    }

    /// Tells of a job that was begun from here, until it has ended.
    async fn job(&self, kind: JobKind, subject: String, begun: zbus::Result<OwnedObjectPath>) {
        let (job, followed) = match begun {
            Ok(path) => {
                let job = path.to_string();
                // It may have ended by the first look at it.
                self.tell(News::Begun(job.clone()));
                (Some(job), follow(&self.connection, path, |job| self.tell(News::Job(Arc::new(job)))).await)
            }
            Err(error) => (None, Err(error.into())),
        };
        if let Err(trouble) = followed {
            self.tell(News::Refused { kind, subject, job, trouble });
        }
    }

    async fn cancel(&self, job: &str) {
        let asked = async { JobProxy::builder(&self.connection).path(job)?.build().await?.cancel().await };
        // A job that has ended meanwhile needs no cancelling; that it has is told by its follower.
        let _ = asked.await;
    }
}

/// A service of another version is not asked for what it does anyway.
fn freeze_options(how: FreezeHow) -> HashMap<&'static str, Value<'static>> {
    let mut options = HashMap::from([(freeze_options::ACCEPT_LOSSES, Value::from(how.accept_losses))]);
    if !how.disconnect.is_empty() {
        options.insert(freeze_options::DISCONNECT, Value::from(how.disconnect));
    }
    let switches =
        [(freeze_options::KEEP_CONNECTIONS, how.keep_connections), (freeze_options::KEEP_FILES, how.keep_files)];
    options.extend(switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name, Value::from(true))));
    if how.compression != Compression::default() {
        options.insert(freeze_options::COMPRESSION, Value::from(how.compression.name()));
    }
    options
}

fn descriptor(file: File) -> Fd<'static> {
    Fd::Owned(file.into())
}

fn parsed<T: serde::de::DeserializeOwned>(answer: zbus::Result<String>) -> Answer<T> {
    from_str(&answer?).map_err(|error| Trouble::garbled(&error))
}
