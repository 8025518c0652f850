//! PostgreSQL with so many backends, each in a transaction of a client that holds all their connections.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, exit};

use harness::wait::{PATIENCE, until};

use crate::fixture::ready_and_wait;

/// It does not run as root.
const USER: u32 = 1000;

fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|entry| entry.path().join("bin")).filter(|path| path.join("postgres").exists()).max();
    newest.unwrap_or_else(|| panic!("is the package postgresql installed?"))
}

fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(programs().join(name));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).uid(USER).gid(USER);
    command
}

/// A connection, by the protocol of its messages: a letter, how long the rest is, the rest.
struct Client(UnixStream);

impl Client {
    fn connect() -> Option<Self> {
        let mut stream = UnixStream::connect("./.s.PGSQL.5432").ok()?;
        let who = b"\0\x03\0\0user\0me\0database\0postgres\0\0";
        stream.write_all(&(4 + who.len() as u32).to_be_bytes()).and_then(|()| stream.write_all(who)).ok()?;
        let mut client = Self(stream);
        client.answer().map(|_| client)
    }

    /// All until it is ready for another question; an error is none.
    fn answer(&mut self) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).ok()?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]).checked_sub(4)?;
            let mut rest = vec![0; length as usize];
            self.0.read_exact(&mut rest).ok()?;
            match head[0] {
                b'Z' => return Some(all),
                b'E' => return None,
                _ => all.extend(rest),
            }
        }
    }

    fn ask(&mut self, question: &str) -> Option<Vec<u8>> {
        let length = 4 + question.len() as u32 + 1;
        let message = [b"Q", length.to_be_bytes().as_slice(), question.as_bytes(), b"\0"].concat();
        self.0.write_all(&message).ok()?;
        self.answer()
    }
}

fn start(folder: &Path) -> Child {
    fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let owned = chown(folder, Some(USER), Some(USER))
        .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)))
        .and_then(|()| std::env::set_current_dir(folder));
    owned.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let made = command("initdb", &["-D", ".", "-A", "trust", "-N", "-U", "me"]).status();
    assert!(made.is_ok_and(|status| status.success()), "initdb fails");
    command("postgres", &["-D", ".", "-k", ".", "-c", "listen_addresses="])
        .spawn()
        .unwrap_or_else(|error| panic!("postgres does not start: {error}"))
}

/// Each backend has read of the tables of the system, and keeps what nobody else sees.
pub fn hold(backends: usize, folder: &Path) {
    let own = std::env::temp_dir().join(format!("dormouse-bench-{}", std::process::id()));
    let mut server = start(&own);
    let connected = until(PATIENCE, Client::connect);
    assert!(connected.is_some(), "nobody can connect");
    let mut clients: Vec<Client> = (0..backends).filter_map(|_| Client::connect()).collect();
    drop(connected);
    let begin = "BEGIN; CREATE TEMPORARY TABLE own AS SELECT attname FROM pg_attribute, generate_series(1, 3)";
    let begun = clients.iter_mut().filter_map(|client| client.ask(begin)).count();
    assert_eq!(begun, backends, "not all have begun");
    ready_and_wait(folder);
    let is_there = |client: &mut Client| {
        client
            .ask("SELECT count(*) > 3000, txid_current_if_assigned() > 0 FROM own")
            .is_some_and(|answer| answer.contains(&b't'))
    };
    let kept = clients.iter_mut().all(is_there);
    drop(clients);
    // SAFETY: takes numbers only; the server is a child that has not been waited for.
    let told = unsafe { libc::kill(server.id() as i32, libc::SIGINT) };
    let ended = server.wait().is_ok_and(|status| status.success());
    let _ = fs::remove_dir_all(&own);
    exit(i32::from(!(kept && told == 0 && ended)));
}
