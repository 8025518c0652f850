//! systemd freezes its units itself. It is played here by a stand-in on a bus of the test's own, which writes the file as
//! systemd does; what is real is the bus, the control group and the processes.
// A method of an interface has its object, whether it needs it or not.
#![allow(clippy::unused_self)]

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::{Arc, Mutex};

use zbus::blocking::Connection;
use zbus::blocking::connection::Builder;
use zbus::zvariant::OwnedObjectPath;

use super::control_group::{ControlGroup, Hierarchy, enter, is_frozen};
use super::*;

/// What the stand-in was asked, in order.
type Asked = Arc<Mutex<Vec<String>>>;

struct Manager {
    folder: PathBuf,
    asked: Asked,
    /// It lets nobody freeze anything.
    refuses: bool,
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    #[zbus(name = "GetUnitByPID")]
    fn unit_by_pid(&self, pid: u32) -> zbus::fdo::Result<OwnedObjectPath> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if !groups.contains("/app-test.scope") {
            return Err(zbus::fdo::Error::Failed(format!("PID {pid} does not belong to any loaded unit.")));
        }
        OwnedObjectPath::try_from("/org/freedesktop/systemd1/unit/app")
            .map_err(|error| zbus::fdo::Error::Failed(error.to_string()))
    }

    #[zbus(name = "FreezeUnit")]
    fn freeze_unit(&self, name: &str) -> zbus::fdo::Result<()> {
        self.tell("freeze", name, "1")
    }

    #[zbus(name = "ThawUnit")]
    fn thaw_unit(&self, name: &str) -> zbus::fdo::Result<()> {
        self.tell("thaw", name, "0")
    }
}

impl Manager {
    fn tell(&self, what: &str, name: &str, word: &str) -> zbus::fdo::Result<()> {
        if let Ok(mut asked) = self.asked.lock() {
            asked.push(format!("{what} {name}"));
        }
        if self.refuses {
            return Err(zbus::fdo::Error::AccessDenied("Interactive authentication required.".to_owned()));
        }
        fs::write(self.folder.join("cgroup.freeze"), word).map_err(|error| zbus::fdo::Error::Failed(error.to_string()))
    }
}

struct Unit {
    folder: PathBuf,
}

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn id(&self) -> String {
        "app-test.scope".to_owned()
    }

    #[zbus(property)]
    fn freezer_state(&self) -> String {
        if is_frozen(&self.folder) { "frozen" } else { "running" }.to_owned()
    }
}

/// A bus with the stand-in on it. Dropped, it ends.
struct Bus {
    daemon: Child,
    address: String,
    asked: Asked,
    _systemd: Connection,
}

impl Bus {
    fn with_systemd(folder: &Path, refuses: bool) -> Self {
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("dbus-daemon does not start (is the package dbus installed?): {error}"));
        let mut address = String::new();
        let out = daemon.stdout.take().unwrap_or_else(|| panic!("dbus-daemon has no standard output"));
        let read = BufReader::new(out).read_line(&mut address);
        assert!(read.is_ok() && !address.is_empty(), "dbus-daemon says no address");
        let address = address.trim().to_owned();
        let asked = Asked::default();
        let manager = Manager { folder: folder.to_owned(), asked: Arc::clone(&asked), refuses };
        let systemd = Builder::address(address.as_str())
            .and_then(|builder| builder.name("org.freedesktop.systemd1"))
            .and_then(|builder| builder.serve_at("/org/freedesktop/systemd1", manager))
            .and_then(|builder| {
                builder.serve_at("/org/freedesktop/systemd1/unit/app", Unit { folder: folder.to_owned() })
            })
            .and_then(Builder::build)
            .unwrap_or_else(|error| panic!("the stand-in for systemd does not come onto the bus: {error}"));
        Self { daemon, address, asked, _systemd: systemd }
    }

    fn dormouse(&self, verb: &str, pid: i32) -> Value {
        self.dormouse_at("DBUS_SYSTEM_BUS_ADDRESS", verb, pid)
    }

    /// Runs the command with this bus under the name of the variable, and without any other bus.
    fn dormouse_at(&self, variable: &str, verb: &str, pid: i32) -> Value {
        let nowhere = "unix:path=/nonexistent/bus";
        let mut environment = vec![("DBUS_SYSTEM_BUS_ADDRESS", nowhere), ("DBUS_SESSION_BUS_ADDRESS", nowhere)];
        environment.retain(|(name, _)| *name != variable);
        environment.push((variable, &self.address));
        dormouse_with(&[verb, "--json", &pid.to_string()], &environment).json()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().map(|asked| asked.clone()).unwrap_or_default()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn counting_in(folder: &Path) -> (Job, i32, PathBuf) {
    let mut job = counting(User::Root);
    let (pid, count) = (job.specimen().pid(), count_of(&mut job));
    for _ in 0..3 {
        enter(folder, &job.specimen().members());
    }
    (job, pid, count)
}

#[test]
fn systemd_is_asked_to_freeze_its_unit() {
    let top = ControlGroup::new(Hierarchy::Unified, "systemd");
    let scope = top.below("app-test.scope");
    let bus = Bus::with_systemd(&scope, false);
    let (_job, pid, count) = counting_in(&scope);
    assert_eq!(bus.dormouse("pause", pid)["by"], "systemd");
    assert!(is_frozen(&scope));
    assert_stands_still(&count);
    assert_eq!(bus.dormouse("resume", pid)["by"], serde_json::json!(["systemd"]));
    assert!(!is_frozen(&scope));
    assert_counts(&count);
    assert_eq!(bus.asked(), ["freeze app-test.scope", "thaw app-test.scope"]);
}

/// The apps of a user are units of the user's own systemd, on the user's bus; and their processes may lie deeper.
#[test]
fn the_systemd_of_a_user_is_asked_for_the_users_units() {
    let top = ControlGroup::new(Hierarchy::Unified, "user");
    top.below("user@0.service");
    let scope = top.below("user@0.service/app-test.scope");
    let (one, other) =
        (top.below("user@0.service/app-test.scope/one"), top.below("user@0.service/app-test.scope/other"));
    let bus = Bus::with_systemd(&scope, false);
    let (mut job, pid, count) = counting_in(&one);
    let children = job.specimen().members().into_iter().filter(|member| *member != pid).collect::<Vec<_>>();
    enter(&other, &children);
    assert_eq!(bus.dormouse_at("DBUS_SESSION_BUS_ADDRESS", "pause", pid)["by"], "systemd");
    assert!(is_frozen(&scope));
    assert_stands_still(&count);
    assert_eq!(bus.dormouse_at("DBUS_SESSION_BUS_ADDRESS", "resume", pid)["by"], serde_json::json!(["systemd"]));
    assert_counts(&count);
    assert_eq!(bus.asked(), ["freeze app-test.scope", "thaw app-test.scope"]);
}

/// What systemd does not do, Dormouse does where it may.
#[test]
fn a_unit_that_systemd_does_not_freeze_is_frozen_by_its_file() {
    let top = ControlGroup::new(Hierarchy::Unified, "refuses");
    let scope = top.below("app-test.scope");
    let bus = Bus::with_systemd(&scope, true);
    let (_job, pid, count) = counting_in(&scope);
    assert_eq!(bus.dormouse("pause", pid)["by"], "control-group");
    assert!(is_frozen(&scope));
    assert_eq!(bus.dormouse("resume", pid)["by"], serde_json::json!(["control-group"]));
    assert_counts(&count);
    assert_eq!(bus.asked(), ["freeze app-test.scope", "thaw app-test.scope"]);
}

/// A scope that systemd does not know, and a stranger in a scope that it knows.
#[test]
fn only_the_own_unit_is_frozen() {
    let top = ControlGroup::new(Hierarchy::Unified, "others");
    let (scope, other) = (top.below("app-test.scope"), top.below("other.scope"));
    let bus = Bus::with_systemd(&scope, false);
    let (_job, pid, count) = counting_in(&other);
    assert_eq!(bus.dormouse("pause", pid)["by"], "control-group");
    bus.dormouse("resume", pid);
    assert_counts(&count);

    let (_job, pid, count) = counting_in(&scope);
    let (_stranger, _, strangers_count) = counting_in(&scope);
    assert_eq!(bus.dormouse("pause", pid)["by"], "signal");
    assert_counts(&strangers_count);
    bus.dormouse("resume", pid);
    assert_counts(&count);
    assert!(bus.asked().is_empty(), "{:?}", bus.asked());
}
