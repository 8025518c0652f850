//! Files without a name: an ordinary one, a large sparse one, one made with O_TMPFILE, one in a deleted directory.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

use crate::stage::{Held, Stage};

const LARGE: u64 = 1 << 34;

pub fn hold(stage: &mut Stage) -> Held {
    let create =
        |path: &std::path::Path| OpenOptions::new().read(true).write(true).create_new(true).mode(0o640).open(path);
    let mut plain = create(&stage.path("plain"))?;
    plain.write_all_at(b"content", 0)?;
    plain.seek(SeekFrom::Start(3))?;
    fs::remove_file(stage.path("plain"))?;
    let sparse = create(&stage.path("sparse"))?;
    sparse.write_all_at(b"far away", LARGE)?;
    fs::remove_file(stage.path("sparse"))?;
    let nameless = OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).open(stage.path(""))?;
    nameless.write_all_at(b"nameless", 0)?;
    fs::create_dir(stage.path("directory"))?;
    let inside = create(&stage.path("directory/inside"))?;
    inside.write_all_at(b"inside", 0)?;
    fs::remove_dir_all(stage.path("directory"))?;
    fs::create_dir(stage.path("directory"))?;
    let read_only = File::open(format!("/proc/self/fd/{}", plain.as_raw_fd()))?;
    let files = [
        (&sparse, LARGE, b"far away".as_slice()),
        (&nameless, 0, b"nameless"),
        (&inside, 0, b"inside"),
        (&read_only, 0, b"content"),
    ];
    stage.keeps(|wrong| {
        for (file, at, content) in files {
            let mut found = vec![0; content.len()];
            wrong.gives("reading", file.read_exact_at(&mut found, at), ());
            wrong.equal("content", found.as_slice(), content);
            wrong.gives("names", file.metadata().map(|data| data.nlink()), 0);
            wrong.gives("size", file.metadata().map(|data| data.len()), at + content.len() as u64);
        }
        wrong.gives("mode", read_only.metadata().map(|data| data.mode() & 0o7777), 0o640);
        wrong.gives("the sparse file is sparse", sparse.metadata().map(|data| data.blocks() < 100), true);
        wrong.holds(
            "nothing has come back under a name",
            !stage_has(&["plain", "sparse", "directory/inside"], read_only.as_raw_fd()),
        );
    })?;
    stage.wrong.gives("position", plain.stream_position(), 3);
    plain.write_all_at(b"CON", 0)?;
    let mut found = [0; 7];
    read_only.read_exact_at(&mut found, 0)?;
    stage.wrong.equal("two descriptions of one file", &found, b"CONtent");
    stage.wrong.holds("a description that cannot write", read_only.write_all_at(b"x", 0).is_err());
    Ok(())
}

/// Whether one of the names exists beside the file that `fd` once was.
fn stage_has(names: &[&str], fd: i32) -> bool {
    let link = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    names.iter().any(|name| link.with_file_name(name).exists())
}
