//! A service that plays its part: it answers what the test has written down, and writes down what it was asked.

// The macros of the bus make methods of all that answers.
#![allow(clippy::unused_self, clippy::used_underscore_binding)]

#[path = "ends.rs"]
mod ends;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dormouse_wire::dbus::{AtLogout, Folder, JOBS, NAME, PATH, Sleeping, error};
use dormouse_wire::{ByteSize, Checked, Details, Listed, Paused, PausedBy, Problem, Resumed, Verdict};
use serde::Serialize;
use zbus::blocking::Connection;
use zbus::blocking::connection::Builder;
use zbus::blocking::object_server::InterfaceRef;
use zbus::zvariant::{ObjectPath, OwnedObjectPath, OwnedValue};

use self::ends::{ended, refusal};
use super::done;

/// What the service knows.
#[derive(Debug, Default)]
pub struct World {
    pub groups: Vec<Listed>,
    pub verdicts: BTreeMap<String, Verdict>,
    pub checked: BTreeMap<String, Checked>,
    pub images: Vec<Sleeping>,
    pub problems: BTreeMap<String, Vec<Problem>>,
    /// With what thaws of an image fail, one after the other, before one goes well.
    pub refusals: BTreeMap<String, VecDeque<Vec<Problem>>>,
    /// Files in whose place copies are, once something has been woken.
    pub copies: Vec<String>,
    pub lacks: String,
    pub at_logout: AtLogout,
    /// What was asked, one word and one name each.
    pub asked: Vec<String>,
    /// Jobs stay at work until they are cancelled.
    pub slow: bool,
    /// Jobs have ended before anybody can look at them.
    pub hasty: bool,
    /// The next list of images is as old as this when it arrives.
    pub late: Option<Duration>,
    pub jobs: usize,
}

/// The world, shared with the service.
pub type Shared = Arc<Mutex<World>>;

fn locked(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(|error| panic!("{error}"))
}

/// The service on its bus. It leaves when this is dropped.
#[derive(Debug)]
pub struct Fake {
    pub world: Shared,
    connection: Connection,
}

impl Fake {
    /// Takes the name of the service.
    pub fn start(address: &str, world: World) -> Self {
        let world = Arc::new(Mutex::new(world));
        let builder = done(Builder::address(address))
            .serve_at(PATH, Groups(world.clone()))
            .and_then(|builder| builder.serve_at(PATH, Images(world.clone())))
            .and_then(|builder| builder.serve_at(PATH, Service(world.clone())));
        let connection = done(done(builder.and_then(|builder| builder.name(NAME))).build());
        Self { world, connection }
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<String> {
        locked(&self.world).asked.clone()
    }

    /// Changes the world.
    pub fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut locked(&self.world))
    }

    /// Tells the watchers of images.
    pub fn tell_images(&self) {
        let interface: InterfaceRef<Images> = done(self.connection.object_server().interface(PATH));
        done(zbus::block_on(Images::changed(interface.signal_emitter())));
    }

    /// Tells the watchers of groups.
    pub fn tell_groups(&self, groups: &[Listed], gone: &[&str]) {
        let groups = done(serde_json::to_string(groups));
        let gone = gone.iter().map(ToString::to_string).collect();
        let interface: InterfaceRef<Groups> = done(self.connection.object_server().interface(PATH));
        done(zbus::block_on(Groups::changed(interface.signal_emitter(), groups, gone)));
    }
}

/// A D-Bus error of the service.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "io.github.dormouse.Dormouse1.Error")]
enum Refusal {
    #[zbus(error)]
    ZBus(zbus::Error),
    NotFound(String),
}

fn json(value: &impl Serialize) -> String {
    done(serde_json::to_string(value))
}

fn found<T>(value: Option<T>) -> Result<T, Refusal> {
    debug_assert!(error::NOT_FOUND.ends_with("NotFound"));
    value.ok_or_else(|| Refusal::NotFound("There is no such thing.".to_owned()))
}

#[derive(Debug)]
struct Groups(Shared);

#[zbus::interface(name = "io.github.dormouse.Dormouse1.Groups")]
impl Groups {
    fn list(&self, everybody: bool) -> String {
        let mut world = locked(&self.0);
        world.asked.push(format!("list {}", if everybody { "all" } else { "own" }));
        json(&world.groups)
    }

    fn verdict(&self, group: &str) -> Result<String, Refusal> {
        let mut world = locked(&self.0);
        world.asked.push(format!("verdict {group}"));
        found(world.verdicts.get(group).map(json))
    }

    fn check(&self, group: &str) -> Result<String, Refusal> {
        let mut world = locked(&self.0);
        world.asked.push(format!("check {group}"));
        found(world.checked.get(group).map(json))
    }

    fn process(&self, pid: i32) -> Result<String, Refusal> {
        let world = locked(&self.0);
        let mut members = world.groups.iter().flat_map(|group| &group.members);
        let process = found(members.find(|member| member.pid.0 == pid))?.clone();
        let descriptor = |number, what: &str| dormouse_wire::Descriptor {
            number: dormouse_wire::FdNumber(number),
            what: what.to_owned(),
        };
        Ok(json(&Details {
            command_line: vec![format!("/usr/bin/{}", process.comm), "--verbose".to_owned()],
            process,
            memory: Some(ByteSize(34_000_000)),
            threads: 3,
            descriptors: vec![descriptor(0, "/dev/null"), descriptor(1, "pipe:[4711]"), descriptor(2, "/tmp/log")],
        }))
    }

    async fn freeze(
        &self,
        group: &str,
        options: HashMap<String, OwnedValue>,
        #[zbus(object_server)] server: &zbus::ObjectServer,
    ) -> Result<OwnedObjectPath, Refusal> {
        let accepts = options.get("accept-losses").is_some_and(|value| bool::try_from(value).unwrap_or_default());
        let job = {
            let mut world = locked(&self.0);
            let how = options.get("compression").and_then(|value| <&str>::try_from(value).ok());
            let how = how.map(|how| format!(" {how}")).unwrap_or_default();
            let cut = options.get("disconnect").and_then(|cut| Vec::<String>::try_from(cut.try_clone().ok()?).ok());
            let cut = cut.map(|cut| format!(" without {}", cut.join(", "))).unwrap_or_default();
            let keeps = options.get("keep-connections").is_some_and(|value| bool::try_from(value).unwrap_or_default());
            let kept = if keeps { " keeping connections" } else { "" };
            let files = if on(&options, "keep-files") { " keeping files" } else { "" };
            world
                .asked
                .push(format!("freeze {group}{}{cut}{kept}{files}{how}", if accepts { " with losses" } else { "" }));
            Job::new(&mut world, "freeze", group)
        };
        job.serve(server, self.0.clone()).await
    }

    fn pause(&self, group: &str) -> Result<String, Refusal> {
        let mut world = locked(&self.0);
        world.asked.push(format!("pause {group}"));
        let group = found(world.groups.iter_mut().find(|own| own.id == group))?;
        group.paused = true;
        Ok(json(&Paused { processes: group.members.clone(), by: PausedBy::Signal, reclaimed: None }))
    }

    fn resume(&self, group: &str) -> Result<String, Refusal> {
        let mut world = locked(&self.0);
        world.asked.push(format!("resume {group}"));
        let group = found(world.groups.iter_mut().find(|own| own.id == group))?;
        group.paused = false;
        Ok(json(&Resumed { processes: group.members.clone(), by: vec![PausedBy::Signal] }))
    }

    fn watch(&self) {}

    fn unwatch(&self) {}

    #[zbus(signal)]
    async fn changed(
        emitter: &zbus::object_server::SignalEmitter<'_>,
        groups: String,
        gone: Vec<String>,
    ) -> zbus::Result<()>;
}

#[derive(Debug)]
struct Images(Shared);

#[zbus::interface(name = "io.github.dormouse.Dormouse1.Images")]
impl Images {
    async fn list(&self) -> String {
        let (list, late) = {
            let mut world = locked(&self.0);
            world.asked.push("list images".to_owned());
            (json(&world.images), world.late.take())
        };
        if let Some(late) = late {
            tokio::time::sleep(late).await;
        }
        list
    }

    fn folder(&self) -> String {
        json(&Folder {
            path: PathBuf::from("/home/ada/.local/share/dormouse"),
            free: Some(ByteSize(41_000_000_000)),
            chosen: true,
        })
    }

    fn preflight(&self, image: &str) -> String {
        json(&locked(&self.0).problems.get(image).cloned().unwrap_or_default())
    }

    async fn thaw(
        &self,
        image: &str,
        options: HashMap<String, OwnedValue>,
        #[zbus(object_server)] server: &zbus::ObjectServer,
    ) -> Result<OwnedObjectPath, Refusal> {
        let job = {
            let mut world = locked(&self.0);
            let mut how: Vec<String> = options
                .iter()
                .map(|(name, value)| format!(" {name}={}", <&str>::try_from(value).unwrap_or("?")))
                .collect();
            how.sort();
            world.asked.push(format!("thaw {image}{}", how.concat()));
            Job::new(&mut world, "thaw", image)
        };
        job.serve(server, self.0.clone()).await
    }

    async fn import(
        &self,
        name: &str,
        file: zbus::zvariant::OwnedFd,
        #[zbus(object_server)] server: &zbus::ObjectServer,
    ) -> Result<OwnedObjectPath, Refusal> {
        let mut content = String::new();
        done(File::from(OwnedFd::from(file)).read_to_string(&mut content));
        let job = {
            let mut world = locked(&self.0);
            world.asked.push(format!("import {name}: {}", content.trim()));
            Job::new(&mut world, "import", name)
        };
        job.serve(server, self.0.clone()).await
    }

    async fn export(
        &self,
        image: &str,
        file: zbus::zvariant::OwnedFd,
        #[zbus(object_server)] server: &zbus::ObjectServer,
    ) -> Result<OwnedObjectPath, Refusal> {
        done(File::from(OwnedFd::from(file)).write_all(b"all of the image"));
        let job = {
            let mut world = locked(&self.0);
            world.asked.push(format!("export {image}"));
            Job::new(&mut world, "export", image)
        };
        job.serve(server, self.0.clone()).await
    }

    async fn export_bundle(
        &self,
        image: &str,
        file: zbus::zvariant::OwnedFd,
        options: HashMap<String, OwnedValue>,
        #[zbus(object_server)] server: &zbus::ObjectServer,
    ) -> Result<OwnedObjectPath, Refusal> {
        done(File::from(OwnedFd::from(file)).write_all(b"the image and more"));
        let job = {
            let mut world = locked(&self.0);
            let files = if on(&options, "working-files") { " with files" } else { "" };
            world.asked.push(format!("bundle {image}{files}"));
            Job::new(&mut world, "export", image)
        };
        job.serve(server, self.0.clone()).await
    }

    async fn move_to(
        &self,
        folder: &str,
        #[zbus(object_server)] server: &zbus::ObjectServer,
    ) -> Result<OwnedObjectPath, Refusal> {
        let job = {
            let mut world = locked(&self.0);
            world.asked.push(format!("move to {folder:?}"));
            Job::new(&mut world, "move", folder)
        };
        job.serve(server, self.0.clone()).await
    }

    fn delete(&self, image: &str) {
        let mut world = locked(&self.0);
        world.asked.push(format!("delete {image}"));
        world.images.retain(|own| own.id != image);
    }

    #[zbus(signal)]
    async fn changed(emitter: &zbus::object_server::SignalEmitter<'_>) -> zbus::Result<()>;
}

#[derive(Debug)]
struct Service(Shared);

#[zbus::interface(name = "io.github.dormouse.Dormouse1.Service")]
impl Service {
    fn jobs(&self) -> Vec<OwnedObjectPath> {
        Vec::new()
    }

    fn at_logout(&self) -> String {
        json(&locked(&self.0).at_logout)
    }

    fn set_at_logout(&self, chosen: bool) {
        let mut world = locked(&self.0);
        world.asked.push(format!("at logout {chosen}"));
        world.at_logout.chosen = chosen;
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        "0.1.0".to_owned()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn lacks(&self) -> String {
        locked(&self.0).lacks.clone()
    }
}

/// A job that moves a gigabyte at once, or never.
#[derive(Debug)]
struct Job {
    number: usize,
    kind: &'static str,
    subject: String,
    state: &'static str,
    result: String,
    slow: bool,
}

impl Job {
    fn new(world: &mut World, kind: &'static str, subject: &str) -> Self {
        world.jobs += 1;
        let (number, slow) = (world.jobs, world.slow);
        Self { number, kind, subject: subject.to_owned(), state: "running", result: String::new(), slow }
    }

    async fn serve(self, server: &zbus::ObjectServer, world: Shared) -> Result<OwnedObjectPath, Refusal> {
        let path = done(ObjectPath::try_from(format!("{JOBS}/{}", self.number)));
        let (kind, subject, slow) = (self.kind, self.subject.clone(), self.slow);
        server.at(&path, self).await?;
        let job = server.interface::<_, Self>(&path).await?;
        let images = server.interface::<_, Images>(PATH).await?;
        let groups = server.interface::<_, Groups>(PATH).await?;
        let hasty = locked(&world).hasty;
        let end = async move {
            let refused = refusal(&mut locked(&world), kind, &subject);
            let state = if refused.is_some() { "failed" } else { "done" };
            let (result, gone) = match refused {
                Some(result) => (result, Vec::new()),
                None => ended(&mut locked(&world), kind, &subject),
            };
            let _ = Images::changed(images.signal_emitter()).await;
            let _ = Groups::changed(groups.signal_emitter(), "[]".to_owned(), gone).await;
            let mut own = job.get_mut().await;
            (own.state, own.result) = (state, result);
            let _ = own.result_changed(job.signal_emitter()).await;
            let _ = own.state_changed(job.signal_emitter()).await;
        };
        if hasty {
            end.await;
        } else if !slow {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                zbus::block_on(end);
            });
        }
        Ok(path.into())
    }
}

/// Whether a switch is on.
fn on(options: &HashMap<String, OwnedValue>, name: &str) -> bool {
    options.get(name).is_some_and(|value| bool::try_from(value).unwrap_or_default())
}

#[zbus::interface(name = "io.github.dormouse.Dormouse1.Job")]
impl Job {
    async fn cancel(&mut self, #[zbus(signal_emitter)] emitter: zbus::object_server::SignalEmitter<'_>) {
        self.state = "cancelled";
        done(self.state_changed(&emitter).await);
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> &str {
        self.kind
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn subject(&self) -> &str {
        &self.subject
    }

    #[zbus(property)]
    fn state(&self) -> &str {
        self.state
    }

    #[zbus(property)]
    fn phase(&self) -> &str {
        if self.kind == "freeze" { "writing" } else { "reading" }
    }

    #[zbus(property)]
    fn bytes(&self) -> u64 {
        450_000_000
    }

    #[zbus(property)]
    fn total(&self) -> u64 {
        1_000_000_000
    }

    #[zbus(property)]
    fn seconds_left(&self) -> i32 {
        12
    }

    #[zbus(property)]
    fn result(&self) -> &str {
        &self.result
    }
}
