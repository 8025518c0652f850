//! The names of properties that are asked for. Those that the server does not know yet are not made: 0 stands for them.

use x11rb::errors::ConnectionError;
use x11rb::protocol::xproto::{AtomEnum, ConnectionExt as _};

use super::ask::{Connection, given};

/// The atoms.
#[derive(Clone, Copy, Debug)]
pub struct Atoms {
    /// `_NET_WM_NAME`
    pub name: u32,
    /// `WM_NAME`
    pub old_name: u32,
    /// `WM_CLASS`
    pub class: u32,
    /// `WM_CLIENT_MACHINE`
    pub machine: u32,
    /// `_NET_WM_PID`
    pub pid: u32,
    /// `_NET_WM_WINDOW_TYPE`
    pub kind: u32,
    /// `_NET_WM_WINDOW_TYPE_DOCK`
    pub dock: u32,
    /// `_NET_WM_WINDOW_TYPE_DESKTOP`
    pub desktop: u32,
    /// `WM_STATE`
    pub state: u32,
    /// `_NET_CLIENT_LIST`
    pub client_list: u32,
    /// `_NET_SUPPORTING_WM_CHECK`
    pub supporting_wm_check: u32,
    /// `UTF8_STRING`
    pub utf8: u32,
}

const NAMES: [&[u8]; 9] = [
    b"_NET_WM_NAME",
    b"_NET_WM_PID",
    b"_NET_WM_WINDOW_TYPE",
    b"_NET_WM_WINDOW_TYPE_DOCK",
    b"_NET_WM_WINDOW_TYPE_DESKTOP",
    b"WM_STATE",
    b"_NET_CLIENT_LIST",
    b"_NET_SUPPORTING_WM_CHECK",
    b"UTF8_STRING",
];

impl Atoms {
    /// Asks for them.
    pub fn of(connection: &Connection) -> Result<Self, ConnectionError> {
        let asked: Vec<_> =
            NAMES.iter().map(|name| connection.intern_atom(true, name)).collect::<Result<_, ConnectionError>>()?;
        let mut atoms = [0; NAMES.len()];
        for (atom, cookie) in atoms.iter_mut().zip(asked) {
            *atom = given(cookie.reply())?.map_or(0, |reply| reply.atom);
        }
        let [name, pid, kind, dock, desktop, state, client_list, supporting_wm_check, utf8] = atoms;
        let [old_name, class, machine] =
            [AtomEnum::WM_NAME, AtomEnum::WM_CLASS, AtomEnum::WM_CLIENT_MACHINE].map(u32::from);
        Ok(Self {
            name,
            old_name,
            class,
            machine,
            pid,
            kind,
            dock,
            desktop,
            state,
            client_list,
            supporting_wm_check,
            utf8,
        })
    }
}
