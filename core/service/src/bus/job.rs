//! One job: an object that shows how far its worker is, to its owner alone.
//!
//! Changes are sent to the owner's connections only and not to everybody, as a signal of the bus would be: what a group is
//! called is nobody else's business.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dormouse_wire::Phase;
use dormouse_wire::dbus::{JobKind, JobState};
use tokio::sync::Notify;
use zbus::fdo;
use zbus::message::Header;
use zbus::zvariant::{OwnedObjectPath, Value};

use super::caller::Caller;
use super::{Error, House, scope};
use crate::worker::{self, Ended, Order, Progress};

const INTERFACE: &str = "io.github.dormouse.Dormouse1.Job";
/// How long a job can be looked at after its end.
const REMEMBERED: Duration = Duration::from_mins(1);

/// The object on the bus.
#[derive(Debug)]
struct Job {
    house: Arc<House>,
    user: u32,
    kind: JobKind,
    subject: String,
    shared: Arc<Shared>,
}

/// What the object and the work share.
#[derive(Debug)]
struct Shared {
    shown: Mutex<Shown>,
    cancel: Notify,
}

/// How far it is.
#[derive(Clone, Debug)]
struct Shown {
    state: JobState,
    phase: Option<Phase>,
    begun: Instant,
    bytes: u64,
    total: u64,
    result: String,
}

impl Shared {
    fn shown(&self) -> Shown {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Shown)) -> Shown {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut shown);
        shown.clone()
    }
}

impl Shown {
    fn phase(&self) -> String {
        let name = self.phase.and_then(|phase| serde_json::to_value(phase).ok());
        name.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    }

    /// How long this phase will take still, if it goes on as it has gone so far.
    fn seconds_left(&self) -> i32 {
        let gone = self.begun.elapsed();
        if self.total == 0 || self.bytes == 0 || gone < Duration::from_millis(500) {
            return -1;
        }
        let left = self.total.saturating_sub(self.bytes) as f64;
        (gone.as_secs_f64() * left / self.bytes as f64).ceil() as i32
    }

    fn changes(&self) -> HashMap<&'static str, Value<'static>> {
        HashMap::from([
            ("State", Value::from(self.state.name())),
            ("Phase", Value::from(self.phase())),
            ("Bytes", Value::from(self.bytes)),
            ("Total", Value::from(self.total)),
            ("SecondsLeft", Value::from(self.seconds_left())),
            ("Result", Value::from(self.result.clone())),
        ])
    }
}

/// Begins a job; it goes on whether or not the caller stays.
pub(super) async fn begin(
    house: &Arc<House>,
    caller: &Caller,
    kind: JobKind,
    subject: String,
    order: Order,
    file: Option<OwnedFd>,
) -> Result<OwnedObjectPath, Error> {
    let (number, path) = house.jobs.add(caller.user)?;
    let mut worker = worker::start(&order, file).inspect_err(|_| house.jobs.forget(number))?;
    let shown = Shown {
        state: JobState::Running,
        phase: None,
        begun: Instant::now(),
        bytes: 0,
        total: 0,
        result: String::new(),
    };
    let shared = Arc::new(Shared { shown: Mutex::new(shown), cancel: Notify::new() });
    let job = Job {
        house: Arc::clone(house),
        user: caller.user,
        kind,
        subject: subject.clone(),
        shared: Arc::clone(&shared),
    };
    house.connection.object_server().at(&path, job).await?;
    if let (true, Some(pid)) = (order.task.waits() && order.who.mightier, worker.pid()) {
        scope::enter(&house.connection, order.who.user, pid, &subject).await;
    }
    worker.let_go();
    let run = Run { house: Arc::clone(house), caller: caller.clone(), path: path.clone(), number, shared };
    tokio::spawn(async move {
        run.attend(worker).await;
        run.remember().await;
    });
    Ok(path)
}

/// The work behind the object.
struct Run {
    house: Arc<House>,
    caller: Caller,
    path: OwnedObjectPath,
    number: u64,
    shared: Arc<Shared>,
}

impl Run {
    async fn attend(&self, mut worker: worker::Worker) {
        loop {
            let progress = tokio::select! {
                progress = worker.next() => progress,
                () = self.shared.cancel.notified() => {
                    worker.cancel();
                    continue;
                }
            };
            let ended = matches!(progress, Progress::Ended(_));
            let shown = self.shared.change(|shown| note(shown, progress));
            self.tell(&shown).await;
            if ended {
                break;
            }
        }
        self.house.images_changed(self.caller.user).await;
        self.house.survey.hurry();
    }

    /// Tells the connections of the owner what has changed.
    async fn tell(&self, shown: &Shown) {
        let mut names = self.house.watchers.lock().await.of(self.caller.user);
        if !names.contains(&self.caller.name) {
            names.push(self.caller.name.clone());
        }
        // A slice: to serde an array is a tuple, which the bus would take for a structure.
        let none: &[&str] = &[];
        for name in names {
            let body = (INTERFACE, shown.changes(), none);
            let properties = "org.freedesktop.DBus.Properties";
            let told = self
                .house
                .connection
                .emit_signal(Some(name.inner().clone()), &self.path, properties, "PropertiesChanged", &body)
                .await;
            if let Err(error) = told {
                tracing::warn!(%error, %name, "the owner of a job was not told of it");
            }
        }
    }

    async fn remember(&self) {
        tokio::time::sleep(REMEMBERED).await;
        let _ = self.house.connection.object_server().remove::<Job, _>(&self.path).await;
        self.house.jobs.forget(self.number);
    }
}

fn note(shown: &mut Shown, progress: Progress) {
    match progress {
        Progress::Begins(phase, total) => {
            shown.phase = Some(phase);
            (shown.bytes, shown.total, shown.begun) = (0, total, Instant::now());
        }
        Progress::Moved(bytes) => shown.bytes = bytes,
        Progress::Ended(Ok(value)) => {
            shown.state = JobState::Done;
            shown.result = value.to_string();
        }
        Progress::Ended(Err(ended)) => {
            shown.state = if matches!(ended, Ended::Cancelled(_)) { JobState::Cancelled } else { JobState::Failed };
            shown.result = serde_json::to_string(&ended.failure()).unwrap_or_default();
        }
    }
}

impl Job {
    /// Whether whoever asks is its owner, or root.
    async fn is_for(&self, header: Option<&Header<'_>>) -> fdo::Result<()> {
        // Without a message the object itself asks.
        let Some(header) = header else { return Ok(()) };
        let caller =
            Caller::of(&self.house, header).await.map_err(|error| fdo::Error::AccessDenied(error.to_string()))?;
        if caller.user == self.user || caller.user == 0 {
            Ok(())
        } else {
            Err(fdo::Error::AccessDenied("This job is another user's.".to_owned()))
        }
    }
}

#[zbus::interface(name = "io.github.dormouse.Dormouse1.Job")]
impl Job {
    async fn cancel(&self, #[zbus(header)] header: Header<'_>) -> fdo::Result<()> {
        self.is_for(Some(&header)).await?;
        self.shared.cancel.notify_one();
        Ok(())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn kind(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<String> {
        self.is_for(header.as_ref()).await?;
        Ok(self.kind.name().to_owned())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn subject(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<String> {
        self.is_for(header.as_ref()).await?;
        Ok(self.subject.clone())
    }

    #[zbus(property)]
    async fn state(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<String> {
        self.is_for(header.as_ref()).await?;
        Ok(self.shared.shown().state.name().to_owned())
    }

    #[zbus(property)]
    async fn phase(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<String> {
        self.is_for(header.as_ref()).await?;
        Ok(self.shared.shown().phase())
    }

    #[zbus(property)]
    async fn bytes(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<u64> {
        self.is_for(header.as_ref()).await?;
        Ok(self.shared.shown().bytes)
    }

    #[zbus(property)]
    async fn total(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<u64> {
        self.is_for(header.as_ref()).await?;
        Ok(self.shared.shown().total)
    }

    #[zbus(property)]
    async fn seconds_left(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<i32> {
        self.is_for(header.as_ref()).await?;
        Ok(self.shared.shown().seconds_left())
    }

    #[zbus(property)]
    async fn result(&self, #[zbus(header)] header: Option<Header<'_>>) -> fdo::Result<String> {
        self.is_for(header.as_ref()).await?;
        Ok(self.shared.shown().result)
    }
}
