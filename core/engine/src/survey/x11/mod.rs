//! The X Window System: which displays there are, who is connected to them, and which windows they hold.
//!
//! Most comes without a word with any server: its sockets tell who is connected to it ([`sockets`]). What only the server
//! knows it is asked ([`ask`]): whose a connection is where its socket cannot be seen, and the windows. A server may hang,
//! refuse or lie, so each has the same moment by which all must have ended, and says beside what it told why there is no
//! more ([`Access`]). No thread is left behind, for none ever waits longer ([`stream`]).
//!
//! Nothing is changed: no window, no property, no server. A display that nobody is connected to is not asked: a compositor
//! starts Xwayland for the first client, and other servers begin anew when the last one leaves, or end (-terminate,
//! Xserver(1)). Xwayland is asked once it runs: its clients may be in sandboxes without a network, where they are not seen,
//! and its compositor starts it again.

mod ask;
mod atoms;
mod authority;
mod clients;
pub(super) mod server;
pub(super) mod sockets;
mod stream;
mod text;
mod windows;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dormouse_wire::Pid;
use dormouse_wire::window::{Access, Client, Display, Server, ServerKind, X11};

use crate::kernel::threads;
use crate::proc;
use ask::{Answer, Question};
use sockets::{Holders, Sockets};

/// How to look.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long the servers have to answer, all of them at once; a minute at most.
    pub within: Duration,
    /// Files that may open displays, in the order of trial, such as that of XAUTHORITY or `~/.Xauthority`. Those that the
    /// servers and their clients use come on top where they may be read. A server is shown only what its user may know.
    pub authorities: Vec<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { within: Duration::from_millis(500), authorities: Vec::new() }
    }
}

/// How many servers are asked at once; whoever serves thousands of displays is no server to wait for.
const MOST_AT_ONCE: usize = 16;

/// Looks at all displays of this machine. Returns within the time of the options and what it takes to look through /proc
/// once; at once where there is no display.
pub fn look(options: &Options) -> X11 {
    let (found, told) = sockets::find();
    let wanted: HashSet<u32> =
        found.values().flat_map(|display| display.listeners.iter().chain(&display.clients)).copied().collect();
    let holders = sockets::holders(&wanted);
    let mut displays: Vec<Seen> =
        found.into_iter().map(|(number, sockets)| Seen::new(number, sockets, &holders)).collect();
    // Where there are too many, those come first that are what they seem to be.
    displays.sort_by_key(|seen| (seen.kind() == ServerKind::Other, seen.number));
    let answers = ask_all(&displays, told, options);
    let mut displays: Vec<Display> =
        displays.into_iter().zip(answers).map(|(seen, answer)| seen.with(answer)).collect();
    displays.sort_by_key(|display| display.number);
    X11 { displays }
}

/// Asks as many servers at once as may be, all until the same moment; the answers in the order of the displays.
fn ask_all(displays: &[Seen], told: bool, options: &Options) -> Vec<Answer> {
    let end = Instant::now() + options.within.min(Duration::from_mins(1));
    let (next, answers) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    threads::together(displays.len().min(MOST_AT_ONCE), || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(seen) = displays.get(index) else { return };
            let answer = seen.answer(told, options, end);
            answers.lock().unwrap_or_else(PoisonError::into_inner).insert(index, answer);
        }
    });
    answers.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// A display as far as it can be seen without its server.
#[derive(Debug)]
struct Seen {
    number: u32,
    sockets: Sockets,
    server: Option<Server>,
    /// The holders of the sockets that are connected to it.
    holders: BTreeSet<Pid>,
}

impl Seen {
    fn new(number: u32, sockets: Sockets, holders: &Holders) -> Self {
        let of = |inodes: &BTreeSet<u32>| -> BTreeSet<Pid> {
            inodes.iter().filter_map(|inode| holders.get(inode)).flatten().copied().collect()
        };
        let listening: Vec<Pid> = of(&sockets.listeners).into_iter().collect();
        let holders = of(&sockets.clients);
        Self { number, server: server::among(&listening), sockets, holders }
    }

    fn kind(&self) -> ServerKind {
        self.server.as_ref().map_or(ServerKind::Other, |server| server.kind)
    }

    fn answer(&self, told: bool, options: &Options, end: Instant) -> Answer {
        if told && self.sockets.listeners.is_empty() {
            return Answer::none(Access::Gone);
        }
        if told && self.sockets.clients.is_empty() && self.kind() != ServerKind::Xwayland {
            return Answer::none(Access::Unasked);
        }
        let server = self.server.as_ref().map(|server| server.process.pid);
        let clients: Vec<Pid> = self.holders.iter().copied().collect();
        let candidates = authority::candidates(&options.authorities, server, &clients);
        ask::ask(&Question { number: self.number, sockets: &self.sockets, candidates }, end)
    }

    /// The display, with what its server has told.
    fn with(self, mut answer: Answer) -> Display {
        let mut server = self.server.or_else(|| server::among(&Vec::from_iter(answer.peer)));
        if let Some(server) = server.as_mut().filter(|_| answer.is_xwayland) {
            server.kind = ServerKind::Xwayland;
        }
        let shares_our_pids = server.as_ref().is_none_or(|server| server::shares_our_pids(server.process.pid));
        // Whoever has connected may have ended, and a child of it goes on.
        let is_known = |pid: &Pid| shares_our_pids && proc::folder(*pid).exists();
        answer.clients.retain(is_known);
        for window in &mut answer.windows {
            window.pid = window.pid.filter(is_known);
            window.claimed_pid =
                window.claimed_pid.filter(|pid| is_known(pid) && is_of_this_machine(window.machine.as_deref()));
        }
        let all: BTreeSet<Pid> = self.holders.iter().chain(&answer.clients).copied().collect();
        let client = |pid: &Pid| Client {
            process: server::named(*pid),
            holds_socket: self.holders.contains(pid),
            named_by_server: answer.clients.contains(pid),
        };
        Display {
            number: self.number,
            sockets: self.sockets.places.iter().map(|place| place.shown(self.number)).collect(),
            server,
            access: answer.access,
            clients: all.iter().map(client).collect(),
            windows: answer.windows,
        }
    }
}

/// Whether a window is of this machine, as far as it says: one from another, or from a container with a name of its own,
/// claims a pid that is none of ours.
fn is_of_this_machine(machine: Option<&str>) -> bool {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    machine.is_none_or(|machine| short(machine) == short(&host))
}
