//! A desktop that shows trays: what is in the menu of an icon, and a click on it.

// The macro of the bus makes methods of all that answers.
#![allow(clippy::unused_self, clippy::used_underscore_binding)]

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};

use harness::wait::{PATIENCE, until};
use zbus::blocking::{Connection, Proxy, connection::Builder};
use zbus::message::Header;
use zbus::zvariant::{OwnedValue, Structure, Value};

use super::done;
use super::sample::world;
use super::stage::{Scenery, Stage};

/// The menu's interface.
const MENU: &str = "com.canonical.dbusmenu";

#[derive(Debug)]
struct Watcher(Sender<String>);

#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, _service: &str, #[zbus(header)] header: Header<'_>) {
        // An item without a name of its own is known by its connection.
        let sender = header.sender().map(ToString::to_string).unwrap_or_default();
        done(self.0.send(sender));
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }

    #[zbus(property)]
    fn registered_status_notifier_items(&self) -> Vec<String> {
        Vec::new()
    }

    #[zbus(property)]
    fn protocol_version(&self) -> i32 {
        0
    }
}

/// A desktop with a tray.
struct Host {
    bus: Connection,
    registered: Receiver<String>,
}

impl Host {
    fn start(address: &str) -> Self {
        let (sender, registered) = channel();
        let served = done(Builder::address(address)).serve_at("/StatusNotifierWatcher", Watcher(sender));
        let builder = served.and_then(|builder| builder.name("org.kde.StatusNotifierWatcher"));
        Self { bus: done(done(builder).build()), registered }
    }

    /// The connection of the icon that comes.
    fn icon(&self) -> String {
        self.registered.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no icon comes: {error}"))
    }

    /// Clicks on the entry whose label begins so.
    fn click(&self, icon: &str, label: &str) {
        let menu = done(Proxy::new(&self.bus, icon, "/MenuBar", MENU));
        let clicked = until(PATIENCE, || {
            let _: bool = done(menu.call("AboutToShow", &(0_i32,)));
            let nothing: &[&str] = &[];
            let (_, layout): (u32, Node) = done(menu.call("GetLayout", &(0_i32, -1_i32, nothing)));
            let entry = find(&layout, label)?;
            let event: zbus::Result<()> = menu.call("Event", &(entry, "clicked", Value::from(0_i32), 0_u32));
            match event {
                Ok(()) => Some(()),
                // Who quits may be gone before his answer is: the bus says that none comes.
                Err(zbus::Error::MethodError(name, ..)) if name == "org.freedesktop.DBus.Error.NoReply" => Some(()),
                // A menu that has changed meanwhile has other numbers.
                Err(_) => None,
            }
        });
        assert!(clicked.is_some(), "the menu has no {label:?}");
    }
}

/// An entry of a menu: its number, what it is like, and what is below it.
type Node = (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>);

fn find((number, look, below): &Node, label: &str) -> Option<i32> {
    let own = look.get("label").and_then(|own| <&str>::try_from(own).ok());
    if own.is_some_and(|own| own.starts_with(label)) {
        return Some(*number);
    }
    below.iter().find_map(|entry| {
        let entry = done(entry.try_clone().map(Value::from));
        let entry: Structure<'_> = done(Structure::try_from(entry));
        let [number, look, below] =
            <[Value<'_>; 3]>::try_from(entry.into_fields()).unwrap_or_else(|_| panic!("no entry"));
        find(&(done(number.try_into()), done(look.try_into()), done(below.try_into())), label)
    })
}

#[test]
fn a_group_is_frozen_and_woken_from_the_tray_without_a_window() {
    let mut stage = Stage::empty(Scenery::default());
    stage.serve(world());
    let host = Host::start(stage.address());
    stage.open(&["--background"]);
    let icon = host.icon();
    host.click(&icon, "Build of the kernel — Freezable");
    stage.asked("freeze build");
    host.click(&icon, "Test run");
    stage.asked("thaw tests.dormouse");
    assert!(stage.eyes.things().iter().all(|thing| thing.role != "frame"), "{}", stage.eyes.all());
    host.click(&icon, "Quit");
    stage.leaves();
}

#[test]
fn an_icon_comes_when_a_tray_comes_later_and_opens_the_window() {
    let mut stage = Stage::empty(Scenery::default());
    stage.serve(world());
    stage.open(&["--background"]);
    stage.asked("list own");
    let host = Host::start(stage.address());
    let icon = host.icon();
    host.click(&icon, "Open Dormouse");
    stage.eyes.see("Text Editor");
}
