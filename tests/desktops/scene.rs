//! A desktop of its own for each test: a network, X displays, a home and a runtime folder that no other test sees, and
//! programs that all end with it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dormouse_wire::{Listed, Pid};
use harness::command;
use harness::process::Stat;
use harness::specimen::ORDINARY;
use harness::wait::{PATIENCE, until};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::said::Said;

pub fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// An ordinary user's desktop.
#[derive(Debug)]
pub struct Scene {
    base: TempDir,
    /// A control group for all that is started here, so that nothing is left behind, whatever daemons it makes.
    group: PathBuf,
    children: Vec<Child>,
}

impl Scene {
    pub fn new() -> Self {
        alone();
        let base = done(tempfile::Builder::new().prefix("desktop-").tempdir());
        done(fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)));
        let scene = Self { group: control_group(), base, children: Vec::new() };
        Self::own(&scene.home());
        Self::own(&scene.runtime());
        scene
    }

    /// Makes a folder that is the user's own.
    fn own(folder: &Path) {
        done(fs::create_dir(folder));
        done(fs::set_permissions(folder, fs::Permissions::from_mode(0o700)));
        done(chown(folder, Some(ORDINARY), Some(ORDINARY)));
    }

    /// A new folder in the user's home.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.home().join(name);
        Self::own(&folder);
        folder
    }

    /// The user's home folder.
    pub fn home(&self) -> PathBuf {
        self.base.path().join("home")
    }

    /// `XDG_RUNTIME_DIR`.
    pub fn runtime(&self) -> PathBuf {
        self.base.path().join("run")
    }

    /// A program in the user's environment. What would differ from desktop to desktop is left out of it: settings, virtual
    /// filesystems and portals.
    pub fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.home()).env_clear().env("PATH", "/usr/bin:/bin:/usr/games");
        command.env("HOME", self.home()).env("XDG_RUNTIME_DIR", self.runtime()).env("LC_ALL", "C.UTF-8");
        command.env("GSETTINGS_BACKEND", "memory").env("GIO_USE_VFS", "local").env("GTK_USE_PORTAL", "0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts it as the ordinary user, in a session of its own as a desktop does.
    pub fn start(&mut self, command: &mut Command) -> Pid {
        let procs = done(fs::File::options().write(true).open(self.group.join("cgroup.procs")));
        let enter = move || {
            nix::unistd::setsid()?;
            nix::unistd::write(&procs, b"0")?;
            harness::specimen::inherit_nothing()?;
            // SAFETY: takes numbers only.
            let left = unsafe { libc::setgroups(0, std::ptr::null()) };
            nix::errno::Errno::result(left)?;
            nix::unistd::setresgid(ORDINARY.into(), ORDINARY.into(), ORDINARY.into())?;
            nix::unistd::setresuid(ORDINARY.into(), ORDINARY.into(), ORDINARY.into())?;
            Ok(())
        };
        // SAFETY: between fork and exec it makes a few system calls and touches no memory but its stack.
        unsafe { command.pre_exec(enter) };
        let child = command.spawn();
        let child =
            child.unwrap_or_else(|error| panic!("{} does not start: {error}", command.get_program().to_string_lossy()));
        let pid = Pid(child.id() as i32);
        self.children.push(child);
        pid
    }

    /// Starts it with its output in a file of its own, and waits for the first line it says.
    pub fn start_saying(&mut self, command: &mut Command) -> (Pid, String) {
        let path = self.home().join(format!("output-{}", self.children.len()));
        let out = done(fs::File::create(&path));
        done(chown(&path, Some(ORDINARY), Some(ORDINARY)));
        let pid = self.start(command.stdout(out));
        let line = until(PATIENCE, || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            text.split_once('\n').map(|(line, _)| line.to_owned())
        });
        (pid, line.unwrap_or_else(|| panic!("{} says nothing", command.get_program().to_string_lossy())))
    }

    /// Runs it to its end.
    pub fn run(&mut self, command: &mut Command) {
        let errors = self.base.path().join("errors");
        self.start(command.stderr(done(fs::File::create(&errors))));
        let status = self.children.pop().map(|mut child| done(child.wait()));
        let said = fs::read_to_string(&errors).unwrap_or_default();
        assert!(status.is_some_and(|status| status.success()), "{command:?}: {status:?}\n{said}");
    }

    /// The pid of the process with this command name, of those that were started here.
    pub fn find(&self, comm: &str) -> Pid {
        let found = until(PATIENCE, || {
            let procs = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
            let mut pids = procs.lines().filter_map(|line| line.parse().ok());
            pids.find(|pid| Stat::of(*pid).is_some_and(|stat| stat.comm() == comm)).map(Pid)
        });
        found.unwrap_or_else(|| panic!("no {comm} is started"))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::write(self.group.join("cgroup.kill"), "1");
        for child in &mut self.children {
            let _ = child.wait();
        }
        // It can go when the last process has gone.
        until(Duration::from_secs(10), || fs::remove_dir(&self.group).ok());
    }
}

/// Waits for a file that says that a program is ready.
pub fn wait_for(path: &Path) {
    assert!(until(PATIENCE, || path.exists().then_some(())).is_some(), "{} does not come", path.display());
}

/// `dormouse check`, as a program and as a person reads it.
fn check(pid: Pid) -> Said {
    let run = |arguments: &[&str]| {
        let mut dormouse = Command::new(command::path());
        let output = done(dormouse.arg("check").args(arguments).stdin(Stdio::null()).env_remove("HOME").output());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.code().is_some_and(|code| code <= 2) && !text.is_empty(), "{output:?}");
        (text, output.status.code())
    };
    let pid = pid.to_string();
    let ((json, code), (text, _)) = (run(&[&pid, "--json"]), run(&[&pid]));
    let said = Said::new(done(serde_json::from_str(&json)), text, code);
    for process in &said.checked.processes {
        let state = Stat::of(process.pid.0).map(|stat| stat.state());
        assert!(!matches!(state, Some('T' | 't')), "{process} is left standing still");
    }
    said
}

/// Checks until what is said holds: programs go on setting themselves up when they have shown their window.
pub fn check_until(pid: Pid, holds: impl Fn(&Said) -> Result<(), String>) -> Said {
    let mut last = String::new();
    let said = until(PATIENCE, || {
        let said = check(pid);
        match holds(&said) {
            Ok(()) => Some(said),
            Err(wrong) => {
                last = format!("{wrong}\n{}\n{:#?}", said.text, said.ties());
                std::thread::sleep(Duration::from_millis(100));
                None
            }
        }
    });
    let said = said.unwrap_or_else(|| panic!("{last}"));
    assert!(Stat::of(pid.0).is_some_and(|stat| !stat.is_dead()), "{pid} has ended");
    said
}

/// The group that this process is the first of, as `dormouse list` has it.
pub fn group_of(pid: Pid) -> Listed {
    let mut dormouse = Command::new(command::path());
    dormouse.args(["list", "--all", "--json"]).env("LC_ALL", "C").env_remove("HOME").env_remove("XDG_DATA_HOME");
    let output = done(dormouse.env_remove("XDG_DATA_DIRS").stdin(Stdio::null()).output());
    let list: Vec<Listed> = done(serde_json::from_slice(&output.stdout));
    let found = list.into_iter().find(|group| group.members.iter().any(|member| member.pid == pid));
    let found = found.unwrap_or_else(|| panic!("{pid} is in no group"));
    assert!(!found.paused && !found.ended, "{found:?}");
    found
}

/// Leaves behind this machine's network and displays. The network that is left leads nowhere but to itself.
fn alone() {
    const NOTHING: Option<&str> = None;
    const DISPLAYS: &str = "/tmp/.X11-unix";
    done(fs::create_dir_all(DISPLAYS));
    done(unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET));
    done(mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING));
    done(mount(Some("none"), DISPLAYS, Some("tmpfs"), MsFlags::empty(), Some("mode=1777")));
    let socket = done(std::net::UdpSocket::bind("0.0.0.0:0"));
    // SAFETY: plain numbers, for which zeros are as good as any.
    let mut loopback: libc::ifreq = unsafe { std::mem::zeroed() };
    loopback.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    loopback.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request lives through the call, netdevice(7).
    let up = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&socket), libc::SIOCSIFFLAGS, &raw const loopback) };
    assert!(up == 0, "the loopback device: {}", std::io::Error::last_os_error());
}

/// A control group of cgroup v2 that is no unit of systemd's: what is in it is told apart by its sessions.
fn control_group() -> PathBuf {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let mounts = done(fs::read_to_string("/proc/self/mountinfo"));
    let unified = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    let unified = unified.unwrap_or_else(|| panic!("no cgroup v2 is mounted, which this test needs"));
    let name = format!("dormouse-desktop-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    let group = Path::new(unified).join(name);
    fs::create_dir(&group).unwrap_or_else(|error| panic!("{}: {error}", group.display()));
    group
}

/// Whether a process has a namespace that is not this one's.
pub fn has_own(pid: Pid, namespace: &str) -> bool {
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{namespace}")).ok();
    of(&pid.to_string()) != of("thread-self")
}
