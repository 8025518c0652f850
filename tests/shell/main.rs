//! The icon in the tray under GNOME Shell itself, with the extension for icons that Debian and Ubuntu have
//! (gnome-shell-extension-appindicator): it comes, its menu is read and clicked in the shell, and the group is frozen.
//!
//! The shell runs without a screen, a seat and a session, on buses of the test's own, where a stand-in for systemd-logind
//! (python3-dbusmock) answers. It is asked through `org.gnome.Shell.Eval`, which it allows for tests (`--unsafe-mode`).
//!
//! Half a desktop has to be installed for it, so it is built only with the feature `shell`:
//! `cargo build -p dormouse-app && cargo nextest run -p dormouse-tests --features shell --test shell`.
#![allow(missing_docs, clippy::panic)]

// The stage of the other tests of the window, of which this one uses less.
#[allow(dead_code)]
#[path = "../app/eyes.rs"]
mod eyes;
#[allow(dead_code)]
#[path = "../app/fake.rs"]
mod fake;
#[allow(dead_code)]
#[path = "../app/sample.rs"]
mod sample;
#[allow(dead_code)]
#[path = "../app/stage.rs"]
mod stage;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::specimen::without_inheritance;
use harness::wait::{PATIENCE, until};
use zbus::blocking::{Connection, Proxy, connection::Builder};

use fake::Fake;
use sample::world;
use stage::{Scenery, Stage};

/// A bus of the system, on which everybody may do everything.
const SYSTEM_BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type>
  <listen>unix:path=FOLDER/system</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow own="*"/><allow user="*"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
"#;
const DISPLAY: &str = "wayland-8";
const EXTENSION: &str = "ubuntu-appindicators@ubuntu.com";
/// The menu of the first icon there is, or nothing.
const MENU: &str = r#"const icon = Object.keys(Main.panel.statusArea).find(name => name.startsWith("appindicator"));
const menu = icon ? Main.panel.statusArea[icon].menu : null;
const entries = of => of._getMenuItems().filter(one => one.label).map(one => [one.label.text, one]);
const within = name => entries(entries(menu).find(([label]) => label == name)[1].menu);"#;

/// What must not fail in a test.
fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// A program that is killed when this is dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = without_inheritance(command).spawn();
        Self(child.unwrap_or_else(|error| panic!("{} does not start: {error}", command.get_program().display())))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// GNOME Shell. It ends before what it needs.
struct Shell {
    asked: Connection,
    _itself: Running,
    _logind: Running,
    _system: Running,
}

impl Shell {
    /// Starts it; what is started on the stage from now on shows on it.
    fn start(stage: &mut Stage) -> Self {
        let folder = stage.folder().to_owned();
        let (config, socket) = (folder.join("system.conf"), folder.join("system"));
        done(fs::write(&config, SYSTEM_BUS.replace("FOLDER", &folder.display().to_string())));
        let mut system = stage.command("dbus-daemon");
        let system = Running::start(system.arg("--config-file").arg(config).args(["--nofork", "--nopidfile"]));
        assert!(until(PATIENCE, || socket.exists().then_some(())).is_some(), "the bus of the system does not listen");
        let address = format!("unix:path={}", socket.display());
        let mut logind = stage.command("/usr/bin/python3");
        logind.args(["-m", "dbusmock", "--system", "--template", "logind"]).env("DBUS_SYSTEM_BUS_ADDRESS", &address);
        let logind = Running::start(&mut logind);
        let bus = done(done(Builder::address(address.as_str())).build());
        let bus = done(zbus::blocking::fdo::DBusProxy::new(&bus));
        let name = done(zbus::names::BusName::try_from("org.freedesktop.login1"));
        let serves = || bus.name_has_owner(name.clone()).is_ok_and(|has| has).then_some(());
        assert!(
            until(PATIENCE, serves).is_some(),
            "no stand-in for logind; is the package python3-dbusmock installed?"
        );
        let mut shell = stage.command("gnome-shell");
        shell.args(["--headless", "--wayland", "--no-x11", "--unsafe-mode", "--virtual-monitor", "1280x900"]);
        shell.args(["--wayland-display", DISPLAY]).env("DBUS_SYSTEM_BUS_ADDRESS", &address);
        let shell = Running::start(&mut shell);
        let asked = done(done(Builder::address(stage.address())).build());
        let this = Self { asked, _itself: shell, _logind: logind, _system: system };
        this.until("the shell does not start", "!Main.layoutManager._startingUp");
        let enabled = format!("Main.extensionManager.enableExtension('{EXTENSION}')");
        this.until("the extension for icons is not installed", &enabled);
        stage.show_on(DISPLAY);
        this
    }

    /// What this expression comes to, as JSON, or why to nothing.
    fn tell(&self, expression: &str) -> Option<String> {
        let shell = Proxy::new(&self.asked, "org.gnome.Shell", "/org/gnome/Shell", "org.gnome.Shell").ok()?;
        let (_, told): (bool, String) = shell.call("Eval", &(expression,)).ok()?;
        Some(told)
    }

    /// Waits until this expression comes to true.
    fn until(&self, otherwise: &str, expression: &str) {
        let mut last = None;
        let found = until(PATIENCE, || {
            last = self.tell(expression);
            (last.as_deref() == Some("true")).then_some(())
        });
        assert!(found.is_some(), "{otherwise}: {last:?}");
    }

    /// Clicks on the entry that begins so in this submenu of the icon, until the service has been asked this: the menu that is
    /// opened is drawn anew when the app has told what is in it now.
    fn click(&self, submenu: &str, entry: &str, service: &Fake, wish: &str) {
        let expression = format!(
            r#"(() => {{ {MENU}
if (!menu) return false;
menu.open();
const found = within("{submenu}").find(([label]) => label.startsWith("{entry}"));
if (!found) return within("{submenu}").map(([label]) => label);
found[1].activate(imports.gi.Clutter.Event.new(imports.gi.Clutter.EventType.NOTHING));
return true; }})()"#
        );
        let mut last = None;
        let clicked = until(PATIENCE, || {
            last = self.tell(&expression);
            until(Duration::from_millis(500), || service.asked().iter().any(|asked| asked == wish).then_some(()))
        });
        assert!(clicked.is_some(), "{entry:?} in {submenu:?} leads nowhere: {last:?}");
    }
}

#[test]
fn a_group_is_frozen_and_woken_from_the_tray_of_gnome_shell() {
    let mut stage = Stage::empty(Scenery { wayland: true, ..Scenery::default() });
    let shell = Shell::start(&mut stage);
    stage.serve(world());
    stage.open(&["--background"]);
    shell.click("Freeze Group", "Build of the kernel — Freezable", stage.service(), "freeze build");
    shell.click("Wake Up", "Test run", stage.service(), "thaw tests.dormouse");
}

#[test]
fn the_window_opens_in_gnome_shell() {
    let mut stage = Stage::empty(Scenery { wayland: true, ..Scenery::default() });
    let shell = Shell::start(&mut stage);
    stage.serve(world());
    stage.open(&[]);
    stage.eyes.see("Build of the kernel");
    let window = "global.get_window_actors().some(one => one.meta_window.title == 'Dormouse')";
    shell.until("the shell has no window of the app", window);
}
