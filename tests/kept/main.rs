//! Connections to outside that a freeze keeps when it is told to (`--keep-connections`): the other end notices no more than a
//! silence, whatever it says meanwhile; what fails leaves nothing behind; and what cannot be kept is named.
//!
//! Each test has a network of its own: what it holds off, and the addresses it takes away, are nobody else's.
#![allow(missing_docs, clippy::panic)]

mod apart;
mod denied;
mod faults;
mod network;
mod talk;

use harness::specimen::Specimen;
use harness::{Job, User};

use network::Network;
use talk::Talk;

/// As few words as a person would look for in what the command has said.
fn says(said: &str, words: &[&str]) {
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(said.contains(word), "it does not say `{word}`:\n{said}");
    }
}

fn sleeps(specimen: &mut Specimen) {
    let members = specimen.members();
    let frozen = specimen.freeze_with(&["--keep-connections"]);
    frozen.expect_success("freeze");
    says(&frozen.said, &["\"losses\": []"]);
    specimen.assert_asleep(&members);
}

/// It has heard all that was said.
fn ends_well(job: &mut Job, talk: &Talk) {
    assert_eq!(job.end(), format!("ready\nheard {}\ndone\n", talk.said()));
}

#[test]
fn what_is_said_before_and_meanwhile_comes_once_and_in_order() {
    let _network = Network::new();
    for (host, user) in [("127.0.0.1", User::Ordinary), ("::1", User::Root)] {
        for full in [false, true] {
            let (mut talk, mut job) = Talk::start(host, user);
            talk.exchange(10_000);
            if full {
                talk.fill();
            } else {
                talk.say(30_000);
            }
            sleeps(job.specimen());
            talk.say_what_fits(100_000);
            // Long enough for the kernel of the other end to say it again, twice.
            std::thread::sleep(std::time::Duration::from_millis(700));
            job.specimen().thaw().expect_success("thaw");
            talk.hear_all();
            ends_well(&mut job, &talk);
        }
    }
}

#[test]
fn a_connection_naps_often_and_the_program_listens_beside_it() {
    let _network = Network::new();
    let (mut talk, mut job) = Talk::accepted("127.0.0.1", User::Ordinary);
    for round in 0..8 {
        talk.exchange(1000 + round * 17);
        sleeps(job.specimen());
        talk.say_what_fits(5000);
        job.specimen().thaw().expect_success("thaw");
        std::fs::remove_file(job.specimen().image()).unwrap_or_else(|error| panic!("{error}"));
    }
    talk.hear_all();
    ends_well(&mut job, &talk);
}

#[test]
fn a_connection_to_another_machine_goes_on() {
    let network = Network::new();
    let neighbour = network.neighbour();
    for (own, its) in [("10.9.0.1", "10.9.0.2:0"), ("fd09::1", "[fd09::2]:0")] {
        let listener = neighbour.listen(its);
        let (mut talk, mut job) = Talk::with(listener, User::Ordinary);
        assert_eq!(talk.peer().ip().to_string(), own);
        talk.exchange(10_000);
        talk.fill();
        sleeps(job.specimen());
        talk.say_what_fits(50_000);
        std::thread::sleep(std::time::Duration::from_millis(700));
        job.specimen().thaw().expect_success("thaw");
        talk.hear_all();
        ends_well(&mut job, &talk);
    }
}

#[test]
fn one_that_is_half_closed_goes_on_whoever_has_finished() {
    let network = Network::new();
    let neighbour = network.neighbour();
    // Who looks closely where a packet comes from must let the end come, too.
    for filter in ["all", "lo", "here"] {
        let place = format!("/proc/sys/net/ipv4/conf/{filter}/rp_filter");
        std::fs::write(&place, "1").unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    for its in ["10.9.0.2:0", "[fd09::2]:0"] {
        let listener = neighbour.listen(its);
        let (mut talk, mut job) = Talk::told("wait", &listener, User::Ordinary);
        talk.exchange(10_000);
        talk.finish();
        job.wait_for("heard");
        for _ in 0..2 {
            sleeps(job.specimen());
            job.specimen().thaw().expect_success("thaw");
            std::fs::remove_file(job.specimen().image()).unwrap_or_else(|error| panic!("{error}"));
        }
        job.make("go");
        talk.hear_last(b"the last word");
        ends_well(&mut job, &talk);

        let (mut talk, mut job) = Talk::told("finish", &listener, User::Ordinary);
        talk.say(10_000);
        talk.hear_last(b"");
        for _ in 0..2 {
            sleeps(job.specimen());
            talk.say(10_000);
            job.specimen().thaw().expect_success("thaw");
            std::fs::remove_file(job.specimen().image()).unwrap_or_else(|error| panic!("{error}"));
        }
        talk.finish();
        ends_well(&mut job, &talk);
    }
}

#[test]
fn who_has_ended_meanwhile_is_heard() {
    let network = Network::new();
    let neighbour = network.neighbour();
    let listener = neighbour.listen("10.9.0.2:0");
    let (mut talk, mut job) = Talk::told("connect", &listener, User::Ordinary);
    talk.exchange(1000);
    sleeps(job.specimen());
    talk.say(2000);
    talk.finish();
    job.specimen().thaw().expect_success("thaw");
    talk.hear(2000);
    talk.hear_last(b"");
    ends_well(&mut job, &talk);
}
