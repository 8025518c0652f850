//! Which process has made which connection, as the server knows it from its sockets: QueryClientIds of the X-Resource
//! extension, version 1.2.

use std::collections::BTreeMap;

use dormouse_wire::Pid;
use x11rb::connection::{Connection as _, RequestConnection as _};
use x11rb::errors::ConnectionError;
use x11rb::protocol::res::{self, ClientIdMask, ClientIdSpec, ConnectionExt as _};

use super::ask::{Connection, given};

/// The clients of a server.
#[derive(Debug, Default)]
pub struct Clients {
    /// By the bits that all ids of a client have in common.
    pids: BTreeMap<u32, Pid>,
    /// The other bits of an id.
    mask: u32,
}

impl Clients {
    /// Asks; nobody is known where the server lacks the extension.
    pub fn ask(connection: &Connection) -> Result<Self, ConnectionError> {
        let setup = connection.setup();
        let mut clients = Self { pids: BTreeMap::new(), mask: setup.resource_id_mask };
        if connection.extension_information(res::X11_EXTENSION_NAME)?.is_none() {
            return Ok(clients);
        }
        let version = given(connection.res_query_version(1, 2)?.reply())?;
        if version.is_none_or(|version| (version.server_major, version.server_minor) < (1, 2)) {
            return Ok(clients);
        }
        // 0 stands for all clients.
        let everybody = ClientIdSpec { client: 0, mask: ClientIdMask::LOCAL_CLIENT_PID };
        let cookie = connection.res_query_client_ids(&[everybody])?;
        // x11rb would make room for as many ids as the reply says that it has.
        let reply = given(cookie.raw_reply())?;
        clients.pids = reply.map(|bytes| pids(&bytes)).unwrap_or_default();
        // The server itself, and this connection.
        clients.pids.retain(|base, _| *base != 0 && *base != setup.resource_id_base);
        Ok(clients)
    }

    /// Who has made a window.
    pub fn of(&self, window: u32) -> Option<Pid> {
        self.pids.get(&(window & !self.mask)).copied()
    }

    /// All of them.
    pub fn pids(&self) -> Vec<Pid> {
        self.pids.values().copied().collect()
    }
}

/// The ids in a reply: behind its 32 bytes for each the client, what kind of id follows, how many bytes it has, and they.
fn pids(reply: &[u8]) -> BTreeMap<u32, Pid> {
    let mut pids = BTreeMap::new();
    let words = reply.get(32..).unwrap_or_default().chunks_exact(4);
    let mut words = words.map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    while let (Some(client), Some(kind), Some(length)) = (words.next(), words.next(), words.next()) {
        let mut values = words.by_ref().take(length as usize / 4);
        let pid = values.next().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
        values.for_each(drop);
        if let (Some(pid), true) = (pid, kind == u32::from(ClientIdMask::LOCAL_CLIENT_PID)) {
            pids.insert(client, Pid(pid));
        }
    }
    pids
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(words: &[u32]) -> Vec<u8> {
        let words: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        [&[0; 32][..], &words].concat()
    }

    #[test]
    fn pids_are_taken_out_of_a_reply() {
        let found = pids(&reply(&[0x200000, 2, 4, 42, 0x400000, 1, 8, 7, 7, 0x600000, 2, 0, 0x800000, 2, 4, 43]));
        assert_eq!(found, BTreeMap::from([(0x200000, Pid(42)), (0x800000, Pid(43))]));
    }

    #[test]
    fn a_window_belongs_to_the_client_whose_ids_it_shares() {
        let clients = Clients { pids: BTreeMap::from([(0x200000, Pid(42))]), mask: 0x1fffff };
        assert_eq!((clients.of(0x20000c), clients.of(0x40000c)), (Some(Pid(42)), None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, words: Vec<u32>) {
            let _ = (pids(&bytes), pids(&reply(&words)));
        }
    }
}
