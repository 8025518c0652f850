//! A machine of a test's own, as far as the service sees it: two users with their homes, a bus of the system, somebody who
//! answers for polkit, and the service.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use harness::command;
use harness::specimen::{ORDINARY, without_inheritance};
use harness::wait::{PATIENCE, until};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// One who owns what the tests freeze.
pub const ANNA: u32 = ORDINARY;
/// One who has no business with it.
pub const BEN: u32 = ORDINARY + 1;

const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=FOLDER/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/>
    <allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
  <policy user="root"><allow own="*"/></policy>
</busconfig>
"#;

pub fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// A program that is ended when this is dropped.
pub struct Running(pub Child);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(done(without_inheritance(command).spawn()))
    }

    pub fn signal(&self, signal: Signal) {
        done(kill(Pid::from_raw(self.0.id() as i32), signal));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// The machine.
pub struct Machine {
    pub service: Running,
    _polkit: Option<zbus::blocking::Connection>,
    _bus: Running,
    folder: TempDir,
    /// What polkit was asked: action, and what it is about.
    pub asked: Arc<Mutex<Vec<(String, String)>>>,
}

/// polkit's stand-in: whoever is not root may do what is in the list.
struct Polkit {
    allowed: &'static [&'static str],
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

type Subject = (String, HashMap<String, zbus::zvariant::OwnedValue>);

#[zbus::interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Polkit {
    fn check_authorization(
        &self,
        subject: Subject,
        action: String,
        details: HashMap<String, String>,
        flags: u32,
        cancellation: &str,
    ) -> (bool, bool, HashMap<String, String>) {
        assert!(flags <= 1 && cancellation.is_empty());
        assert_eq!(subject.0, "system-bus-name", "a pid could be another process's by now");
        let allowed = self.allowed.contains(&action.as_str());
        self.asked.lock().unwrap_or_else(|error| panic!("{error}")).push((action, details["group"].clone()));
        (allowed, !allowed, HashMap::new())
    }
}

/// What an ordinary session may do.
pub const OWN: &[&str] = &["io.github.dormouse.Dormouse1.own"];

impl Machine {
    /// With a service that ends when nobody needs it for so many seconds; `polkit`: what is allowed, where there is polkit.
    pub fn start(idle: u64, polkit: Option<&'static [&'static str]>) -> Self {
        let folder = done(tempfile::Builder::new().prefix("dormouse-machine-").tempdir());
        done(fs::set_permissions(folder.path(), Permissions::from_mode(0o755)));
        users(folder.path());
        let config = folder.path().join("bus.conf");
        done(fs::write(&config, BUS.replace("FOLDER", &folder.path().display().to_string())));
        let mut command = Command::new("dbus-daemon");
        command.arg("--config-file").arg(&config).args(["--nofork", "--nopidfile", "--print-address=1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut bus = done(without_inheritance(&mut command).spawn());
        let mut said = [0];
        // It says its address once it listens.
        done(bus.stdout.as_mut().unwrap_or_else(|| panic!("it has no output")).read_exact(&mut said));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let address = address(folder.path());
        let stand_in = polkit.map(|allowed| {
            let object = Polkit { allowed, asked: Arc::clone(&asked) };
            let builder = done(zbus::blocking::connection::Builder::address(address.as_str()));
            let builder = done(builder.serve_at("/org/freedesktop/PolicyKit1/Authority", object));
            done(done(builder.name("org.freedesktop.PolicyKit1")).build())
        });
        let service = serve(&address, idle, &command::path());
        Self { service, _polkit: stand_in, _bus: Running(bus), folder, asked }
    }

    pub fn address(&self) -> String {
        address(self.folder.path())
    }

    /// Kills the service in the middle of whatever it does, and waits for the end of its workers: they are told of its
    /// end, and take back or finish what they have begun.
    pub fn kill_service(&mut self) {
        let service = self.service.0.id();
        // It must start none while they are counted.
        self.service.signal(Signal::SIGSTOP);
        let workers = until(PATIENCE, || is_in(service, "T").then(|| children(service)));
        self.service.signal(Signal::SIGKILL);
        done(self.service.0.wait());
        for worker in workers.unwrap_or_else(|| panic!("the service does not stop")) {
            let ended = until(PATIENCE, || {
                (!Path::new(&format!("/proc/{worker}")).exists() || is_in(worker, "ZX")).then_some(())
            });
            ended.unwrap_or_else(|| panic!("the worker {worker} outlives the service"));
        }
    }

    /// Starts the service again.
    pub fn serve_again(&mut self) {
        self.service = serve(&self.address(), 600, &command::path());
    }

    /// Ends the service and starts it from a copy of its program, which is answered.
    pub fn serve_from_a_copy(&mut self) -> PathBuf {
        let copy = self.folder.path().join("dormouse");
        done(fs::copy(command::path(), &copy));
        self.service.signal(Signal::SIGTERM);
        done(self.service.0.wait());
        self.service = serve(&self.address(), 600, &copy);
        copy
    }

    pub fn home(&self, user: u32) -> PathBuf {
        home(self.folder.path(), user)
    }

    pub fn images(&self, user: u32) -> PathBuf {
        self.home(user).join(".local/share/dormouse")
    }

    pub fn connection(&self) -> zbus::blocking::Connection {
        done(done(zbus::blocking::connection::Builder::address(self.address().as_str())).build())
    }
}

/// Whether the process is in one of these states, proc_pid_stat(5).
fn is_in(pid: u32, states: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(|state| states.contains(state)))
}

/// The children of all threads of a process.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let told = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    told.flat_map(|told| told.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

fn address(folder: &Path) -> String {
    format!("unix:path={}/bus", folder.display())
}

fn home(folder: &Path, user: u32) -> PathBuf {
    folder.join(if user == ANNA { "anna" } else { "ben" })
}

/// For this process and those it starts there are these two users.
fn users(folder: &Path) {
    let none: Option<&str> = None;
    done(unshare(CloneFlags::CLONE_NEWNS));
    done(mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none));
    let mut accounts = done(fs::read_to_string("/etc/passwd"));
    accounts = accounts
        .lines()
        .filter(|line| !line.contains(":1000:") && !line.contains(":1001:"))
        .fold(String::new(), |all, line| all + line + "\n");
    for (user, name) in [(ANNA, "anna"), (BEN, "ben")] {
        let home = home(folder, user);
        done(fs::create_dir(&home));
        done(chown(&home, Some(user), Some(user)));
        let account = [name, "x", &user.to_string(), &user.to_string(), "", &home.display().to_string(), "/bin/sh"];
        accounts += &(account.join(":") + "\n");
    }
    let file = folder.join("passwd");
    done(fs::write(&file, accounts));
    done(mount(Some(&file), "/etc/passwd", none, MsFlags::MS_BIND, none));
}

fn serve(address: &str, idle: u64, program: &Path) -> Running {
    let mut command = Command::new(program);
    command.args(["serve", "--idle", &idle.to_string()]).env("DBUS_SYSTEM_BUS_ADDRESS", address);
    let service = Running::start(&mut command);
    let connection = done(done(zbus::blocking::connection::Builder::address(address)).build());
    let bus = done(zbus::blocking::fdo::DBusProxy::new(&connection));
    let name = done(zbus::names::BusName::try_from(dormouse_wire::dbus::NAME));
    let serves = || bus.name_has_owner(name.clone()).is_ok_and(|has| has).then_some(());
    assert!(until(PATIENCE, serves).is_some(), "the service does not take its name");
    service
}
