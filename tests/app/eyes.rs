//! The window as somebody knows it who cannot see it: names, what can be pressed, what is said. AT-SPI, over its own bus.

use harness::wait::{PATIENCE, until};
use zbus::blocking::{Connection, Proxy, connection::Builder};
use zbus::zvariant::OwnedObjectPath;

use super::done;

const NAME: &str = "io.github.dormouse.Dormouse";
const ACCESSIBLE: &str = "org.a11y.atspi.Accessible";

/// A thing in the window.
#[derive(Clone, Debug)]
pub struct Thing {
    pub name: String,
    pub role: String,
    /// Only an application is nowhere.
    place: Option<Place>,
    sender: String,
    path: OwnedObjectPath,
}

/// Left, top, width and height, pixels of the window.
pub type Bounds = (i32, i32, i32, i32);

/// Where something is in its window.
#[derive(Clone, Copy, Debug)]
struct Place {
    shows: bool,
    /// What of it does not lie beyond the edges of that which it is in.
    bounds: Bounds,
    /// It, and all that it is in, can be used now.
    usable: bool,
}

impl Place {
    fn within(self, around: Self) -> Self {
        Self { bounds: common(self.bounds, around.bounds), usable: self.usable && around.usable, ..self }
    }
}

/// Looks at the windows on a bus.
#[derive(Debug)]
pub struct Eyes {
    bus: Connection,
}

impl Eyes {
    /// Opens them. This starts the bus of accessibility.
    pub fn new(address: &str) -> Self {
        let session = done(done(Builder::address(address)).build());
        let launcher = done(Proxy::new(&session, "org.a11y.Bus", "/org/a11y/bus", "org.a11y.Bus"));
        let address: String = done(launcher.call("GetAddress", &()));
        Self { bus: done(done(Builder::address(address.as_str())).build()) }
    }

    fn proxy<'a>(&self, sender: &'a str, path: &'a str, interface: &'static str) -> zbus::Result<Proxy<'a>> {
        zbus::blocking::proxy::Builder::new(&self.bus)
            .destination(sender)?
            .path(path)?
            .interface(interface)?
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
    }

    fn children(&self, sender: &str, path: &str) -> Vec<(String, OwnedObjectPath)> {
        self.proxy(sender, path, ACCESSIBLE).and_then(|node| node.call("GetChildren", &())).unwrap_or_default()
    }

    /// All that is showing, the outer before the inner.
    pub fn things(&self) -> Vec<Thing> {
        let mut found = Vec::new();
        for (sender, path) in self.children("org.a11y.atspi.Registry", "/org/a11y/atspi/accessible/root") {
            self.collect(&sender, path, None, &mut found);
        }
        found
    }

    /// `around`: what it is in.
    fn collect(&self, sender: &str, path: OwnedObjectPath, around: Option<Place>, found: &mut Vec<Thing>) {
        // GTK 4.8 says of windows alone that they are showing; what is in them is visible and has a size, or is not there.
        const SENSITIVE: u32 = 24;
        const VISIBLE: u32 = 30;
        const OF_WINDOW: u32 = 1;
        let look = || -> zbus::Result<(String, String, Option<Place>)> {
            let node = self.proxy(sender, path.as_str(), ACCESSIBLE)?;
            let role: String = node.call("GetRoleName", &())?;
            if role == "application" {
                return Ok((node.get_property("Name")?, role, None));
            }
            let state: Vec<u32> = node.call("GetState", &())?;
            let has = |bit: u32| state.first().is_some_and(|bits| bits >> bit & 1 == 1);
            let component = self.proxy(sender, path.as_str(), "org.a11y.atspi.Component")?;
            let bounds: Bounds = component.call("GetExtents", &(OF_WINDOW,))?;
            let shows = has(VISIBLE) && bounds.2 > 0 && bounds.3 > 0;
            let own = Place { shows, bounds, usable: has(SENSITIVE) };
            Ok((node.get_property("Name")?, role, Some(around.map_or(own, |around| own.within(around)))))
        };
        // What has gone meanwhile is not there.
        let Ok((name, role, place)) = look() else { return };
        if place.is_some_and(|place| !place.shows) {
            return;
        }
        found.push(Thing { name: plain(&name), role, place, sender: sender.to_owned(), path: path.clone() });
        for (sender, child) in self.children(sender, path.as_str()) {
            self.collect(&sender, child, place, found);
        }
    }

    /// The texts in view, but for those of what cannot be used now: name and bounds.
    pub fn texts(&self) -> Vec<(String, Bounds)> {
        let text = |thing: Thing| {
            let place = thing.place.filter(|place| place.usable && place.bounds.2 > 0 && place.bounds.3 > 0)?;
            (thing.role == "label").then_some((thing.name, place.bounds))
        };
        self.things().into_iter().filter_map(text).collect()
    }

    /// What the window shows, for a message.
    pub fn all(&self) -> String {
        let lines: Vec<String> = self.things().iter().map(|thing| format!("{}: {}", thing.role, thing.name)).collect();
        format!("{NAME} shows:\n{}", lines.join("\n"))
    }

    /// Waits until something of this name shows.
    pub fn see(&self, name: &str) -> Thing {
        let found = until(PATIENCE, || self.things().into_iter().find(|thing| thing.name == name));
        found.unwrap_or_else(|| panic!("{name:?} does not show. {}", self.all()))
    }

    /// Waits until something shows whose name holds this.
    pub fn read(&self, part: &str) -> Thing {
        let found = until(PATIENCE, || self.things().into_iter().find(|thing| thing.name.contains(part)));
        found.unwrap_or_else(|| panic!("nothing with {part:?} shows. {}", self.all()))
    }

    /// Waits until nothing of this name shows.
    pub fn miss(&self, name: &str) {
        let gone = until(PATIENCE, || self.things().iter().all(|thing| thing.name != name).then_some(()));
        assert!(gone.is_some(), "{name:?} still shows. {}", self.all());
    }

    /// Presses a button, as soon as there is one of this name.
    pub fn press(&self, name: &str) {
        let pressed = until(PATIENCE, || {
            let buttons = self.things().into_iter().filter(|thing| thing.name == name);
            buttons.into_iter().find(|thing| self.act(thing).unwrap_or_default())
        });
        assert!(pressed.is_some(), "{name:?} cannot be pressed. {}", self.all());
    }

    /// Presses the last of several buttons of this name: that of the dialog in front.
    pub fn press_last(&self, name: &str) {
        let pressed = until(PATIENCE, || {
            let is_it = |thing: &Thing| thing.name == name && thing.role.contains("button");
            self.things().into_iter().rfind(is_it).filter(|thing| self.act(thing).unwrap_or_default())
        });
        assert!(pressed.is_some(), "{name:?} cannot be pressed. {}", self.all());
    }

    /// Turns the switch whose name holds this.
    pub fn turn(&self, part: &str) {
        let turned = until(PATIENCE, || {
            let switches =
                self.things().into_iter().filter(|thing| thing.role == "switch" && thing.name.contains(part));
            switches.into_iter().find(|thing| self.act(thing).unwrap_or_default())
        });
        assert!(turned.is_some(), "no switch of {part:?} can be turned. {}", self.all());
    }

    /// Presses a button that cannot be pressed.
    pub fn press_in_vain(&self, name: &str) {
        for thing in self.things().iter().filter(|thing| thing.name == name) {
            assert!(!self.act(thing).unwrap_or_default(), "{name:?} can be pressed");
        }
    }

    /// Whether something of this name has the keyboard.
    pub fn has_focus(&self, name: &str) -> bool {
        const FOCUSED: u32 = 12;
        let focused = |thing: &Thing| -> zbus::Result<bool> {
            let state: Vec<u32> = self.proxy(&thing.sender, thing.path.as_str(), ACCESSIBLE)?.call("GetState", &())?;
            Ok(state.first().is_some_and(|bits| bits >> FOCUSED & 1 == 1))
        };
        self.things().iter().any(|thing| thing.name == name && focused(thing).unwrap_or_default())
    }

    /// Waits until something of this name is described so.
    pub fn described(&self, name: &str, part: &str) {
        let mut last = String::new();
        let found = until(PATIENCE, || {
            let thing = self.things().into_iter().find(|thing| thing.name == name)?;
            let node = self.proxy(&thing.sender, thing.path.as_str(), ACCESSIBLE).ok()?;
            last = node.get_property("Description").ok()?;
            last.contains(part).then_some(())
        });
        assert!(found.is_some(), "{name:?} is described as {last:?}. {}", self.all());
    }

    fn act(&self, thing: &Thing) -> zbus::Result<bool> {
        self.proxy(&thing.sender, thing.path.as_str(), "org.a11y.atspi.Action")?.call("DoAction", &(0_i32,))
    }
}

/// What two areas share.
fn common(one: Bounds, other: Bounds) -> Bounds {
    let (left, top) = (one.0.max(other.0), one.1.max(other.1));
    let (right, bottom) = ((one.0 + one.2).min(other.0 + other.2), (one.1 + one.3).min(other.1 + other.3));
    (left, top, right - left, bottom - top)
}

/// A name without the marks of its mnemonic: GTK 4.8 calls `_Freeze` by both, `_Freeze Freeze`.
fn plain(name: &str) -> String {
    let Some(marked) = name.strip_prefix('_').or_else(|| name.contains('_').then_some(name)) else {
        return name.to_owned();
    };
    let unmarked = marked.replace('_', "");
    let half = unmarked.len() / 2;
    match (unmarked.get(..half), unmarked.get(half + 1..)) {
        (Some(first), Some(second)) if first == second => second.to_owned(),
        _ => unmarked,
    }
}
