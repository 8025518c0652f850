//! Addresses in the network between freeze and thaw: none stays in use, one that another program has is named with that
//! program, and an image gives nobody a port that is not his.
#![allow(missing_docs, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::chown;
use std::path::Path;

use ciborium::Value;
use harness::forge::{each, field, forged, group, set};
use harness::specimen::{Answer, ORDINARY};
use harness::{Program, Specimen, User};

fn asleep(name: &'static str, user: User) -> (Specimen, BTreeSet<i32>) {
    let mut specimen = Specimen::start(Path::new(env!("CARGO_BIN_EXE_zoo")), &Program::named(name), user);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let members = specimen.members();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&members);
    (specimen, members)
}

/// The ports of the sockets of this kind in an image whose own address is 127.0.0.1; `state`: what they do.
fn ports(specimen: &Specimen, kind: &str, state: &str) -> Vec<u16> {
    let mut found = Vec::new();
    each(&mut group(&specimen.image()), &mut |file| {
        if field(file, "kind").and_then(|kind| kind.as_text().map(str::to_owned)).as_deref() != Some(kind) {
            return;
        }
        let Some(record) = field(file, "record") else { return };
        let is_so =
            field(record, "state").is_none_or(|value| value.as_text() == Some(state) || field(value, state).is_some());
        let Some(own) = field(record, "own").filter(|_| is_so) else { return };
        let here = field(own, "ip").is_some_and(|ip| ip.as_bytes().is_some_and(|ip| ip[..] == [127, 0, 0, 1]));
        let port = field(own, "port").and_then(|port| port.as_integer()).and_then(|port| u16::try_from(port).ok());
        found.extend(port.filter(|_| here));
    });
    assert!(!found.is_empty(), "there is no such socket in the image");
    found
}

fn refused(specimen: &mut Specimen, members: &BTreeSet<i32>, words: &[&str]) {
    let outcome = specimen.thaw();
    assert!(!outcome.status.success(), "it was thawed");
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(said.contains(word), "the refusal does not say `{word}`:\n{}", outcome.said);
    }
    specimen.assert_asleep(members);
}

fn comes_back(specimen: &mut Specimen) {
    specimen.thaw().expect_success("thaw");
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

#[test]
fn an_address_that_another_program_has_is_named_with_that_program() {
    let own = format!("(pid {})", std::process::id());
    let (mut specimen, members) = asleep("tcp_listening", User::Ordinary);
    let port = ports(&specimen, "tcp", "Listening")[0];
    let taker = TcpListener::bind(("127.0.0.1", port)).unwrap_or_else(|error| panic!("{error}"));
    refused(&mut specimen, &members, &[&format!("127.0.0.1:{port}"), &own, "has the address", "End that program"]);
    drop(taker);
    comes_back(&mut specimen);

    let (mut specimen, members) = asleep("udp", User::Ordinary);
    let port = ports(&specimen, "datagram", "")[0];
    let taker = UdpSocket::bind(("127.0.0.1", port)).unwrap_or_else(|error| panic!("{error}"));
    refused(&mut specimen, &members, &[&format!("127.0.0.1:{port}"), &own, "has the address", "End that program"]);
    drop(taker);
    comes_back(&mut specimen);
}

#[test]
fn connections_of_a_group_that_sleeps_hold_no_address() {
    for name in ["tcp_connected", "tcp_waiting"] {
        let (mut specimen, _) = asleep(name, User::Ordinary);
        let mut ports = Vec::new();
        each(&mut group(&specimen.image()), &mut |value| {
            let port = field(value, "port").and_then(|port| port.as_integer());
            ports.extend(port.and_then(|port| u16::try_from(port).ok()));
        });
        assert!(ports.len() > 2, "{ports:?}");
        for list in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let text = fs::read_to_string(list).unwrap_or_else(|error| panic!("{error}"));
            let ends = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)?.rsplit_once(':'));
            let used: Vec<u16> = ends.filter_map(|(_, port)| u16::from_str_radix(port, 16).ok()).collect();
            let still: Vec<_> = ports.iter().filter(|port| used.contains(port)).collect();
            assert!(still.is_empty(), "{name}: {still:?} are in use:\n{text}");
        }
        comes_back(&mut specimen);
    }
}

/// A change of a record; whether it found what it changes.
type Forgery = dyn Fn(&mut Value) -> bool;

#[test]
fn an_image_of_an_ordinary_user_has_no_port_of_the_systems_and_no_mighty_option() {
    let (mut specimen, members) = asleep("tcp_listening", User::Ordinary);
    let (image, kept) = (specimen.image(), specimen.image().with_file_name("kept.dormouse"));
    fs::rename(&image, &kept).unwrap_or_else(|error| panic!("{error}"));
    let low = |value: &mut Value| field(value, "ip").is_some() && set(value, "port", 80.into());
    // SO_MARK, which root alone may set.
    let mark = |value: &mut Value| {
        let numbers = Value::Array(vec![Value::Array(vec![1.into(), 36.into(), 7.into()])]);
        set(value, "numbers", numbers)
    };
    let owner = |value: &mut Value| field(value, "mode").is_some() && set(value, "user", 0.into());
    let forgeries: [(&Forgery, &str); 3] =
        [(&low, "a port that only root may use"), (&mark, "an option that only root may set"), (&owner, "user 0")];
    for (forgery, word) in forgeries {
        let mut record = group(&kept);
        let mut found = false;
        each(&mut record, &mut |value| found |= forgery(value));
        assert!(found, "nothing is there to be forged: {word}");
        forged(&kept, &record, &image);
        chown(&image, Some(ORDINARY), Some(ORDINARY)).unwrap_or_else(|error| panic!("{error}"));
        refused(&mut specimen, &members, &[word, "chown root:root"]);
        fs::remove_file(&image).unwrap_or_else(|error| panic!("{error}"));
    }
    fs::rename(&kept, &image).unwrap_or_else(|error| panic!("{error}"));
    comes_back(&mut specimen);
}
