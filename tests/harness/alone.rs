//! What tests that run at the same time would take from each other. The numbers of pseudo-terminals: the kernel gives the
//! lowest free one, and a program that sleeps has none. The files that Java has of each of its processes: whoever starts
//! Java removes those of processes that are not there.

use std::fs::File;

/// Waits until no other test uses terminals; until this is dropped none does.
pub fn with_terminals() -> File {
    with("terminals")
}

/// The same for Java.
pub fn with_java() -> File {
    with("java")
}

/// The same for huge pages.
pub fn with_huge_pages() -> File {
    with("huge-pages")
}

/// The same for root's folder of images: bundles of tests hold images of one name.
pub fn with_images_of_root() -> File {
    with("images-of-root")
}

fn with(what: &str) -> File {
    let path = std::env::temp_dir().join(format!("dormouse-tests-use-{what}"));
    let options = File::options().create(true).truncate(false).write(true).open(&path);
    let file = options.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.lock().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file
}
