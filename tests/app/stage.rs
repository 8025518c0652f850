//! A display and a bus of a test's own, with the window on it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use harness::specimen::without_inheritance;
use harness::wait::{PATIENCE, until};
use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;

use super::done;
use super::eyes::Eyes;
use super::fake::{Fake, World};

/// A program that is ended when this is dropped.
#[derive(Debug)]
pub struct Program(Child);

impl Program {
    /// Starts it; the first line that it writes.
    fn start(command: &mut Command) -> (Self, String) {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", command.get_program().display()));
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            done(BufReader::new(output).read_line(&mut line));
        }
        (Self(child), line.trim().to_owned())
    }

    /// Its process.
    // Asked by the benches alone.
    #[allow(dead_code)]
    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// Whether it has ended by itself, and whether well.
    pub fn ended(&mut self) -> Option<bool> {
        done(self.0.try_wait()).map(|status| status.success())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = kill(nix::unistd::Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        if until(Duration::from_secs(10), || self.0.try_wait().ok().flatten()).is_none() {
            let _ = (self.0.kill(), self.0.wait());
        }
    }
}

/// How the stage is set.
#[derive(Clone, Copy, Debug)]
pub struct Scenery {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
    /// On a compositor of Wayland, and not on a display of X11.
    pub wayland: bool,
    /// In this language, as gettext calls it; none: in English.
    pub language: Option<&'static str>,
}

impl Default for Scenery {
    fn default() -> Self {
        Self { width: 1000, height: 720, dark: false, wayland: false, language: None }
    }
}

/// The stage. The app ends first, then the service, then bus and display.
#[derive(Debug)]
pub struct Stage {
    pub app: Option<Program>,
    pub fake: Option<Fake>,
    pub real: Option<Program>,
    pub eyes: Eyes,
    display: String,
    address: String,
    scenery: Scenery,
    folder: TempDir,
    _bus: Program,
    _screen: Program,
}

impl Stage {
    /// A stage with the service on it, and the window.
    pub fn with(world: World) -> Self {
        Self::set(Scenery::default(), world)
    }

    /// The same in this scenery.
    pub fn set(scenery: Scenery, world: World) -> Self {
        let mut stage = Self::empty(scenery);
        stage.fake = Some(Fake::start(&stage.address, world));
        stage.open(&[]);
        stage
    }

    /// A stage without a service and without a window.
    pub fn empty(scenery: Scenery) -> Self {
        let folder = done(tempfile::tempdir());
        let settings = folder.path().join("config/gtk-4.0");
        done(fs::create_dir_all(&settings));
        done(fs::write(
            settings.join("settings.ini"),
            "[Settings]\ngtk-font-name=Cantarell 11\ngtk-decoration-layout=:close\n",
        ));
        let (screen, display) = if scenery.wayland { compositor(scenery, folder.path()) } else { screen(scenery) };
        let mut bus = Command::new("dbus-daemon");
        let listens = format!("--address=unix:dir={}", folder.path().display());
        let bus = dressed(&mut bus, folder.path(), &display, scenery);
        let (bus, address) =
            Program::start(bus.args(["--session", "--nofork", "--nopidfile", "--print-address=1", &listens]));
        let eyes = Eyes::new(&address);
        Self { app: None, fake: None, real: None, eyes, display, address, scenery, folder, _bus: bus, _screen: screen }
    }

    /// Puts the service on its bus.
    pub fn serve(&mut self, world: World) {
        self.fake = Some(Fake::start(&self.address, world));
    }

    /// Puts the real service on its bus, which is that of the system for it.
    pub fn serve_really(&mut self) {
        let mut command = self.command(harness::command::path());
        command.args(["serve", "--idle", "600"]).env("DBUS_SYSTEM_BUS_ADDRESS", &self.address);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let command = without_inheritance(&mut command);
        self.real =
            Some(Program(command.spawn().unwrap_or_else(|error| panic!("the service does not start: {error}"))));
    }

    /// The service.
    pub fn service(&self) -> &Fake {
        self.fake.as_ref().unwrap_or_else(|| panic!("there is no service on this stage"))
    }

    /// Starts the app.
    pub fn open(&mut self, arguments: &[&str]) {
        let program = self.scenery.language.map_or_else(app, |language| translated(self.folder(), language));
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("the app does not start: {error}"));
        self.app = Some(Program(child));
    }

    /// Starts the app once more, as a double click on a file does: it hands over what it was given, and ends.
    pub fn hand_over(&self, file: &Path) {
        let status = self.command(app()).arg(file).stdin(Stdio::null()).stdout(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "nothing is handed over");
    }

    /// A command on this stage.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        dressed(&mut command, self.folder.path(), &self.display, self.scenery);
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        command
    }

    /// The name of the display.
    // Asked by the benches alone.
    #[allow(dead_code)]
    pub fn display(&self) -> &str {
        &self.display
    }

    /// What is started from now on shows on this display, and not on that of the stage.
    // Asked by the tests of GNOME Shell alone.
    #[allow(dead_code)]
    pub fn show_on(&mut self, display: &str) {
        display.clone_into(&mut self.display);
    }

    /// The address of the bus.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits until the app has ended by itself.
    pub fn leaves(&mut self) {
        let app = self.app.as_mut();
        let ended = app.and_then(|app| until(PATIENCE, || app.ended()));
        assert_eq!(ended, Some(true), "the app does not end well");
    }

    /// A folder that goes with the stage.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Calls an action of the app over the bus, as a shortcut of the desktop does.
    pub fn call(&self, action: &str, target: Option<&str>) {
        let called = || {
            let mut command = self.command("gapplication");
            command.args(["action", "io.github.dormouse.Dormouse", action]);
            command.args(target.map(|target| format!("'{target}'"))).stderr(Stdio::null());
            done(command.status()).success().then_some(())
        };
        // Until it is on the bus, nobody answers.
        assert!(until(PATIENCE, called).is_some(), "the action {action} cannot be called");
    }

    /// Presses keys, xdotool(1).
    pub fn press(&self, keys: &[&str]) {
        let status = self.command("xdotool").arg("key").args(keys).status();
        assert!(status.is_ok_and(|status| status.success()), "xdotool fails; is the package xdotool installed?");
    }

    /// Walks by Tab to something of this name.
    pub fn tab_to(&self, name: &str) {
        const MOST: usize = 30;
        for _ in 0..MOST {
            if self.eyes.has_focus(name) {
                return;
            }
            self.press(&["Tab"]);
        }
        panic!("Tab does not lead to {name:?}. {}", self.eyes.all());
    }

    /// Makes the window as wide and as high as the screen, and gives it the keyboard, as a window manager would.
    pub fn fill(&self) {
        let size = [self.scenery.width, self.scenery.height].map(|length| length.to_string());
        let mut command = self.command("xdotool");
        command.args([
            "search",
            "--sync",
            "--onlyvisible",
            "--class",
            "dormouse",
            "windowmove",
            "0",
            "0",
            "windowsize",
        ]);
        let status = command.args(size).arg("windowfocus").stdout(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "xdotool finds no window");
    }

    /// Keeps what the screen shows, in a file of this name.
    pub fn photograph(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        done(fs::create_dir_all(&folder));
        let status = self.command("import").args(["-window", "root"]).arg(folder.join(format!("{name}.png"))).status();
        assert!(status.is_ok_and(|status| status.success()), "import fails; is the package imagemagick installed?");
    }

    /// Waits until the service was asked this.
    pub fn asked(&self, what: &str) {
        let asked = until(PATIENCE, || self.service().asked().iter().any(|asked| asked == what).then_some(()));
        assert!(
            asked.is_some(),
            "nobody asks {what:?} of the service, but {:?}\n{}",
            self.service().asked(),
            self.eyes.all()
        );
    }
}

/// A display of a number that no other test has had: a server that ends takes the socket of the next one with its number away.
fn screen(scenery: Scenery) -> (Program, String) {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let place = std::process::id() * 16 + STARTED.fetch_add(1, Ordering::Relaxed);
    let number = 1000 + place % 50_000;
    let (display, size) = (format!(":{number}"), format!("{}x{}x24", scenery.width, scenery.height));
    let mut command = Command::new("Xvfb");
    // It does not begin anew when the first client, the probe below, has gone.
    command.args([&display, "-noreset", "-nolisten", "tcp", "-screen", "0", &size]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let screen =
        Program(child.unwrap_or_else(|error| panic!("Xvfb does not start: {error}; is the package xvfb installed?")));
    let ready = until(PATIENCE, || UnixStream::connect(format!("/tmp/.X11-unix/X{number}")).ok());
    assert!(ready.is_some(), "Xvfb does not serve {display}");
    (screen, display)
}

/// A compositor that shows its screen to nobody; the name of its socket.
fn compositor(scenery: Scenery, folder: &Path) -> (Program, String) {
    const SOCKET: &str = "wayland-7";
    let mut command = Command::new("weston");
    let size = [format!("--width={}", scenery.width), format!("--height={}", scenery.height)];
    command.args(["--no-config", "--backend=headless-backend.so", "--use-pixman", "--idle-time=0"]);
    command.args(size).args(["--debug", "--socket", SOCKET]).env("XDG_RUNTIME_DIR", folder);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let screen =
        Program(child.unwrap_or_else(|error| panic!("weston does not start: {error}; is the package installed?")));
    let ready = until(PATIENCE, || UnixStream::connect(folder.join(SOCKET)).ok());
    assert!(ready.is_some(), "weston does not serve {SOCKET}");
    (screen, SOCKET.to_owned())
}

/// The window's program, which `cargo build --workspace --bins` has made.
fn app() -> PathBuf {
    let folder = std::env::current_exe().ok().and_then(|test| Some(test.parent()?.parent()?.to_owned()));
    let app = folder.unwrap_or_default().join("dormouse-app");
    assert!(app.is_file(), "{} is missing: cargo build --workspace --bins", app.display());
    app
}

/// The window's program as it is installed: beside its translation into a language.
fn translated(folder: &Path, language: &str) -> PathBuf {
    let program = folder.join("installed/bin/dormouse-app");
    let messages = folder.join("installed/share/locale").join(language).join("LC_MESSAGES");
    done(fs::create_dir_all(folder.join("installed/bin")));
    done(fs::create_dir_all(&messages));
    done(fs::copy(app(), &program));
    let po = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../po/{language}.po"));
    let made = Command::new("msgfmt").arg("--output-file").arg(messages.join("dormouse.mo")).arg(po).status();
    assert!(made.is_ok_and(|made| made.success()), "{language} cannot be compiled");
    program
}

/// What programs on the stage see of the world.
fn dressed<'a>(command: &'a mut Command, folder: &Path, display: &str, scenery: Scenery) -> &'a mut Command {
    let scheme = if scenery.dark { "prefer-dark" } else { "prefer-light" };
    let [ours, other, backend] =
        if scenery.wayland { ["WAYLAND_DISPLAY", "DISPLAY", "wayland"] } else { ["DISPLAY", "WAYLAND_DISPLAY", "x11"] };
    command
        .env(ours, display)
        .env("HOME", folder)
        .env("XDG_RUNTIME_DIR", folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
        .env("GDK_BACKEND", backend)
        .env("GSK_RENDERER", "cairo")
        .env("GSETTINGS_BACKEND", "memory")
        .env("GTK_USE_PORTAL", "0")
        .env("ADW_DISABLE_PORTAL", "1")
        .env("ADW_DEBUG_COLOR_SCHEME", scheme)
        .env("LC_ALL", "C.UTF-8")
        .env("LANGUAGE", scenery.language.unwrap_or_default())
        .env_remove(other)
        .env_remove("GTK_A11Y")
}
