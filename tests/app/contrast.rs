//! What is written can be read: the contrast of each text with what it stands on, as WCAG 2.1 (1.4.3) reckons it, on the screen
//! itself, so that nothing of a theme is believed.

use std::collections::HashMap;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use harness::wait::{PATIENCE, until};

use super::done;
use super::sample::world;
use super::stage::{Scenery, Stage};

/// The least that text has (level AA).
const LEAST: f64 = 4.5;
const WIDTH: u32 = 1200;
const HEIGHT: u32 = 800;

type Colour = [u8; 3];

/// What the screen shows, row by row.
#[derive(PartialEq, Eq)]
struct Picture(Vec<u8>);

impl Picture {
    fn of(stage: &Stage) -> Self {
        let mut command = stage.command("import");
        let output = done(command.args(["-window", "root", "-depth", "8", "rgb:-"]).stderr(Stdio::null()).output());
        assert_eq!(output.stdout.len(), (WIDTH * HEIGHT * 3) as usize, "import does not tell the pixels of the screen");
        Self(output.stdout)
    }

    /// When whatever fades in has come.
    fn at_rest(stage: &Stage) -> Self {
        let mut last = Self::of(stage);
        let still = until(PATIENCE, || {
            sleep(Duration::from_millis(500));
            let before = std::mem::replace(&mut last, Self::of(stage));
            (before == last).then_some(())
        });
        assert!(still.is_some(), "the window never holds still");
        last
    }

    /// The greatest contrast within these bounds with the colour that is most frequent in them.
    fn contrast(&self, (left, top, width, height): (i32, i32, i32, i32)) -> f64 {
        let mut counts: HashMap<Colour, usize> = HashMap::new();
        for y in top.max(0)..(top + height).min(HEIGHT as i32) {
            for x in left.max(0)..(left + width).min(WIDTH as i32) {
                let at = (y as usize * WIDTH as usize + x as usize) * 3;
                *counts.entry([self.0[at], self.0[at + 1], self.0[at + 2]]).or_default() += 1;
            }
        }
        let ground = counts.iter().max_by_key(|(_, count)| **count).map(|(colour, _)| luminance(*colour));
        let ground = ground.unwrap_or_default();
        counts.keys().map(|colour| ratio(luminance(*colour), ground)).fold(1.0, f64::max)
    }
}

/// Relative luminance.
fn luminance(colour: Colour) -> f64 {
    let linear = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
}

fn ratio(one: f64, other: f64) -> f64 {
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// Those of these texts that are too faint, with their contrast. GTK 4.8 does not tell which page of a stack is in front: of several
/// texts with one name, those that hide behind others do not count.
fn faint(stage: &Stage, texts: &[&str]) -> Vec<String> {
    let picture = Picture::at_rest(stage);
    let shown = stage.eyes.texts();
    let contrast = |text: &&str| {
        let named = shown.iter().filter(|(name, _)| name == *text);
        let best = named.map(|(_, bounds)| picture.contrast(*bounds)).reduce(f64::max);
        best.unwrap_or_else(|| panic!("{text:?} does not show. {}", stage.eyes.all()))
    };
    let measured = texts.iter().map(|text| (text, contrast(text)));
    let too_faint = measured.filter(|(_, contrast)| *contrast < LEAST);
    too_faint.map(|(text, contrast)| format!("{text:?} has a contrast of {contrast:.1}")).collect()
}

/// A text of each kind that there is on the pages.
fn every_page(dark: bool) {
    let mut stage = Stage::empty(Scenery { width: WIDTH, height: HEIGHT, dark, ..Scenery::default() });
    stage.open(&[]);
    stage.eyes.see("The Service Is Missing");
    stage.fill();
    let mut found =
        faint(&stage, &["The Service Is Missing", "sudo apt install dormouse", "Look Again", "Running", "Asleep"]);
    stage.serve(world());
    stage.eyes.see("Lossy");
    let badges = ["Freezable", "Lossy", "Blocked", "Paused"];
    found.extend(faint(&stage, &badges));
    found.extend(faint(&stage, &["Text Editor", "412.0\u{a0}MB · 3 processes"]));
    stage.call("open", Some("editor"));
    let sentence = "It cannot be frozen: one thing stands in the way.";
    stage.eyes.read(sentence);
    let reason = "Connection to another program · editor (pid 3301), descriptor 5";
    found.extend(faint(&stage, &[sentence, reason, "Pause"]));
    stage.eyes.press("Processes");
    stage.eyes.see("language-server");
    found.extend(faint(&stage, &["language-server", "process 3301"]));
    stage.call("show-asleep", None);
    stage.eyes.see("Chess engine");
    let gone = "The file has been changed or replaced since the freeze.";
    found.extend(faint(&stage, &["Chess engine", gone, "an hour ago · 182.0\u{a0}MB · burrow", "Wake Up"]));
    stage.call("open-image", Some("old.dormouse"));
    stage.eyes.see("Export…");
    found.extend(faint(&stage, &["Machine", "Export…", "Delete"]));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_text_stands_out_in_the_light_style() {
    every_page(false);
}

#[test]
fn every_text_stands_out_in_the_dark_style() {
    every_page(true);
}
