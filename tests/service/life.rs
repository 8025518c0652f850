//! The life of the service: jobs that nobody waits for, an end in the middle, watchers, and the time when nobody needs it.

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use dormouse_wire::Listed;
use dormouse_wire::dbus::NAME;
use dormouse_wire::dbus::groups::GroupsProxyBlocking;
use harness::User;
use harness::specimen::Answer;
use harness::wait::{PATIENCE, until};

use crate::client::Call;
use crate::machine::{ANNA, Machine, OWN, Running, done};
use crate::sleep::{awake, gone, images, started};

#[test]
fn a_job_goes_on_when_its_client_leaves() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    machine.told(ANNA, &Call::FreezeAndLeave(specimen.pid().to_string()));
    let image = until(PATIENCE, || images(&machine, ANNA).into_iter().next());
    let image = image.unwrap_or_else(|| panic!("there is no image"));
    gone(&mut specimen);
    let jobs = machine.told(ANNA, &Call::Jobs);
    let path = jobs[0].as_str().unwrap_or_default().to_owned();
    assert_eq!(machine.told(ANNA, &Call::JobState(path)), "done");
    awake(&machine, &mut specimen, &image.id);
}

#[test]
fn the_owner_of_a_job_is_told_of_its_end() {
    let machine = Machine::start(600, Some(OWN));
    let specimen = started("regular_file", User::Ordinary);
    let connection = machine.connection();
    let rule = zbus::MatchRule::builder().msg_type(zbus::message::Type::Signal);
    let rule = done(done(rule.interface("org.freedesktop.DBus.Properties")).member("PropertiesChanged")).build();
    let heard = done(zbus::blocking::MessageIterator::for_match_rule(rule, &connection, None));
    let groups = done(GroupsProxyBlocking::new(&connection));
    let path = done(groups.freeze(&specimen.pid().to_string(), HashMap::new()));
    let (told, states) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for message in heard.flatten() {
            let (_, changed, _): (String, HashMap<String, zbus::zvariant::OwnedValue>, Vec<String>) =
                done(message.body().deserialize());
            let state = changed.get("State").and_then(|state| <&str>::try_from(state).ok()).map(str::to_owned);
            let result = changed.get("Result").and_then(|result| <&str>::try_from(result).ok()).map(str::to_owned);
            if told.send((message.header().path().map(ToString::to_string), state, result)).is_err() {
                break;
            }
        }
    });
    loop {
        let (of, state, result) = done(states.recv_timeout(PATIENCE));
        assert_eq!(of.as_deref(), Some(path.as_str()));
        if state.as_deref() == Some("done") {
            // Told together: nobody has to ask.
            let frozen: dormouse_wire::Frozen = done(serde_json::from_str(&result.unwrap_or_default()));
            // It is root who has asked, and whose folder is that of the machine.
            done(std::fs::remove_file(frozen.image));
            break;
        }
    }
}

#[test]
fn a_cancelled_freeze_has_done_nothing_or_all() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    let job = machine.told(ANNA, &Call::FreezeAndCancel(specimen.pid().to_string()));
    match job["state"].as_str() {
        Some("cancelled") => {
            assert!(images(&machine, ANNA).is_empty());
            assert_eq!(specimen.go(), Answer::Ok);
        }
        // It was sealed before the wish came.
        Some("done") => {
            let image = images(&machine, ANNA).remove(0).id;
            gone(&mut specimen);
            awake(&machine, &mut specimen, &image);
        }
        _ => panic!("{job}"),
    }
}

#[test]
fn a_service_that_is_killed_leaves_the_group_or_an_image() {
    let mut machine = Machine::start(600, Some(OWN));
    for delay in [0, 3, 10, 20, 40] {
        let mut specimen = started("regular_file", User::Ordinary);
        machine.told(ANNA, &Call::FreezeAndLeave(specimen.pid().to_string()));
        std::thread::sleep(Duration::from_millis(delay));
        machine.kill_service();
        machine.serve_again();
        let settled = until(PATIENCE, || {
            let sleeps = !images(&machine, ANNA).is_empty();
            let runs = std::fs::read_to_string(format!("/proc/{}/stat", specimen.pid()));
            let runs = runs.is_ok_and(|stat| !stat.contains(") t ") && !stat.contains(") Z "));
            (sleeps != runs).then_some(sleeps)
        });
        if settled.unwrap_or_else(|| panic!("it neither sleeps nor runs")) {
            let image = images(&machine, ANNA).remove(0).id;
            gone(&mut specimen);
            awake(&machine, &mut specimen, &image);
            machine.told(ANNA, &Call::Delete(image));
        } else {
            assert_eq!(specimen.go(), Answer::Ok);
            specimen.assert_ends();
        }
    }
}

#[test]
fn a_service_whose_program_was_replaced_works_on() {
    let mut machine = Machine::start(600, Some(OWN));
    let program = machine.serve_from_a_copy();
    done(std::fs::remove_file(program));
    let mut specimen = started("regular_file", User::Ordinary);
    let image = crate::sleep::asleep(&machine, &mut specimen);
    awake(&machine, &mut specimen, &image);
}

#[test]
fn a_watcher_hears_of_what_comes_and_goes() {
    let machine = Machine::start(600, Some(OWN));
    let connection = machine.connection();
    let groups = done(GroupsProxyBlocking::new(&connection));
    let mut changes = done(groups.receive_changed());
    done(groups.watch());
    let sleeper = Running::start(Command::new("setsid").args(["sleep", "1000"]));
    let pid = sleeper.0.id() as i32;
    let end = Instant::now() + PATIENCE;
    let id = loop {
        assert!(Instant::now() < end, "nothing is told of it");
        let change = changes.next().unwrap_or_else(|| panic!("the signals have ended"));
        let change = done(change.args());
        let news: Vec<Listed> = done(serde_json::from_str(&change.groups));
        if let Some(group) = news.iter().find(|group| group.first_pid.0 == pid) {
            break group.id.clone();
        }
    };
    drop(sleeper);
    loop {
        assert!(Instant::now() < end + PATIENCE, "nothing is told of its end");
        let change = changes.next().unwrap_or_else(|| panic!("the signals have ended"));
        if done(change.args()).gone.contains(&id) {
            break;
        }
    }
    done(groups.unwatch());
}

#[test]
fn it_ends_when_nobody_needs_it() {
    let mut machine = Machine::start(1, Some(OWN));
    let connection = machine.connection();
    let groups = done(GroupsProxyBlocking::new(&connection));
    done(groups.watch());
    std::thread::sleep(Duration::from_secs(3));
    assert!(done(machine.service.0.try_wait()).is_none(), "it has ended with a watcher");
    // A watcher that leaves the bus watches no more.
    drop(groups);
    done(connection.close());
    let ended = until(PATIENCE, || done(machine.service.0.try_wait()));
    assert!(ended.is_some_and(|status| status.success()), "it has not ended by itself: {ended:?}");
}

#[test]
fn the_name_is_had_once() {
    let machine = Machine::start(600, None);
    let mut second = Command::new(harness::command::path());
    let second = done(second.arg("serve").env("DBUS_SYSTEM_BUS_ADDRESS", machine.address()).output());
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains(NAME), "{second:?}");
}
