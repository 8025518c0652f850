//! A database in memory and a client that stays connected.

use std::net::TcpStream;
use std::process::Stdio;

use dormouse_wire::{ProblemKind, Verdict};
use harness::wait::{PATIENCE, until};

use crate::said::{END_OR_BOTH, Said, at_socket};
use crate::scene::{Scene, check_until, group_of};

#[test]
fn redis_and_its_client_are_two_groups_with_a_connection_between_them() {
    let mut scene = Scene::new();
    let mut server = scene.program("redis-server", &["--port", "6379", "--save", "", "--bind", "127.0.0.1"]);
    let server = scene.start(&mut server);
    let serves = until(PATIENCE, || TcpStream::connect("127.0.0.1:6379").ok());
    assert!(serves.is_some(), "redis does not serve; is the package redis-server installed?");
    drop(serves);
    // A subscriber waits for ever, and says first that it is connected.
    let mut client = scene.program("redis-cli", &["SUBSCRIBE", "news"]);
    let (client, _) = scene.start_saying(client.stdin(Stdio::null()));

    let leads_out = |pid, from: &str, to: &str, other: &str| {
        let what = format!("it is a TCP connection from {from} to {to}, {other}, which is not part of the group");
        [at_socket(ProblemKind::Socket, pid, what, END_OR_BOTH)]
    };
    let said = check_until(server, |said| {
        let (from, to) = ends(said)?;
        said.is_blocked_by(&leads_out(server, &to, &from, &format!("redis-cli (pid {client})")))
    });
    assert!(matches!(said.checked.verdict, Verdict::Lossy(_)), "{}", said.text);
    let (from, to) = ends(&said).unwrap_or_else(|wrong| panic!("{wrong}"));
    let connection = said.ties().iter().find_map(|tie| tie.split_once(" holds tcp ").map(|(_, ends)| ends.to_owned()));
    let connection = format!("tcp {}", connection.unwrap_or_default());
    assert_eq!(said.members(), ["redis-server"]);
    let service = format!("service TCP {to} served-by redis-server");
    let (own, other) = (format!("redis-server holds {connection}"), format!("redis-cli holds {connection}"));
    assert_eq!(said.has(&[&service, &own, &other]), Ok(()));
    assert!(said.bound_to().is_empty(), "{:?}", said.ties());

    let because = leads_out(client, &from, &to, &format!("redis-server (pid {server})"));
    let said = check_until(client, |said| said.is_blocked_by(&because));
    assert_eq!((said.members(), said.has(&[&own, &other])), (vec!["redis-cli"], Ok(())));
    assert!(said.bound_to().is_empty(), "{:?}", said.ties());

    let listed = [server, client].map(group_of);
    let told = listed.map(|group| (group.name, group.processes));
    assert_eq!(told, [("redis-server".to_owned(), 1), ("redis-cli".to_owned(), 1)]);
}

/// The addresses of the connection: the client's and the server's.
fn ends(said: &Said) -> Result<(String, String), String> {
    const TO: &str = "127.0.0.1:6379";
    let ties = said.ties();
    let connection =
        ties.iter().find_map(|tie| tie.split_once(" holds tcp ").map(|(_, ends)| ends.split_once(" and ")));
    let (low, high) = connection.flatten().ok_or("there is no connection")?;
    Ok((if low == TO { high } else { low }.to_owned(), TO.to_owned()))
}
