//! Each page, light and dark, wide and narrow: kept for the README, and for whoever wants to look.

use super::sample::world;
use super::stage::{Scenery, Stage};

/// Takes a picture of each page.
fn photograph(width: u32, height: u32, dark: bool) {
    let scheme = if dark { "dark" } else { "light" };
    let mut stage = Stage::empty(Scenery { width, height, dark });
    let named = |page: &str| format!("{page}-{width}-{scheme}");
    stage.open(&[]);
    stage.eyes.see("The Service Is Missing");
    stage.fill();
    stage.photograph(&named("missing"));
    stage.serve(world());
    stage.eyes.see("Lossy");
    stage.photograph(&named("running"));
    stage.call("show-asleep", None);
    stage.eyes.see("Chess engine");
    stage.photograph(&named("asleep"));
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
