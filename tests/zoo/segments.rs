//! A segment of the process's own (modify_ldt), which a thread has in a register, and one that nobody uses.

use crate::kernel::{call, into};
use crate::stage::{Held, Stage, cannot};

/// What the segment begins with.
const WORD: u32 = 0x5e6_3e47;
/// The first segment, of the process's own, for whoever has no privileges.
const SELECTOR: u32 = 0b111;

/// The word that the register `gs` leads to.
fn through() -> u32 {
    let found: u32;
    // SAFETY: the segment begins with a word that stays mapped, or the program ends here, and is found wrong.
    unsafe { core::arch::asm!("mov {found:e}, gs:[0]", found = out(reg) found, options(nostack, readonly)) };
    found
}

fn selector() -> u32 {
    let found: u32;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mov {found:e}, gs", found = out(reg) found, options(nostack, nomem)) };
    found
}

fn load() {
    // SAFETY: nothing else uses this register in 64-bit programs; the segment is there.
    unsafe { core::arch::asm!("mov gs, {selector:e}", selector = in(reg) SELECTOR, options(nostack)) };
}

pub fn hold(stage: &mut Stage) -> Held {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    // SAFETY: new memory, wherever there is room for what a segment can begin at.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if place == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: it has just been mapped, and is as long.
    unsafe { place.cast::<u32>().write(WORD) };
    // `struct user_desc`: number, base, limit, and flags: data that is usable; code that is not there.
    for mut segment in
        [[0, place as usize as u32, 0xfff, 1 | 1 << 6], [300, 0x1234_5678, 0xabcde, 1 | 2 << 1 | 1 << 4 | 1 << 5]]
    {
        if let Err(error) = call(libc::SYS_modify_ldt, &[0x11, into(&mut segment), 16]) {
            return cannot(format!("modify_ldt: {error}"));
        }
    }
    load();
    let mut first = None;
    stage.keeps(|wrong| {
        wrong.equal("the register", selector(), SELECTOR);
        wrong.equal("what it leads to", through(), WORD);
        load();
        wrong.equal("what it leads to when it is loaded again", through(), WORD);
        let mut bytes = [0_u8; 400 * 8];
        let read = call(libc::SYS_modify_ldt, &[0, into(&mut bytes), 400 * 8]).map(|length| length as i32);
        wrong.gives("the table can be read", read, 400 * 8);
        // The processor notes in a descriptor that it has been loaded, and does so at once here.
        let before = *first.get_or_insert(bytes);
        wrong.holds("the table is as it was", bytes == before);
        wrong.holds("it has two segments", bytes.chunks(8).filter(|descriptor| **descriptor != [0; 8]).count() == 2);
    })
}
