//! The windows on a screen: the list that a window manager keeps (EWMH), else what stands on the screen by itself.

use std::collections::HashSet;

use dormouse_wire::Pid;
use dormouse_wire::window::Window;
use x11rb::cookie::Cookie;
use x11rb::errors::ConnectionError;
use x11rb::protocol::xproto::{ConnectionExt as _, GetPropertyReply, GetWindowAttributesReply, MapState, WindowClass};

use super::ask::{Connection, given};
use super::atoms::Atoms;
use super::clients::Clients;
use super::text;

/// How many windows of a screen are looked at.
const MOST: usize = 2000;
/// How many windows are asked for at once.
const HANDFUL: usize = 64;
/// How far below the screen a window may lie within what its window manager has put around it.
const DEEPEST: usize = 4;
/// How much of a text is asked for, in words of 4 bytes.
const LONGEST_TEXT: u32 = 512;

type Property<'c> = Cookie<'c, Connection, GetPropertyReply>;

/// Adds the windows on the screen with this root window.
pub fn on(
    root: u32,
    connection: &Connection,
    clients: &Clients,
    windows: &mut Vec<Window>,
) -> Result<(), ConnectionError> {
    let atoms = Atoms::of(connection)?;
    let listed = managed(root, connection, &atoms)?;
    let is_listed = listed.is_some();
    let mut ids = match listed {
        Some(listed) => listed,
        None => standing(root, connection, &atoms)?,
    };
    ids.truncate(MOST);
    for handful in ids.chunks(HANDFUL) {
        let asked: Vec<Asked> =
            handful.iter().map(|id| Asked::new(*id, connection, &atoms)).collect::<Result<_, _>>()?;
        for asked in asked {
            let id = asked.id;
            let Some(told) = asked.told(&atoms)?.filter(|told| told.is_one(is_listed)) else { continue };
            windows.push(Window { id, pid: clients.of(id), ..told.window });
        }
        connection.stream().time_left()?;
    }
    Ok(())
}

/// What the window manager lists, if there is one. Its list may outlive it, and so does its name, but not its window.
fn managed(root: u32, connection: &Connection, atoms: &Atoms) -> Result<Option<Vec<u32>>, ConnectionError> {
    let numbers = |window: u32, property: u32, most: usize| {
        let reply = given(property_of(window, property, most as u32, connection)?.reply())?;
        Ok::<_, ConnectionError>(reply.and_then(|reply| Some(reply.value32()?.collect::<Vec<_>>())))
    };
    let check = numbers(root, atoms.supporting_wm_check, 1)?.unwrap_or_default();
    let Some(manager) = check.first() else { return Ok(None) };
    if numbers(*manager, atoms.supporting_wm_check, 1)?.unwrap_or_default() != [*manager] {
        return Ok(None);
    }
    numbers(root, atoms.client_list, MOST)
}

/// What stands on the screen by itself, the topmost last. Where a window manager without a list has put a frame around a
/// window, it is the window within that has WM_STATE (ICCCM 4.1.3.1).
fn standing(root: u32, connection: &Connection, atoms: &Atoms) -> Result<Vec<u32>, ConnectionError> {
    let tops = given(connection.query_tree(root)?.reply())?.map(|reply| reply.children).unwrap_or_default();
    let mut found: Vec<(u32, u32)> = Vec::new();
    let mut level: Vec<(u32, u32)> = tops.iter().take(MOST).map(|top| (*top, *top)).collect();
    // An atom that nobody has made is no property of any window.
    let depths = if atoms.state == 0 { 0 } else { DEEPEST };
    for _ in 0..depths {
        let mut below = Vec::new();
        for handful in level.chunks(HANDFUL) {
            below.extend(look_within(handful, connection, atoms, &mut found)?);
            connection.stream().time_left()?;
        }
        let done: HashSet<u32> = found.iter().map(|(top, _)| *top).collect();
        below.retain(|(top, _)| !done.contains(top));
        below.truncate(MOST);
        level = below;
    }
    let inner = |top: &u32| {
        let within: Vec<u32> = found.iter().filter(|(outer, _)| outer == top).map(|(_, window)| *window).collect();
        if within.is_empty() { vec![*top] } else { within }
    };
    Ok(tops.iter().take(MOST).flat_map(inner).collect())
}

/// Notes which of these windows have WM_STATE, and returns the children of the others; each beside the top it is within.
fn look_within(
    level: &[(u32, u32)],
    connection: &Connection,
    atoms: &Atoms,
    found: &mut Vec<(u32, u32)>,
) -> Result<Vec<(u32, u32)>, ConnectionError> {
    let ask = |(top, window): &(u32, u32)| {
        let state = property_of(*window, atoms.state, 2, connection)?;
        Ok((*top, *window, state, connection.query_tree(*window)?))
    };
    let asked: Vec<_> = level.iter().map(ask).collect::<Result<_, ConnectionError>>()?;
    let mut below = Vec::new();
    for (top, window, state, tree) in asked {
        let has_state = given(state.reply())?.is_some_and(|state| state.type_ != 0);
        let children = given(tree.reply())?.map(|tree| tree.children).unwrap_or_default();
        if has_state {
            found.push((top, window));
        } else {
            below.extend(children.into_iter().map(|child| (top, child)));
        }
    }
    Ok(below)
}

fn property_of(
    window: u32,
    property: u32,
    words: u32,
    connection: &Connection,
) -> Result<Property<'_>, ConnectionError> {
    // Of whatever type.
    connection.get_property(false, window, property, 0_u32, 0, words)
}

/// A window that was asked for what a person wants to know.
struct Asked<'c> {
    id: u32,
    attributes: Cookie<'c, Connection, GetWindowAttributesReply>,
    properties: [Property<'c>; 7],
}

impl<'c> Asked<'c> {
    fn new(id: u32, connection: &'c Connection, atoms: &Atoms) -> Result<Self, ConnectionError> {
        let ask = |atom: u32, words: u32| property_of(id, atom, words, connection);
        Ok(Self {
            id,
            attributes: connection.get_window_attributes(id)?,
            properties: [
                ask(atoms.name, LONGEST_TEXT)?,
                ask(atoms.old_name, LONGEST_TEXT)?,
                ask(atoms.class, LONGEST_TEXT)?,
                ask(atoms.machine, LONGEST_TEXT)?,
                ask(atoms.pid, 1)?,
                ask(atoms.kind, 1)?,
                ask(atoms.state, 1)?,
            ],
        })
    }

    /// What it has told; none: it has gone meanwhile.
    fn told(self, atoms: &Atoms) -> Result<Option<Told>, ConnectionError> {
        let attributes = given(self.attributes.reply())?;
        let mut replies = Vec::with_capacity(self.properties.len());
        for property in self.properties {
            replies.push(given(property.reply())?);
        }
        let (Some(attributes), [name, old_name, class, machine, pid, kind, state]) = (attributes, &replies[..]) else {
            return Ok(None);
        };
        let texts = |reply: &Option<GetPropertyReply>| {
            reply.as_ref().map(|reply| text::texts(reply, atoms.utf8)).unwrap_or_default().into_iter()
        };
        let number = |reply: &Option<GetPropertyReply>| reply.as_ref()?.value32()?.next();
        let mut class = texts(class);
        let window = Window {
            id: self.id,
            title: texts(name).next().filter(|title| !title.is_empty()).or_else(|| texts(old_name).next()),
            instance: class.next(),
            class: class.next(),
            pid: None,
            claimed_pid: number(pid).and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0).map(Pid),
            machine: texts(machine).next(),
        };
        let is_furniture = number(kind).is_some_and(|kind| kind != 0 && [atoms.dock, atoms.desktop].contains(&kind));
        Ok(Some(Told { window, attributes, state: number(state), is_furniture }))
    }
}

/// What a window has told.
struct Told {
    window: Window,
    attributes: GetWindowAttributesReply,
    /// The first number in WM_STATE.
    state: Option<u32>,
    /// It is a panel, or the desktop itself.
    is_furniture: bool,
}

/// `WithdrawnState`, ICCCM 4.1.3.1.
const WITHDRAWN: u32 = 0;

impl Told {
    /// Whether a person would call it a window.
    fn is_one(&self, is_listed: bool) -> bool {
        if self.is_furniture || self.attributes.override_redirect || self.state == Some(WITHDRAWN) {
            return false;
        }
        let is_named = self.window.title.is_some() || self.window.class.is_some();
        let is_there =
            self.attributes.map_state != MapState::UNMAPPED && self.attributes.class != WindowClass::INPUT_ONLY;
        is_listed || self.state.is_some() || (is_there && is_named)
    }
}
