//! The plain devices: null, zero, full, random, urandom.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

use crate::descriptors::{read, write};
use crate::memory::{Mapping, READ_WRITE};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let open = |name: &str| OpenOptions::new().read(true).write(true).open(format!("/dev/{name}"));
    let (null, zero, full) = (open("null")?, open("zero")?, open("full")?);
    let (random, urandom) = (File::open("/dev/random")?, File::open("/dev/urandom")?);
    let mapped = Mapping::new(4 * 4096, READ_WRITE, libc::MAP_PRIVATE, zero.as_raw_fd(), 0)?;
    mapped.part(1, 2).fill(1);
    stage.keeps(|wrong| {
        wrong.gives("null gives nothing", read(&null, 4), Vec::new());
        wrong.gives("null takes all", write(&null, b"1234"), 4);
        wrong.gives("zero gives zeros", read(&zero, 4), vec![0; 4]);
        let full = write(&full, b"1").map_err(|error| error.raw_os_error());
        wrong.equal("full is full", full.err(), Some(Some(libc::ENOSPC)));
        for file in [&random, &urandom] {
            let (one, two) = (read(file, 16).unwrap_or_default(), read(file, 16).unwrap_or_default());
            wrong.holds("random bytes differ", one.len() == 16 && one != two);
        }
        wrong.equal("a private mapping of zero", mapped.part(1, 2).first_wrong_page(1), None);
        wrong.holds("its untouched page", mapped.part(3, 1).bytes().iter().all(|byte| *byte == 0));
    })
}
