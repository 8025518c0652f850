//! FIFOs: both ends open with data inside, one opened for reading and writing, one whose name was removed.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use crate::descriptors::{fcntl, read, would_wait, write};
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let make = |name: &str| -> Result<_, nix::Error> {
        let path = stage.path(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).map(|()| path)
    };
    let (named, both, removed) = (make("named")?, make("both")?, make("removed")?);
    let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&named)?;
    let writer = OpenOptions::new().write(true).open(&named)?;
    write(&writer, b"in the fifo")?;
    let both: File = OpenOptions::new().read(true).write(true).open(both)?;
    write(&both, b"own words")?;
    let nameless = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&removed)?;
    write(&nameless, b"nameless")?;
    fs::remove_file(&removed)?;
    stage.keeps(|wrong| {
        wrong.gives("size", fcntl(&reader, libc::F_GETPIPE_SZ, 0), 65_536);
        wrong.gives("flags", fcntl(&reader, libc::F_GETFL, 0).map(|flags| flags & libc::O_NONBLOCK), libc::O_NONBLOCK);
        wrong.holds("the removed name stays away", !removed.exists());
    })?;
    for (name, end, expected) in [
        ("named", &reader, b"in the fifo".as_slice()),
        ("both", &both, b"own words"),
        ("removed", &nameless, b"nameless"),
    ] {
        stage.wrong.gives(name, read(end, 100), expected.to_vec());
    }
    stage.wrong.holds("no more", would_wait(&read(&reader, 1)));
    drop(writer);
    stage.wrong.gives("the end, when the writer is gone", read(&reader, 1), Vec::new());
    let late = OpenOptions::new().write(true).open(&named)?;
    write(&late, b"late")?;
    stage.wrong.gives("one who comes by name", read(&reader, 100), b"late".to_vec());
    Ok(())
}
