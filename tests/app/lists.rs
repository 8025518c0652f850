//! What runs, what sleeps, and the way from one to the other.

use harness::wait::{PATIENCE, until};

use dormouse_wire::Verdict;

use super::sample::{jobs, on_the_bus, world};
use super::stage::{Scenery, Stage};

#[test]
fn the_groups_are_listed_with_their_verdicts() {
    let stage = Stage::with(world());
    for name in ["Text Editor", "Web Browser", "Build of the kernel", "Nightly backup"] {
        stage.eyes.see(name);
    }
    for word in ["Freezable", "Lossy", "Blocked"] {
        stage.eyes.see(word);
    }
}

/// On Wayland the window is as on X11, but for the warning.
#[test]
fn on_wayland_a_group_is_frozen_and_nobody_is_warned_of_x11() {
    let stage = Stage::set(Scenery { wayland: true, ..Scenery::default() }, world());
    for word in ["Text Editor", "Freezable", "Lossy", "Blocked"] {
        stage.eyes.see(word);
    }
    stage.eyes.press("Freeze Build of the kernel");
    stage.asked("freeze build");
    stage.eyes.press("Undo");
    stage.asked("thaw build.dormouse");
    let warned = stage.eyes.things().iter().any(|thing| thing.name.contains("X11"));
    assert!(!warned, "{}", stage.eyes.all());
}

#[test]
fn a_group_that_loses_nothing_freezes_at_once_and_undo_wakes_it() {
    let stage = Stage::with(world());
    stage.eyes.press("Freeze Build of the kernel");
    stage.asked("freeze build");
    stage.eyes.miss("Build of the kernel");
    stage.eyes.press("Undo");
    stage.asked("thaw build.dormouse");
}

#[test]
fn before_something_is_lost_the_person_is_asked() {
    let stage = Stage::with(world());
    stage.eyes.press("Freeze Nightly backup");
    stage.eyes.read("192.0.2.7:443");
    stage.eyes.press("Freeze");
    stage.asked("freeze backup with losses");
}

#[test]
fn a_connection_to_a_service_is_cut_only_when_the_person_wants_it() {
    let mut world = world();
    world.verdicts.insert("backup".to_owned(), Verdict::Blocked(vec![on_the_bus()]));
    let stage = Stage::with(world);
    stage.eyes.press("Freeze Nightly backup");
    stage.eyes.read("the system's message bus");
    stage.eyes.turn("Disconnect");
    stage.eyes.press_in_vain("Freeze");
    stage.eyes.turn("Disconnect");
    stage.eyes.press("Freeze");
    stage.asked("freeze backup with losses without /run/dbus/system_bus_socket");
}

#[test]
fn connections_in_the_network_are_kept_when_the_person_says_so() {
    let stage = Stage::with(world());
    stage.eyes.press("Freeze Nightly backup");
    stage.eyes.read("192.0.2.7:443");
    stage.eyes.turn("Keep");
    stage.eyes.press("Freeze");
    stage.asked("freeze backup keeping connections");
}

#[test]
fn connections_in_the_network_are_kept_by_choice() {
    let stage = Stage::with(world());
    stage.eyes.see("Lossy");
    stage.call("open", Some("backup"));
    stage.eyes.read("It can be kept: you are asked before the freeze.");
    stage.call("preferences", None);
    stage.eyes.turn("Keep network connections");
    stage.eyes.see("It can be frozen, and nothing is lost.");
    stage.press(&["Escape"]);
    stage.call("show-running", None);
    stage.eyes.miss("Lossy");
    stage.eyes.press("Freeze Nightly backup");
    stage.asked("freeze backup keeping connections");
}

#[test]
fn a_group_that_cannot_be_frozen_is_explained_and_can_be_paused() {
    let stage = Stage::with(world());
    stage.eyes.press("Freeze Text Editor");
    stage.eyes.read("X11 display server");
    stage.eyes.press("Pause Instead");
    stage.asked("pause editor");
    stage.eyes.press("Resume Text Editor");
    stage.asked("resume editor");
    assert!(stage.service().asked().iter().all(|asked| !asked.starts_with("freeze")));
}

#[test]
fn of_a_thousand_groups_those_in_view_are_asked_about() {
    let stage = Stage::with(jobs(1000, 1));
    stage.eyes.see("Freeze Job 0000");
    let asked = || stage.service().asked().iter().filter(|asked| asked.starts_with("verdict")).count();
    // Nothing more is asked once all answers are in.
    let mut last = 0;
    let settled = until(PATIENCE, || {
        std::thread::sleep(std::time::Duration::from_secs(1));
        (std::mem::replace(&mut last, asked()) == last && last > 0).then_some(())
    });
    assert!(settled.is_some(), "it goes on asking");
    assert!((5..=30).contains(&last), "{last} verdicts were asked for: {:?}", stage.service().asked());
}
