//! What the person decides when something stands in the way of waking an app, and what is told of it.

use dormouse_wire::{Problem, ProblemKind, Remedy, phrase};

use super::fake::World;
use super::sample::world;
use super::stage::Stage;

const IMAGE: &str = "tests.dormouse";

fn changed(remedies: &[Remedy]) -> Problem {
    Problem::blocks(
        ProblemKind::File,
        phrase!("the file has shrunk from {size} to {length} bytes since the freeze", size = 9, length = 4),
    )
    .at("/home/ada/notes.txt")
    .way_out(phrase!("Put the old file back, then thaw again"))
    .settled_by(remedies.iter().copied())
}

fn stranger() -> Problem {
    let what = phrase!(
        "user {id} of the image was called {was}, and {was} is user {new} here",
        id = 1000,
        was = "ada",
        new = 1001
    );
    let way_out = phrase!("Go by their names (--users by-name), or by their numbers (--users as-they-are)");
    Problem::blocks(ProblemKind::Credentials, what).way_out(way_out).settled_by([Remedy::ByName, Remedy::AsTheyAre])
}

/// The image is woken, which fails with these at first.
fn refusing(refusals: &[Vec<Problem>]) -> Stage {
    let mut world = World { copies: vec!["/usr/bin/make".to_owned()], ..world() };
    world.refusals.insert(IMAGE.to_owned(), refusals.iter().cloned().collect());
    let stage = Stage::with(world);
    stage.eyes.see("Text Editor");
    stage.call("wake", Some(IMAGE));
    stage
}

#[test]
fn files_that_have_changed_are_used_as_the_person_decides() {
    let stage = refusing(&[vec![changed(&[Remedy::KeptFiles, Remedy::NewFiles])]]);
    stage.eyes.see("Wake Up “Test run” All the Same?");
    stage.eyes.read("The file has shrunk from 9 to 4 bytes since the freeze.");
    stage.eyes.see("Use Current Files");
    stage.photograph("decide");
    stage.eyes.press("Use Kept Copies");
    stage.asked("thaw tests.dormouse changed-files=kept");
    stage.eyes.read("“Test run” is awake, with a copy of one changed file");
}

#[test]
fn who_is_who_is_asked_first_and_then_what_becomes_of_files() {
    let stage = refusing(&[vec![stranger()], vec![changed(&[Remedy::NewFiles])]]);
    stage.eyes.read("User 1000 of the image was called ada, and ada is user 1001 here.");
    assert!(!stage.eyes.all().contains("--users"), "{}", stage.eyes.all());
    stage.eyes.press("Go by Names");
    stage.asked("thaw tests.dormouse users=by-name");
    stage.eyes.miss("Use Kept Copies");
    stage.eyes.press("Use Current Files");
    stage.asked("thaw tests.dormouse changed-files=new users=by-name");
}

#[test]
fn what_nobody_can_decide_is_only_told() {
    let space = Problem::blocks(ProblemKind::Space, phrase!("End other programs, or add swap"));
    let stage = refusing(&[vec![changed(&[Remedy::NewFiles]), space]]);
    stage.eyes.see("“Test run” could not be woken up");
    stage.eyes.miss("Use Current Files");
}

#[test]
fn who_leaves_it_asleep_is_asked_again_the_next_time() {
    let stage = refusing(&[vec![stranger()], vec![stranger()]]);
    stage.eyes.press("Leave Asleep");
    stage.eyes.miss("Go by Names");
    stage.call("wake", Some(IMAGE));
    stage.eyes.press("Go by Numbers");
    stage.asked("thaw tests.dormouse users=as-they-are");
}

#[test]
fn what_can_be_decided_is_asked_by_the_button_and_on_the_page_of_the_image() {
    let mut world = world();
    let files = vec![changed(&[Remedy::NewFiles])];
    // It is known before anybody wakes it.
    world.problems.insert(IMAGE.to_owned(), files.clone());
    world.refusals.insert(IMAGE.to_owned(), [files.clone(), files].into());
    let stage = Stage::with(world);
    stage.eyes.see("Text Editor");
    stage.press(&["alt+2"]);
    stage.eyes.read("The file has shrunk from 9 to 4 bytes since the freeze.");
    stage.eyes.press("Wake up Test run");
    stage.eyes.press("Leave Asleep");
    stage.eyes.miss("Use Current Files");
    // What nobody can decide is not asked.
    stage.eyes.press_in_vain("Wake up Chess engine");
    stage.call("open-image", Some(IMAGE));
    stage.eyes.see("Export…");
    stage.eyes.press("Wake Up");
    stage.eyes.press("Use Current Files");
    stage.asked("thaw tests.dormouse changed-files=new");
}
