//! Calls of a user: this test's own program, started as that user, asks the service through the proxies that the app has.

use std::collections::HashMap;
use std::env;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use dormouse_wire::dbus::{
    GroupsProxy, ImagesProxy, JobProxy, ServiceProxy, bundle_options, freeze_options, thaw_options,
};
use harness::specimen::without_inheritance;
use serde::{Deserialize, Serialize};
use zbus::zvariant::{Fd, OwnedObjectPath, Value};

use crate::machine::{Machine, done};

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Call {
    List(bool),
    Verdict(String),
    Check(String),
    Pause(String),
    Resume(String),
    /// To its end.
    Freeze(String, bool),
    /// Freezes it with its connections to outside; answers how the job has ended.
    FreezeKept(String),
    /// Thaws it without them; answers how the job has ended.
    ThawReset(String),
    FreezeWithFiles(String),
    /// With options that are words.
    ThawSo(String, Vec<(String, String)>),
    /// Into a file, with working files or without.
    ExportBundle(String, String, bool),
    /// And away at once.
    FreezeAndLeave(String),
    /// Answers the path of the job.
    FreezeAndCancel(String),
    Images,
    Folder,
    Inspect(String),
    Preflight(String),
    Thaw(String),
    Export(String, String),
    /// From a file, or from [`SOCKET`].
    Import(String, String),
    Move(String),
    Delete(String),
    Jobs,
    JobState(String),
    CancelJob(String),
    /// Any method: path, interface, name, arguments. A job is followed to its end.
    Method(String, String, String, Vec<Argument>),
    /// So many calls at a time; answers how many were answered, and the names of the errors.
    Flood(usize),
}

/// An argument of [`Call::Method`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Argument {
    Text(String),
    Yes,
    Number(i32),
    NoOptions,
    /// Opened for reading and writing.
    File(String),
}

/// What came back: JSON, or the message of the error with its name before it.
pub type Answer = Result<serde_json::Value, String>;

/// One end of a pair of sockets, for [`Call::Import`].
pub const SOCKET: &str = "a socket";
const CALL: &str = "DORMOUSE_TEST_CALL";
const MARK: &str = "ANSWER ";

impl Machine {
    /// Asks as this user, in a process of its own.
    pub fn ask(&self, user: u32, call: &Call) -> Answer {
        let mut command = Command::new(done(env::current_exe()));
        command.args(["--ignored", "--exact", "client::calls", "--nocapture"]);
        command.env(CALL, done(serde_json::to_string(call))).env("DBUS_SYSTEM_BUS_ADDRESS", self.address());
        command.uid(user).gid(user).stdin(Stdio::null());
        let output = done(without_inheritance(&mut command).output());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let answer = said.lines().find_map(|line| line.split_once(MARK)).map(|(_, answer)| answer.to_owned());
        let answer = answer
            .unwrap_or_else(|| panic!("no answer to {call:?}: {said}\n{}", String::from_utf8_lossy(&output.stderr)));
        done(serde_json::from_str(&answer))
    }

    /// Asks, and must not be refused.
    pub fn told(&self, user: u32, call: &Call) -> serde_json::Value {
        self.ask(user, call).unwrap_or_else(|error| panic!("{call:?}: {error}"))
    }
}

/// Not a test: the other side of [`Machine::ask`].
#[test]
#[ignore = "the other side of a call"]
fn calls() {
    let Ok(call) = env::var(CALL) else { return };
    let call: Call = done(serde_json::from_str(&call));
    let runtime = done(tokio::runtime::Builder::new_current_thread().enable_all().build());
    let answer: Answer = runtime.block_on(answer(call)).map_err(|error| match error {
        zbus::Error::MethodError(name, text, _) => format!("{name}: {}", text.unwrap_or_default()),
        error => error.to_string(),
    });
    println!("\n{MARK}{}", done(serde_json::to_string(&answer)));
}

// tidy: long because each call has its arm
async fn answer(call: Call) -> zbus::Result<serde_json::Value> {
    let connection = zbus::Connection::system().await?;
    let groups = GroupsProxy::new(&connection).await?;
    let images = ImagesProxy::new(&connection).await?;
    let none = HashMap::new();
    let text = match call {
        Call::List(everybody) => groups.list(everybody).await?,
        Call::Verdict(group) => groups.verdict(&group).await?,
        Call::Check(group) => groups.check(&group).await?,
        Call::Pause(group) => groups.pause(&group).await?,
        Call::Resume(group) => groups.resume(&group).await?,
        Call::Freeze(group, accept) => {
            let options = told(freeze_options::ACCEPT_LOSSES, accept);
            return end_of(&connection, groups.freeze(&group, options).await?).await;
        }
        Call::FreezeKept(group) => {
            let options = told(freeze_options::KEEP_CONNECTIONS, true);
            return end_of(&connection, groups.freeze(&group, options).await?).await;
        }
        Call::FreezeWithFiles(group) => {
            let options = told(freeze_options::KEEP_FILES, true);
            return end_of(&connection, groups.freeze(&group, options).await?).await;
        }
        Call::ThawSo(image, wishes) => {
            let options = wishes.iter().map(|(name, value)| (name.as_str(), Value::from(value.as_str()))).collect();
            return end_of(&connection, images.thaw(&image, options).await?).await;
        }
        Call::ExportBundle(image, to, files) => {
            let file = File::create_new(to).map_err(|error| zbus::Error::Failure(error.to_string()))?;
            let options = told(bundle_options::WORKING_FILES, files);
            return end_of(&connection, images.export_bundle(&image, Fd::from(&file), options).await?).await;
        }
        Call::ThawReset(image) => {
            let options = told(thaw_options::RESET_CONNECTIONS, true);
            return end_of(&connection, images.thaw(&image, options).await?).await;
        }
        Call::FreezeAndLeave(group) => groups.freeze(&group, none).await.map(|path| format!("\"{path}\""))?,
        Call::FreezeAndCancel(group) => {
            let path = groups.freeze(&group, none).await?;
            let job = JobProxy::builder(&connection).path(path.clone())?.build().await?;
            job.cancel().await?;
            return end_of(&connection, path).await;
        }
        Call::Images => images.list().await?,
        Call::Folder => images.folder().await?,
        Call::Inspect(image) => images.inspect(&image).await?,
        Call::Preflight(image) => images.preflight(&image).await?,
        Call::Thaw(image) => return end_of(&connection, images.thaw(&image, none).await?).await,
        Call::Export(image, to) => {
            let file = File::create_new(to).map_err(|error| zbus::Error::Failure(error.to_string()))?;
            return end_of(&connection, images.export(&image, Fd::from(&file)).await?).await;
        }
        Call::Import(name, from) => {
            return end_of(&connection, images.import(&name, given(&from)?).await?).await;
        }
        Call::Move(folder) => return end_of(&connection, images.move_to(&folder).await?).await,
        Call::Delete(image) => images.delete(&image).await.map(|()| "null".to_owned())?,
        Call::Jobs => {
            let jobs = ServiceProxy::new(&connection).await?.jobs().await?;
            return Ok(jobs.iter().map(ToString::to_string).collect());
        }
        Call::JobState(path) => return job(&connection, path).await?.state().await.map(Into::into),
        Call::CancelJob(path) => {
            return job(&connection, path).await?.cancel().await.map(|()| serde_json::Value::Null);
        }
        Call::Method(path, interface, name, arguments) => {
            return method(&connection, &path, &interface, &name, &arguments).await;
        }
        Call::Flood(count) => return flood(&groups, count).await,
    };
    Ok(done(serde_json::from_str(&text)))
}

fn told(name: &'static str, value: bool) -> HashMap<&'static str, Value<'static>> {
    HashMap::from([(name, Value::from(value))])
}

async fn job(connection: &zbus::Connection, path: String) -> zbus::Result<JobProxy<'static>> {
    JobProxy::builder(connection).path(path)?.build().await
}

fn given(from: &str) -> zbus::Result<Fd<'static>> {
    let opened: std::io::Result<OwnedFd> = if from == SOCKET {
        UnixStream::pair().map(|(end, _other)| end.into())
    } else {
        File::open(from).map(Into::into)
    };
    opened.map(Fd::Owned).map_err(|error| zbus::Error::Failure(error.to_string()))
}

async fn method(
    connection: &zbus::Connection,
    path: &str,
    interface: &str,
    name: &str,
    arguments: &[Argument],
) -> zbus::Result<serde_json::Value> {
    let mut body = zbus::zvariant::StructureBuilder::new();
    for argument in arguments {
        body = body.append_field(match argument {
            Argument::Text(text) => Value::from(text.clone()),
            Argument::Yes => Value::from(true),
            Argument::Number(number) => Value::from(*number),
            Argument::NoOptions => Value::from(HashMap::<String, Value<'_>>::new()),
            Argument::File(path) => {
                let file = done(File::options().read(true).write(true).open(path));
                Value::Fd(Fd::from(OwnedFd::from(file)))
            }
        });
    }
    let to = Some(dormouse_wire::dbus::NAME);
    let answer = if arguments.is_empty() {
        connection.call_method(to, path, Some(interface), name, &()).await?
    } else {
        connection.call_method(to, path, Some(interface), name, &body.build()?).await?
    };
    let body = answer.body();
    match body.signature().to_string().as_str() {
        "s" => Ok(done(serde_json::from_str(&body.deserialize::<String>()?))),
        "o" => end_of(connection, body.deserialize()?).await,
        "ao" => Ok(body.deserialize::<Vec<OwnedObjectPath>>()?.iter().map(ToString::to_string).collect()),
        "" => Ok(serde_json::Value::Null),
        other => Ok(other.into()),
    }
}

/// The state in which a job ends, and its result.
async fn end_of(connection: &zbus::Connection, path: OwnedObjectPath) -> zbus::Result<serde_json::Value> {
    let uncached = zbus::proxy::CacheProperties::No;
    let job = JobProxy::builder(connection).path(path)?.cache_properties(uncached).build().await?;
    loop {
        let state = job.state().await?;
        if state != "running" {
            let result: serde_json::Value = done(serde_json::from_str(&job.result().await?));
            return Ok(serde_json::json!({ "state": state, "result": result }));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn flood(groups: &GroupsProxy<'static>, count: usize) -> zbus::Result<serde_json::Value> {
    let calls = (0..count).map(|_| {
        let groups = groups.clone();
        tokio::spawn(async move { groups.list(false).await })
    });
    let calls: Vec<_> = calls.collect();
    let (mut answered, mut refused) = (0, Vec::new());
    for call in calls {
        match call.await {
            Ok(Ok(_)) => answered += 1,
            Ok(Err(zbus::Error::MethodError(name, ..))) => refused.push(name.to_string()),
            other => refused.push(format!("{other:?}")),
        }
    }
    refused.sort();
    refused.dedup();
    Ok(serde_json::json!({ "answered": answered, "refused": refused }))
}
