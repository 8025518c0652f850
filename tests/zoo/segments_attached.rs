//! System V shared memory: a segment with a key, attached by a parent and by its child for itself; one without, inherited by
//! the child, attached twice, to read only, and with a part of it protected. They live on by themselves while all sleep.

use crate::kernel::{self, call};
use crate::stage::{Held, Stage, Wrong};

pub const PAGE: usize = 4096;
const READ_ONLY: usize = 0o10000;

/// Makes a segment.
pub fn segment(key: i32, size: usize, mode: usize) -> std::io::Result<usize> {
    let flags = mode | libc::IPC_CREAT as usize | libc::IPC_EXCL as usize;
    Ok(call(libc::SYS_shmget, &[key as usize, size, flags])? as usize)
}

/// Attaches a segment wherever the kernel likes.
pub fn attached(id: usize, flags: usize) -> std::io::Result<usize> {
    Ok(call(libc::SYS_shmat, &[id, 0, flags])? as usize)
}

pub fn remove(id: usize) -> std::io::Result<i64> {
    call(libc::SYS_shmctl, &[id, libc::IPC_RMID as usize, 0])
}

/// A byte of what is attached.
pub fn byte(address: usize, at: usize) -> u8 {
    // SAFETY: the programs ask only for what they have attached.
    unsafe { ((address + at) as *const u8).read_volatile() }
}

pub fn set_byte(address: usize, at: usize, value: u8) {
    // SAFETY: as above, of what was attached to be written.
    unsafe { ((address + at) as *mut u8).write_volatile(value) }
}

/// The line of `/proc/self/maps` that begins with an address.
fn line_of(address: usize) -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let start = format!("{address:x}-");
    maps.lines().find(|line| line.starts_with(&start)).unwrap_or_default().to_owned()
}

fn look(wrong: &mut Wrong, (keyed, shared): (usize, usize)) {
    wrong.equal("the one with a key", (byte(keyed, 0), byte(keyed, 999)), (11, 12));
    wrong.equal("the shared one", (byte(shared, PAGE), byte(shared, 3 * PAGE - 1)), (21, 22));
}

pub fn hold(stage: &mut Stage) -> Held {
    let key = 0x0d00_0000 | std::process::id() as i32;
    let (keyed, shared) = (segment(key, 1000, 0o640)?, segment(libc::IPC_PRIVATE, 3 * PAGE, 0o600)?);
    let (first, second) = (attached(keyed, 0)?, attached(shared, 0)?);
    for (address, at, value) in [(first, 0, 11), (first, 999, 12), (second, PAGE, 21), (second, 3 * PAGE - 1, 22)] {
        set_byte(address, at, value);
    }
    let reader = attached(shared, READ_ONLY)?;
    call(libc::SYS_mprotect, &[second, PAGE, libc::PROT_NONE as usize])?;
    let child = stage.child(|stage| {
        let own = attached(keyed, 0)?;
        stage.keeps(|wrong| look(wrong, (own, second)))?;
        set_byte(own, 1, 13);
        set_byte(second, PAGE + 1, 23);
        std::fs::write(stage.path("written"), "")?;
        Ok(())
    })?;
    stage.keeps(|wrong| {
        look(wrong, (first, second));
        wrong.equal("the reader", (byte(reader, PAGE), line_of(reader).contains("r--s")), (21, true));
        wrong.holds("a part is closed", line_of(second).contains("---s"));
        wrong.gives("the key leads to it", call(libc::SYS_shmget, &[key as usize, 1000, 0]), keyed as i64);
    })?;
    let written = stage.path("written");
    stage.wrong.holds("the child writes", kernel::until(|| written.exists()));
    stage.wrong.equal("what the child has written", (byte(first, 1), byte(reader, PAGE + 1)), (13, 23));
    stage.join(child);
    stage.wrong.gives("it is let go", call(libc::SYS_shmdt, &[reader]), 0);
    remove(keyed)?;
    remove(shared)?;
    Ok(())
}
