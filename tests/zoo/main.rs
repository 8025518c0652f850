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
mod workers;

mod advice;
mod affinity;
mod anonymous;
mod capabilities;
mod changed_root;
mod copy_on_write;
mod coredump_filter;
mod credentials;
mod deleted_mapping;
mod deny_write_execute;
mod dumpable;
mod eventfd;
mod growing_stack;
mod guards;
mod heap;
mod huge_pages;
mod io_priority;
mod limits;
mod locked;
mod locked_future;
mod mapping_names;
mod memfd;
mod names;
mod nice;
mod no_new_privileges;
mod out_of_memory_score;
mod parent_death;
mod pending_signals;
mod personality;
mod pipe;
mod private_file;
mod protection_keys;
mod protections;
mod regular_file;
mod reservation;
mod scheduling;
mod scheduling_real_time;
mod securebits;
mod sessions;
mod shared_anonymous;
mod shared_file;
mod sleeps;
mod subreaper;
mod threads;
mod timer_slack;
mod umask;
mod vdso;
mod working_directory;
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
