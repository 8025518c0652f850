//! Networks of a test's own, network_namespaces(7), veth(4).

use std::net::TcpListener;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

/// The network that the test and all that it starts are in.
pub struct Network {
    /// A thread that is in it.
    tid: i32,
}

/// Another machine, beside it.
pub struct Neighbour {
    /// Opens a listening socket there.
    asks: std::sync::mpsc::Sender<(String, std::sync::mpsc::Sender<TcpListener>)>,
}

/// Runs ip(8) in the network of the calling thread.
pub fn ip(words: &str) {
    let out = Command::new("ip").args(words.split(' ')).output().unwrap_or_else(|error| panic!("ip: {error}"));
    assert!(out.status.success(), "ip {words}: {}", String::from_utf8_lossy(&out.stderr));
}

fn enter_new() -> i32 {
    unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|errno| panic!("a network of its own: {errno}"));
    ip("link set lo up");
    nix::unistd::gettid().as_raw()
}

impl Network {
    /// The calling thread goes into it.
    pub fn new() -> Self {
        Self { tid: enter_new() }
    }

    /// A machine at 10.9.0.2 and fd09::2; we are 10.9.0.1 and fd09::1.
    pub fn neighbour(&self) -> Neighbour {
        let (asks, asked) = std::sync::mpsc::channel::<(String, std::sync::mpsc::Sender<TcpListener>)>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let tid = self.tid;
        thread::spawn(move || {
            enter_new();
            ip(&format!("link add there type veth peer name here netns {tid}"));
            ip("addr add 10.9.0.2/24 dev there");
            ip("addr add fd09::2/64 dev there nodad");
            ip("link set there up");
            let _ = ready.send(());
            for (place, to) in asked {
                let listener = TcpListener::bind(&place).unwrap_or_else(|error| panic!("{place}: {error}"));
                let _ = to.send(listener);
            }
        });
        is_ready.recv().unwrap_or_else(|error| panic!("the neighbour: {error}"));
        ip("addr add 10.9.0.1/24 dev here");
        ip("addr add fd09::1/64 dev here nodad");
        ip("link set here up");
        Neighbour { asks }
    }
}

impl Neighbour {
    /// A socket that listens there.
    pub fn listen(&self, place: &str) -> TcpListener {
        let (to, come) = std::sync::mpsc::channel();
        self.asks.send((place.to_owned(), to)).unwrap_or_else(|error| panic!("{error}"));
        come.recv().unwrap_or_else(|error| panic!("{place}: {error}"))
    }
}
