//! A process's memory as a file: what it gives depends on who has opened it, so the engine must refuse it by name.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::stage::{Held, Stage};

static WORD: [u8; 5] = *b"here.";

pub fn hold(stage: &mut Stage) -> Held {
    let memory = File::open("/proc/self/mem")?;
    stage.keeps(|wrong| {
        let mut bytes = [0; WORD.len()];
        let read = memory.read_exact_at(&mut bytes, WORD.as_ptr() as u64);
        wrong.gives("what lies there", read.map(|()| bytes), WORD);
    })
}
