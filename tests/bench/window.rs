//! The window, on a display in memory: how soon it is there, what it costs when nobody touches it, whether it stalls when it is
//! scrolled, and how much memory it takes. There is no GPU on such a display: cairo draws, on the processor.
//!
//! Frames are seen from outside, by what the display says of changed pixels; the app does not know that it is measured.

mod frames;
mod idle;
mod pages;
mod scroll;
mod start;
mod usage;

// The stage of the tests. They use more of it than the benches do.
#[allow(dead_code)]
#[path = "../app/eyes.rs"]
mod eyes;
#[allow(dead_code)]
#[path = "../app/fake.rs"]
mod fake;
#[allow(dead_code)]
#[path = "../app/sample.rs"]
mod sample;
#[allow(dead_code)]
#[path = "../app/stage.rs"]
mod stage;

use std::fmt::Display;

/// The names of these benches on the command line, and what they measure.
pub const PARTS: [crate::Survey; 5] = [
    ("window-start", |rounds| on_stage("how soon the window is there", || start::run(rounds))),
    ("window-idle", |_| on_stage("the window at rest, with 500 processes in 100 groups", idle::run)),
    ("window-service", |_| on_stage("the real service at rest, with 500 processes more", idle::run_really)),
    ("window-scroll", |rounds| on_stage("1,000 groups scrolled from top to bottom", || scroll::run(rounds))),
    ("window-memory", |_| on_stage("memory after one page after the other, with 100 groups", pages::run)),
];

/// What the stage is made of, and the packages of Debian where it is.
const NEEDED: [(&str, &str); 4] = [
    ("Xvfb", "xvfb"),
    ("dbus-daemon", "dbus"),
    ("at-spi-bus-launcher", "at-spi2-core"),
    ("gapplication", "libglib2.0-bin"),
];

/// What must not fail.
fn done<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Measures something, where there is what the stage is made of.
fn on_stage(what: &str, measure: impl FnOnce() -> String) -> String {
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(program, _)| !is_there(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return format!("\n{what}; drawn by cairo on a display in memory, without a GPU\n{}", measure());
    }
    format!("\nNOT MEASURED: {what}. Missing packages: {}\n", missing.join(", "))
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A program that only the bus starts is not where a person's are.
    std::env::split_paths(&path).chain(["/usr/libexec".into()]).any(|folder| folder.join(program).is_file())
}

/// A line of the table: what it is, the figure, and how much of its bar that is.
fn line(what: &str, figure: f64, bar: f64, unit: &str) -> String {
    let over = if figure > bar { " !" } else { "" };
    format!("{what:>30}: {figure:7.2} {unit}, {:.2} of the bar of {bar} {unit}{over}\n", figure / bar)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
