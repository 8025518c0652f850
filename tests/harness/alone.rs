//! What tests that run at the same time would take from each other: the numbers of pseudo-terminals. The kernel gives the
//! lowest free one, and a program that sleeps has none.

use std::fs::File;

/// Waits until no other test uses terminals; until this is dropped none does.
pub fn with_terminals() -> File {
    let path = std::env::temp_dir().join("dormouse-tests-use-terminals");
    let options = File::options().create(true).truncate(false).write(true).open(&path);
    let file = options.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.lock().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file
}
