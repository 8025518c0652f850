//! System V shared memory of which a process has parts only: with a hole that other memory fills, a part moved elsewhere, the end
//! of a removed segment, and a child that has less of it than its parent.

use crate::kernel::{self, call};
use crate::memory::{ANONYMOUS, Mapping, READ_WRITE};
use crate::segments_attached::{PAGE, attached, byte, remove, segment, set_byte};
use crate::stage::{Held, Stage};

/// So many pages the segment has.
const PAGES: usize = 6;
const READ_ONLY: usize = 0o10000;

pub fn hold(stage: &mut Stage) -> Held {
    let id = segment(libc::IPC_PRIVATE, PAGES * PAGE, 0o600)?;
    let whole = attached(id, 0)?;
    let page = |number: usize| whole + number * PAGE;
    for number in 0..PAGES {
        set_byte(page(number), 7, 40 + number as u8);
    }
    // The second page gives way to other memory, the fifth goes elsewhere, the last may only be read.
    let flags = (ANONYMOUS | libc::MAP_FIXED) as usize;
    call(libc::SYS_mmap, &[page(1), PAGE, READ_WRITE as usize, flags, usize::MAX, 0])?;
    set_byte(page(1), 7, 99);
    let elsewhere = Mapping::new(PAGE, libc::PROT_NONE, ANONYMOUS, -1, 0)?.start;
    let how = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as usize;
    call(libc::SYS_mremap, &[page(4), PAGE, PAGE, how, elsewhere])?;
    call(libc::SYS_mprotect, &[page(5), PAGE, libc::PROT_READ as usize])?;
    let reader = attached(id, READ_ONLY)?;
    call(libc::SYS_munmap, &[reader, 2 * PAGE])?;
    let gone = segment(libc::IPC_PRIVATE, 3 * PAGE, 0o600)?;
    let end = attached(gone, 0)? + 2 * PAGE;
    call(libc::SYS_munmap, &[end - 2 * PAGE, 2 * PAGE])?;
    set_byte(end, 0, 77);
    remove(gone)?;
    let child = stage.child(|stage| {
        call(libc::SYS_munmap, &[page(2), PAGE])?;
        stage.keeps(|wrong| {
            let found = [byte(page(0), 7), byte(page(1), 7), byte(page(3), 7), byte(elsewhere, 7), byte(end, 0)];
            wrong.equal("what the child has", found, [40, 99, 43, 44, 77]);
        })?;
        set_byte(elsewhere, 8, 55);
        set_byte(end, 1, 78);
        Ok(std::fs::write(stage.path("written"), "")?)
    })?;
    stage.keeps(|wrong| {
        let found = [0, 1, 2, 3, 5].map(|number| byte(page(number), 7));
        wrong.equal("what is there", found, [40, 99, 42, 43, 45]);
        wrong.equal("what was moved", byte(elsewhere, 7), 44);
        wrong.equal("what may be read only", byte(reader + 2 * PAGE, 7), 42);
        wrong.equal("the end of the removed one", byte(end, 0), 77);
    })?;
    let written = stage.path("written");
    stage.wrong.holds("the child writes", kernel::until(|| written.exists()));
    let seen = [byte(elsewhere, 8), byte(reader + 4 * PAGE, 8), byte(end, 1)];
    stage.wrong.equal("what the child has written", seen, [55, 55, 78]);
    stage.join(child);
    stage.wrong.gives("it is let go", call(libc::SYS_shmdt, &[whole]), 0);
    stage.wrong.equal("what was moved stays", byte(elsewhere, 7), 44);
    remove(id)?;
    Ok(())
}
