//! A stack that has grown and must go on growing: the main thread's, far down and back, then further down.

use std::hint::black_box;

use crate::stage::{Held, Stage};

/// Goes `depth` frames of 4 KiB down, calls `bottom` there, and checks each frame on the way back.
fn descend(depth: usize, bottom: &mut dyn FnMut() -> Held) -> Result<usize, crate::stage::Trouble> {
    let frame = black_box([depth as u64; 512]);
    let wrong = if depth == 0 {
        bottom()?;
        0
    } else {
        descend(depth - 1, bottom)?
    };
    Ok(wrong + usize::from(black_box(frame).iter().any(|word| *word != depth as u64)))
}

pub fn hold(stage: &mut Stage) -> Held {
    let wrong_frames = descend(400, &mut || stage.ready_and_wait())?;
    stage.wrong.equal("frames that changed", wrong_frames, 0);
    let deeper = descend(900, &mut || Ok(()))?;
    stage.wrong.equal("frames that changed further down", deeper, 0);
    Ok(())
}
