//! A database of several processes with shared memory, and a client at its socket.

use std::fs;
use std::path::Path;

use dormouse_wire::{Pid, ProblemKind, Strength};
use harness::wait::{PATIENCE, until};

use crate::said::{CLOSE, at_socket, same};
use crate::scene::{Scene, check_until, done, group_of, wait_for};

/// The folder of the programs, whose version Debian has in its path.
fn programs() -> String {
    let versions = done(fs::read_dir("/usr/lib/postgresql")).map(|entry| done(entry).path().join("bin"));
    let newest = versions.filter(|path| path.join("postgres").exists()).max();
    newest.unwrap_or_else(|| panic!("is the package postgresql installed?")).display().to_string()
}

#[test]
fn postgres_is_one_group_with_its_backends_and_its_client_another() {
    let mut scene = Scene::new();
    let (programs, home) = (programs(), scene.home().display().to_string());
    let (data, initdb) = (format!("{home}/data"), format!("{programs}/initdb"));
    scene.run(&mut scene.program(&initdb, &["-D", &data, "-A", "trust", "-N", "-U", "me"]));
    let postgres = format!("{programs}/postgres");
    let main = scene.start(&mut scene.program(&postgres, &["-D", &data, "-k", &home, "-p", "5432"]));
    let socket = format!("{home}/.s.PGSQL.5432");
    wait_for(Path::new(&socket));
    let psql =
        ["-h", &home, "-U", "me", "-d", "postgres", "--no-psqlrc", "-c", "select 1", "-c", "select pg_sleep(1000)"];
    let ready = format!("{programs}/pg_isready");
    let is_ready = || scene.program(&ready, &["-h", &home]).status().is_ok_and(|status| status.success()).then_some(());
    assert!(until(PATIENCE, is_ready).is_some(), "postgres lets nobody in");
    let (client, _) = scene.start_saying(&mut scene.program(&format!("{programs}/psql"), &psql));

    let said = check_until(main, |said| same(said.members(), vec!["postgres"; 7]));
    let pids: Vec<Pid> = said.checked.processes.iter().map(|process| process.pid).collect();
    assert_eq!(pids[0], main);
    // System V holds a few bytes that tell that the database is in use; the buffers are anonymous.
    for kind in ["system-v", "shared-memory"] {
        assert_eq!(said.common(kind, Strength::Strong, &pids), 1, "{kind}: {:#?}", said.ties());
    }
    let serves = format!("service {socket} served-by postgres");
    assert_eq!(
        said.has(&["postgres parent postgres", &serves, "service TCP 127.0.0.1:5432 served-by postgres"]),
        Ok(())
    );
    assert!(said.bound_to().is_empty(), "{:?}", said.ties());
    let connected = format!("psql (pid {client}) is connected to it at {socket} and is not part of the group");
    let backend = said.reasons().iter().find(|reason| reason.what == connected);
    let backend = backend.and_then(|reason| reason.process.clone()).unwrap_or_else(|| panic!("{}", said.text)).pid;
    assert_ne!(backend, main);
    let together = "Freeze them together, cut the connection (--disconnect), or end that process first";
    // Its memory does not stand in the way.
    let expected = [at_socket(ProblemKind::UnixSocket, backend, connected, together)];
    assert_eq!(said.is_blocked_by(&expected), Ok(()));
    let asks = format!("it is connected to a service, postgres (pid {backend}), at {socket}");
    let because = [at_socket(ProblemKind::UnixSocket, client, asks, CLOSE)];
    let said = check_until(client, |said| said.is_blocked_by(&because));
    assert_eq!(said.members(), ["psql"]);
    assert_eq!(said.has(&[&format!("psql asks service {socket}"), &serves]), Ok(()));
    assert_eq!(group_of(main).name, "postgres");
    assert_eq!((group_of(client).name.as_str(), group_of(client).processes), ("psql", 1));
}
