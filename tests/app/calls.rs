//! What comes to the app from without: actions over the bus, files, keys, and a service that comes and goes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use dormouse_wire::dbus::AtLogout;
use dormouse_wire::{GroupKind, Verdict};

use super::done;
use super::fake::World;
use super::sample::{group, image, world};
use super::stage::{Scenery, Stage};

#[test]
fn the_last_image_is_woken_by_an_action_on_the_bus() {
    let stage = Stage::with(world());
    stage.eyes.see("Text Editor");
    stage.call("wake-last", None);
    stage.asked("thaw tests.dormouse");
    stage.eyes.read("“Test run” is awake");
}

#[test]
fn an_opened_file_is_woken_after_a_question() {
    let mut stage = Stage::empty(Scenery::default());
    stage.serve(world());
    let file = stage.folder().join("A job.dormouse");
    done(fs::write(&file, "its bytes"));
    stage.open(&[&file.to_string_lossy()]);
    stage.eyes.see("Wake Up “A job”?");
    assert!(stage.service().asked().iter().all(|asked| !asked.starts_with("import")), "nobody was asked");
    stage.eyes.press_last("Wake Up");
    stage.asked("import A job: its bytes");
    stage.asked("thaw A job.dormouse");
}

#[test]
fn a_job_that_has_ended_before_anybody_looked_goes_on_all_the_same() {
    let mut stage = Stage::empty(Scenery::default());
    stage.serve(World { hasty: true, ..world() });
    let file = stage.folder().join("Quick.dormouse");
    done(fs::write(&file, "its bytes"));
    stage.open(&[&file.to_string_lossy()]);
    stage.eyes.press_last("Wake Up");
    stage.asked("import Quick: its bytes");
    stage.asked("thaw Quick.dormouse");
    stage.eyes.read("“Quick” is awake");
}

#[test]
fn a_list_that_comes_late_does_not_hide_what_has_changed_since() {
    let mut stage = Stage::empty(Scenery::default());
    stage.serve(World { late: Some(Duration::from_secs(3)), ..world() });
    stage.open(&[]);
    stage.asked("list images");
    stage.service().change(|world| world.images.push(image("late.dormouse", "Late Riser", 0)));
    stage.service().tell_images();
    stage.eyes.see("Text Editor");
    stage.call("show-asleep", None);
    std::thread::sleep(Duration::from_secs(4));
    stage.eyes.see("Late Riser");
}

#[test]
fn a_service_that_comes_later_is_found_and_one_that_goes_is_missed() {
    let mut stage = Stage::empty(Scenery::default());
    stage.open(&[]);
    stage.eyes.see("sudo apt install dormouse");
    stage.serve(world());
    stage.eyes.see("Text Editor");
    stage.fake = None;
    stage.eyes.see("sudo apt install dormouse");
    stage.serve(world());
    stage.eyes.see("Freeze Text Editor");
}

#[test]
fn what_the_service_lacks_is_said_and_nothing_can_be_frozen() {
    let mut lacking = world();
    lacking.lacks = "It runs without privileges and can only pause.".to_owned();
    let stage = Stage::with(lacking);
    stage.eyes.see("It runs without privileges and can only pause.");
    stage.eyes.see("Freeze Build of the kernel");
    stage.eyes.press_in_vain("Freeze Build of the kernel");
    assert!(stage.service().asked().iter().all(|asked| !asked.starts_with("freeze")));
}

#[test]
fn a_job_at_work_shows_how_far_it_is_and_can_be_cancelled() {
    let mut slow = world();
    slow.slow = true;
    let stage = Stage::with(slow);
    stage.eyes.press("Freeze Build of the kernel");
    stage.eyes.see("Writing memory, 12 seconds left");
    stage.eyes.press("Cancel Build of the kernel");
    stage.eyes.read("Cancelled: “Build of the kernel” runs on");
    stage.eyes.see("Freeze Build of the kernel");
}

#[test]
fn a_deleted_image_is_gone_only_when_undo_is() {
    let stage = Stage::with(world());
    stage.call("show-asleep", None);
    stage.eyes.see("Test run");
    stage.call("open-image", Some("tests.dormouse"));
    stage.eyes.see("Export…");
    stage.eyes.press("Delete");
    stage.eyes.press("Undo");
    stage.eyes.see("Test run");
    stage.eyes.miss("“Test run” deleted");
    stage.call("open-image", Some("tests.dormouse"));
    stage.eyes.press("Delete");
    stage.eyes.read("“Test run” deleted");
    stage.call("quit", None);
    stage.asked("delete tests.dormouse");
    let deleted = stage.service().asked().iter().filter(|asked| asked.starts_with("delete")).count();
    assert_eq!(deleted, 1);
}

#[test]
fn the_list_follows_the_service_and_the_search() {
    let stage = Stage::with(world());
    stage.eyes.see("Text Editor");
    let fresh = group("fresh", "Fresh job", GroupKind::Session, 1, &[(9001, "fresh")]);
    stage.service().change(|world| world.verdicts.insert("fresh".to_owned(), Verdict::Freezable));
    stage.service().tell_groups(&[fresh], &["editor"]);
    stage.eyes.see("Fresh job");
    stage.eyes.miss("Text Editor");
    stage.fill();
    stage.press(&["9", "0", "0", "1"]);
    stage.eyes.miss("Web Browser");
    stage.eyes.see("Fresh job");
    stage.press(&["x"]);
    stage.eyes.see("No Group Found");
    stage.press(&["Escape"]);
    stage.eyes.see("Web Browser");
}

#[test]
fn everything_that_can_be_pressed_has_a_name() {
    let stage = Stage::with(world());
    stage.eyes.see("Freeze Text Editor");
    let look = |page: &str| {
        let pressable = ["button", "push button", "toggle button", "check box", "entry", "switch"];
        for thing in stage.eyes.things().iter().filter(|thing| pressable.contains(&thing.role.as_str())) {
            let named =
                !thing.name.trim().is_empty() && !thing.name.starts_with("Gtk") && !thing.name.starts_with("Adw");
            assert!(named, "{page}: a {} has no name but {:?}. {}", thing.role, thing.name, stage.eyes.all());
        }
    };
    look("running");
    stage.call("open", Some("editor"));
    stage.eyes.press("Connections");
    stage.eyes.see("Legend");
    look("connections");
    stage.call("show-asleep", None);
    stage.call("open-image", Some("tests.dormouse"));
    stage.eyes.see("Export…");
    look("image");
    stage.call("preferences", None);
    stage.eyes.see("Ask before freezing");
    look("preferences");
}

#[test]
fn the_preferences_move_the_images_and_choose_how_small_they_become() {
    let stage = Stage::with(world());
    stage.eyes.see("Text Editor");
    stage.call("preferences", None);
    stage.eyes.see("Choose…");
    stage.press(&["Tab", "Down", "Down", "Down", "Return"]);
    std::thread::sleep(Duration::from_secs(1));
    stage.press(&["Down", "Down", "Return"]);
    stage.eyes.turn("Keep copies of open files");
    stage.eyes.press("Reset");
    stage.asked("move to \"\"");
    stage.eyes.read("The images lie in the new folder now");
    stage.eyes.press("Freeze Build of the kernel");
    stage.asked("freeze build keeping files small");
}

#[test]
fn the_preferences_put_the_session_to_sleep_at_logout() {
    const SWITCH: &str = "Put apps and jobs to sleep at logout";
    let stage = Stage::with(world());
    stage.eyes.see("Text Editor");
    stage.call("preferences", None);
    stage.eyes.turn(SWITCH);
    stage.asked("at logout true");
    stage.eyes.read("They wake at login.");
    stage.press(&["Escape"]);
    stage.call("preferences", None);
    stage.eyes.turn(SWITCH);
    stage.asked("at logout false");
}

#[test]
fn where_nothing_would_come_of_a_sleep_at_logout_the_preferences_say_why() {
    let hindrance = Some("Nothing would come of it: systemd does not run on this machine.".to_owned());
    let stage = Stage::with(World { at_logout: AtLogout { chosen: false, hindrance }, ..world() });
    stage.eyes.see("Text Editor");
    stage.call("preferences", None);
    stage.eyes.read("systemd does not run on this machine");
    stage.eyes.press_in_vain("Put apps and jobs to sleep at logout");
    assert!(stage.service().asked().iter().all(|asked| !asked.starts_with("at logout")));
}

#[test]
fn an_image_is_exported_into_the_file_that_was_chosen() {
    let stage = Stage::with(world());
    stage.eyes.see("Text Editor");
    stage.call("open-image", Some("tests.dormouse"));
    stage.eyes.press("Export…");
    stage.eyes.turn("Programs and libraries");
    stage.eyes.press("Choose File…");
    stage.eyes.see("Export Image");
    let copy = stage.folder().join("copy.dormouse");
    choose(&stage, &copy);
    stage.asked("export tests.dormouse");
    stage.eyes.read("“Test run” has been exported");
    assert_eq!(done(fs::read_to_string(copy)), "all of the image");
}

#[test]
fn an_image_is_exported_with_what_it_needs() {
    for (also, asked) in [(None, "bundle tests.dormouse"), (Some("Open files"), "bundle tests.dormouse with files")] {
        let stage = Stage::with(world());
        stage.eyes.see("Text Editor");
        stage.call("open-image", Some("tests.dormouse"));
        stage.eyes.press("Export…");
        stage.eyes.see("Export “Test run”?");
        if let Some(files) = also {
            stage.eyes.turn(files);
        }
        stage.eyes.press("Choose File…");
        stage.eyes.see("Export Image");
        let bundle = stage.folder().join("copy.dormouse-bundle");
        choose(&stage, &bundle);
        stage.asked(asked);
        stage.eyes.read("“Test run” has been exported");
        assert_eq!(done(fs::read_to_string(bundle)), "the image and more");
    }
}

/// Names a file in the dialog that asks for one.
fn choose(stage: &Stage, path: &Path) {
    let path = path.to_string_lossy().into_owned();
    let keys: Vec<String> = path.chars().map(key).collect();
    stage.press(&["ctrl+a"]);
    stage.press(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    stage.press(&["Return"]);
}

/// The key of a letter, for xdotool(1).
fn key(letter: char) -> String {
    match letter {
        '/' => "slash".to_owned(),
        '.' => "period".to_owned(),
        '-' => "minus".to_owned(),
        '_' => "underscore".to_owned(),
        letter => letter.to_string(),
    }
}

#[test]
fn the_shortcuts_and_who_made_it_are_told_on_request() {
    let stage = Stage::with(world());
    stage.eyes.see("Text Editor");
    stage.call("shortcuts", None);
    stage.eyes.see("Go from node to node");
    stage.press(&["Escape"]);
    stage.eyes.miss("Go from node to node");
    stage.call("about", None);
    stage.eyes.read("0.1.0");
}
