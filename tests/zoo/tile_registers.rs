//! AMX: the permission to use tiles, and a tile whose content lives through the freeze in its register.

use std::arch::asm;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kernel::{call, into, nap};
use crate::stage::{Held, Stage, cannot};

const ARCH_GET_XCOMP_PERM: usize = 0x1022;
const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
const TILE_DATA: usize = 18;

static STOP: AtomicBool = AtomicBool::new(false);

/// Loads a tile of 16 rows of 64 bytes, spins until it is told to stop, and stores the tile.
fn spin(content: &[u8; 1024]) -> [u8; 1024] {
    let mut found = [0; 1024];
    let mut shape = [0_u8; 64];
    shape[0] = 1;
    shape[16] = 64;
    shape[48] = 16;
    // SAFETY: the kernel has permitted tiles; the shape is one that the processor takes, the arrays are as long as a tile.
    unsafe {
        asm!(
            "ldtilecfg [{shape}]", "tileloadd tmm0, [{content} + {row}*1]",
            "2:", "pause", "cmp byte ptr [{stop}], 0", "je 2b",
            "tilestored [{found} + {row}*1], tmm0", "tilerelease",
            shape = in(reg) shape.as_ptr(), content = in(reg) content.as_ptr(), found = in(reg) found.as_mut_ptr(),
            row = in(reg) 64_usize, stop = in(reg) STOP.as_ptr(), out("tmm0") _,
        );
    }
    found
}

pub fn hold(stage: &mut Stage) -> Held {
    if let Err(error) = call(libc::SYS_arch_prctl, &[ARCH_REQ_XCOMP_PERM, TILE_DATA]) {
        return cannot(format!("AMX tiles: {error}"));
    }
    let content: [u8; 1024] = std::array::from_fn(|at| (at % 253) as u8);
    let thread = std::thread::spawn(move || spin(&content) == content);
    nap(std::time::Duration::from_millis(50));
    stage.keeps(|wrong| {
        let mut permitted = 0_u64;
        let asked = call(libc::SYS_arch_prctl, &[ARCH_GET_XCOMP_PERM, into(&mut permitted)]);
        wrong.gives("the permission", asked.map(|_| permitted >> TILE_DATA & 1), 1);
        wrong.holds("the loop goes on", !thread.is_finished());
    })?;
    STOP.store(true, Ordering::SeqCst);
    stage.wrong.equal("the tile", thread.join().ok(), Some(true));
    Ok(())
}
