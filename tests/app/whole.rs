//! The whole of it: a real program, frozen and woken by clicks in the window, through the real service. Also the double click
//! on an image's file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::specimen::without_inheritance;
use harness::wait::{PATIENCE, until};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::done;
use super::stage::{Scenery, Stage};

/// A real program with a name that no other test's has.
struct Napper {
    child: Child,
    name: String,
}

impl Napper {
    fn start(folder: &Path) -> Self {
        Self::playing(folder, "/bin/sleep", &["1000"])
    }

    /// A copy of this program.
    fn playing(folder: &Path, original: &str, arguments: &[&str]) -> Self {
        let name = format!("napper{}", std::process::id());
        let program = folder.join(&name);
        done(fs::copy(original, &program));
        let mut command = Command::new("/usr/bin/setsid");
        command.arg(program).args(arguments).current_dir("/").env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        without_inheritance(&mut command);
        Self { child: done(command.spawn()), name }
    }

    /// The state of its process, proc_pid_stat(5); none where it is gone.
    fn state(&self) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
    }
}

impl Drop for Napper {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = (nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL), self.child.wait());
    }
}

/// The images of root lie in a folder of this test's own.
fn own_images() -> PathBuf {
    let none: Option<&str> = None;
    let folder = PathBuf::from("/var/lib/dormouse");
    done(fs::create_dir_all(&folder));
    done(unshare(CloneFlags::CLONE_NEWNS));
    done(mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none));
    done(mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::empty(), none));
    done(fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)));
    folder
}

fn images(folder: &Path) -> Vec<PathBuf> {
    let entries = done(fs::read_dir(folder)).flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "dormouse")).collect()
}

#[test]
fn a_real_program_is_frozen_and_woken_by_clicks() {
    let folder = own_images();
    // What was woken comes to this process when its worker ends, and is reaped at once.
    done(nix::sys::prctl::set_child_subreaper(true));
    let mut stage = Stage::empty(Scenery::default());
    let mut napper = Napper::start(stage.folder());
    stage.serve_really();
    stage.open(&[]);
    stage.eyes.read("Freeze ");
    stage.fill();
    let letters: Vec<String> = napper.name.chars().map(String::from).collect();
    stage.press(&letters.iter().map(String::as_str).collect::<Vec<_>>());
    stage.eyes.press(&format!("Freeze {}", napper.name));
    let ended = until(PATIENCE, || done(napper.child.try_wait()));
    assert!(ended.is_some(), "it runs on. {}", stage.eyes.all());
    assert_eq!(images(&folder).len(), 1, "{:?}", images(&folder));

    stage.call("show-asleep", None);
    stage.eyes.press(&format!("Wake up {}", napper.name));
    let runs = until(PATIENCE, || (napper.state() == Some('S')).then_some(()));
    assert!(runs.is_some(), "it does not run: {:?}. {}", napper.state(), stage.eyes.all());

    // Once more, and woken by its file.
    stage.call("show-running", None);
    stage.eyes.press(&format!("Freeze {}", napper.name));
    let gone = until(PATIENCE, || {
        nix::sys::wait::waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG)).ok();
        napper.state().is_none().then_some(())
    });
    assert!(gone.is_some(), "it runs on. {}", stage.eyes.all());
    let both = until(PATIENCE, || (images(&folder).len() == 2).then_some(()));
    assert!(both.is_some(), "{:?}", images(&folder));
    let newest = images(&folder).into_iter().max_by_key(|path| done(done(path.metadata()).modified()));
    let outside = stage.folder().join("from elsewhere.dormouse");
    done(fs::copy(newest.unwrap_or_default(), &outside));
    stage.hand_over(&outside);
    stage.eyes.press_last("Wake Up");
    let runs = until(PATIENCE, || (napper.state() == Some('S')).then_some(()));
    assert!(runs.is_some(), "it does not run: {:?}. {}", napper.state(), stage.eyes.all());
}

#[test]
fn a_program_on_a_message_bus_is_cut_from_it_by_clicks() {
    let folder = own_images();
    done(nix::sys::prctl::set_child_subreaper(true));
    let mut stage = Stage::empty(Scenery::default());
    let mut napper = Napper::playing(stage.folder(), "/usr/bin/dbus-monitor", &["--address", stage.address()]);
    stage.serve_really();
    stage.open(&[]);
    stage.eyes.read("Freeze ");
    stage.fill();
    let letters: Vec<String> = napper.name.chars().map(String::from).collect();
    stage.press(&letters.iter().map(String::as_str).collect::<Vec<_>>());
    stage.eyes.press(&format!("Freeze {}", napper.name));
    stage.eyes.read("message bus (D-Bus)");
    stage.eyes.read("Disconnect");
    stage.eyes.press_last("Freeze");
    let ended = until(PATIENCE, || done(napper.child.try_wait()));
    assert!(ended.is_some(), "it runs on. {}", stage.eyes.all());
    assert_eq!(images(&folder).len(), 1, "{:?}", images(&folder));
    stage.call("show-asleep", None);
    stage.eyes.press(&format!("Wake up {}", napper.name));
    stage.eyes.see(&format!("“{}” is awake", napper.name));
    // It finds its bus closed, and ends.
    let gone = until(PATIENCE, || {
        nix::sys::wait::waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG)).ok();
        napper.state().is_none().then_some(())
    });
    assert!(gone.is_some(), "it does not know that its bus is gone: {:?}", napper.state());
}
