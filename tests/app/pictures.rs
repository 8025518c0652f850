//! Each page, light and dark, wide and narrow: kept for the README, and for whoever wants to look.

use super::sample::world;
use super::stage::{Scenery, Stage};

/// Takes a picture of each page.
fn photograph(width: u32, height: u32, dark: bool) {
    let scheme = if dark { "dark" } else { "light" };
    let mut stage = Stage::empty(Scenery { width, height, dark, ..Scenery::default() });
    let named = |page: &str| format!("{page}-{width}-{scheme}");
    stage.open(&[]);
    stage.eyes.see("The Service Is Missing");
    stage.fill();
    stage.photograph(&named("missing"));
    stage.serve(world());
    stage.eyes.see("Lossy");
    stage.photograph(&named("running"));
    stage.call("open", Some("editor"));
    stage.eyes.read("one thing stands in the way");
    stage.photograph(&named("verdict"));
    stage.eyes.press("Connections");
    stage.eyes.see("Legend");
    stage.photograph(&named("connections"));
    stage.eyes.press("Processes");
    stage.eyes.see("language-server");
    stage.photograph(&named("processes"));
    stage.call("show-asleep", None);
    stage.eyes.see("Chess engine");
    stage.photograph(&named("asleep"));
    stage.call("open-image", Some("old.dormouse"));
    stage.eyes.see("Export…");
    stage.photograph(&named("image"));
}

#[test]
fn pages_are_pictured_wide_and_light() {
    photograph(1200, 800, false);
}

#[test]
fn pages_are_pictured_wide_and_dark() {
    photograph(1200, 800, true);
}

#[test]
fn pages_are_pictured_narrow_and_light() {
    photograph(360, 720, false);
}

#[test]
fn pages_are_pictured_narrow_and_dark() {
    photograph(360, 720, true);
}

#[test]
fn dialogs_are_pictured() {
    let mut stage = Stage::empty(Scenery::default());
    stage.serve(world());
    stage.open(&[]);
    stage.eyes.see("Lossy");
    stage.fill();
    stage.eyes.press("Freeze Nightly backup");
    stage.eyes.read("192.0.2.7:443");
    stage.photograph("losses");
    stage.eyes.press("Cancel");
    stage.call("preferences", None);
    stage.eyes.see("Ask before freezing");
    stage.photograph("preferences");
    stage.press(&["Escape"]);
    stage.call("open", Some("build"));
    stage.eyes.press("Connections");
    stage.eyes.see("Legend");
    stage.photograph("families");
}

/// The question what goes with an image.
fn photograph_export(width: u32, height: u32, dark: bool) {
    let mut stage = Stage::empty(Scenery { width, height, dark, ..Scenery::default() });
    stage.serve(world());
    stage.open(&[]);
    stage.eyes.see("Lossy");
    stage.fill();
    stage.call("open-image", Some("tests.dormouse"));
    stage.eyes.press("Export…");
    stage.eyes.see("Export “Test run”?");
    stage.photograph(&format!("export-{width}-{}", if dark { "dark" } else { "light" }));
}

#[test]
fn the_question_of_an_export_is_pictured_wide_and_light() {
    photograph_export(1200, 800, false);
}

#[test]
fn the_question_of_an_export_is_pictured_narrow_and_dark() {
    photograph_export(360, 720, true);
}
