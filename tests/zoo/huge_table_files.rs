//! Files on a hugetlbfs: one with a name, one that was removed, and a private page over the first.

use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::memory::{Mapping, READ_WRITE};
use crate::stage::{Held, Stage};

const HUGE: usize = 2 << 20;

/// A mount that is gone when this is dropped.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

pub fn hold(stage: &mut Stage) -> Held {
    let folder = stage.path("huge");
    fs::create_dir(&folder)?;
    mount(Some("none"), &folder, Some("hugetlbfs"), MsFlags::empty(), Some("pagesize=2M"))?;
    let _mounted = Mounted(folder.clone());
    let options = OpenOptions::new().read(true).write(true).create_new(true).clone();
    let open = |name: &str| -> std::io::Result<(fs::File, Mapping)> {
        let file = options.open(folder.join(name))?;
        file.set_len(2 * HUGE as u64)?;
        let mapping = Mapping::new(2 * HUGE, READ_WRITE, libc::MAP_SHARED, file.as_raw_fd(), 0)?;
        Ok((file, mapping))
    };
    let (named, of_named) = open("named")?;
    let (removed, of_removed) = open("removed")?;
    of_named.fill(1);
    of_removed.part(512, 512).fill(2);
    fs::remove_file(folder.join("removed"))?;
    let private = Mapping::new(2 * HUGE, READ_WRITE, libc::MAP_PRIVATE, named.as_raw_fd(), 0)?;
    private.part(512, 512).fill(3);
    stage.keeps(|wrong| {
        wrong.holds("hugetlb", [of_named, of_removed, private].iter().all(|mapping| mapping.has_flag("ht")));
        wrong.equal("named", of_named.first_wrong_page(1), None);
        wrong.holds("a hole", of_removed.bytes()[..HUGE].iter().all(|byte| *byte == 0));
        wrong.equal("removed", of_removed.part(512, 512).first_wrong_page(2), None);
        wrong.equal("private, of the file", private.part(0, 512).first_wrong_page(1), None);
        wrong.equal("private, its own", private.part(512, 512).first_wrong_page(3), None);
        wrong.gives("length", removed.metadata().map(|found| found.len()), 2 * HUGE as u64);
        wrong.holds("removed for good", !folder.join("removed").exists());
    })
}
