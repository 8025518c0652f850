//! How fast it all is: programs of a size are frozen and thawed with the real command, and a table says how long
//! that took, beside how long the disk itself takes for the same bytes in the same run.
//!
//! `make bench`, or `cargo bench -p dormouse-tests -- [--rounds N] [NAME]…` after `cargo build --release`. Each figure is
//! the median of the rounds. A bar that is not met is said and is no failure: other work on the machine may be why. A
//! program that does not come back as it was is a failure.
#![allow(clippy::panic, missing_docs)]

mod connections;
mod crowd;
mod disk;
mod everyone;
mod fixture;
mod floor;
mod postgres;
mod run;
mod table;
mod window;

use std::time::Duration;

/// What a freeze or a thaw is held against.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// It takes at most so long.
    Time(Duration),
    /// It takes at most so many times what `dd` takes for the same bytes.
    TimesDisk(f64),
    /// Its figures are for information.
    None,
}

/// One program of a size.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name on the command line.
    pub name: &'static str,
    /// What the program does, as [`fixture`] knows it.
    pub mode: &'static str,
    /// How large it is.
    pub size: usize,
    /// For a freeze.
    pub freeze: Bar,
    /// For a thaw.
    pub thaw: Bar,
    /// The most bytes of its image.
    pub image: Option<u64>,
}

/// The engine's own memory stays under this, whatever it freezes.
pub const MEMORY: u64 = 64 << 20;

const fn milliseconds(most: u64) -> Bar {
    Bar::Time(Duration::from_millis(most))
}

const fn case(name: &'static str, mode: &'static str, size: usize, freeze: Bar, thaw: Bar) -> Case {
    Case { name, mode, size, freeze, thaw, image: None }
}

const CASES: [Case; 12] = [
    case("small", "ordinary", 8, milliseconds(15), milliseconds(15)),
    // The same where nothing can be compressed: 8 MiB take the disk some milliseconds by themselves.
    case("noise", "memory", 8, milliseconds(15), milliseconds(15)),
    case("large", "memory", 2048, Bar::TimesDisk(1.4), Bar::TimesDisk(1.6)),
    Case { image: Some(20_000_000), ..case("family", "family", 200, milliseconds(500), milliseconds(500)) },
    case("threads", "threads", 500, milliseconds(100), milliseconds(100)),
    case("postgres", "postgres", 20, milliseconds(300), Bar::None),
    case("tcp", "tcp", 500, milliseconds(250), milliseconds(250)),
    // No bar but the engine's own memory: what must not grow with what is frozen.
    case("ordinary", "ordinary", 1024, Bar::None, Bar::None),
    case("regions", "regions", 20_000, Bar::None, Bar::None),
    case("scattered", "scattered", 400_000, Bar::None, Bar::None),
    case("reservation", "reservation", 1024, milliseconds(15), milliseconds(15)),
    case("heirs", "heirs", 2048, Bar::None, Bar::None),
];

/// A bench of what is seen and not frozen: its name, and what it says after so many rounds.
type Survey = (&'static str, fn(usize) -> String);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, mode, size, folder] = arguments.as_slice()
        && word == "fixture"
    {
        let size = size.parse().unwrap_or_else(|_| panic!("{size} is no size"));
        return fixture::hold(mode, size, folder.as_ref());
    }
    let mut rounds = 5;
    let mut names = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            // What cargo says to every bench.
            "--bench" => {}
            "--rounds" => {
                let count = rest.next().and_then(|count| count.parse().ok()).filter(|count| *count > 0);
                rounds = count.unwrap_or_else(|| panic!("--rounds wants a number"));
            }
            name => names.push(name),
        }
    }
    let everybody: [Survey; 2] = [(everyone::NAME, everyone::run), (connections::NAME, connections::run)];
    let surveys: Vec<Survey> = window::PARTS.into_iter().chain(everybody).collect();
    let known =
        |name: &&str| surveys.iter().any(|(survey, _)| *name == *survey) || CASES.iter().any(|case| case.name == *name);
    let all = CASES.map(|case| case.name).into_iter().chain(surveys.iter().map(|(name, _)| *name));
    assert!(names.iter().all(known), "there are {}", all.collect::<Vec<_>>().join(", "));
    let chosen = CASES.iter().filter(|case| names.is_empty() || names.contains(&case.name));
    let results: Vec<_> = chosen.map(|case| (case, run::rounds(case, rounds))).collect();
    if !results.is_empty() {
        print!("{}", table::table(&results));
    }
    // The window comes first: after it only one processor is used.
    for (name, run) in surveys {
        if names.is_empty() || names.contains(&name) {
            print!("{}", run(rounds));
        }
    }
}
