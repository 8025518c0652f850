//! The zoo: programs that hold one kind of thing each, and know whether they still have it. `zoo NAME FOLDER` runs one.
//!
//! A program is a module with a function `hold`; to add one, write its file, its `mod` line here and its line in
//! `table.rs`. What a program says in its folder is told in [`stage`].
#![allow(clippy::panic, clippy::unnecessary_wraps)]

#[macro_use]
mod table;

mod interrupted;
mod kernel;
mod memory;
mod stage;

mod anonymous;
mod capabilities;
mod eventfd;
mod guards;
mod heap;
mod memfd;
mod pending_signals;
mod pipe;
mod private_file;
mod regular_file;
mod shared_anonymous;
mod shared_file;
mod sleeps;
mod threads;
mod zombies;

use std::path::Path;

use stage::{Held, Stage};

type Program = fn(&mut Stage) -> Held;

macro_rules! find {
    ($($name:ident: $users:ident $(.$option:ident($($value:expr),*))*;)*) => {
        fn find(name: &str) -> Option<Program> {
            match name {
                $(stringify!($name) => Some($name::hold),)*
                _ => None,
            }
        }
    };
}
zoo!(find);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, name, folder] = arguments.as_slice() else {
        eprintln!("usage: zoo NAME FOLDER");
        std::process::exit(2);
    };
    let Some(program) = find(name) else {
        eprintln!("there is no program {name} in the zoo");
        std::process::exit(2);
    };
    match Stage::new(Path::new(folder)) {
        Ok(mut stage) => {
            let held = program(&mut stage);
            stage.finish(held);
        }
        Err(trouble) => eprintln!("{folder}: {trouble:?}"),
    }
}
