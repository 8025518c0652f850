//! Memory that the kernel may drop (MAP_DROPPABLE, Linux 6.11): it stays such, and has its content or zeros.

use crate::memory::{Mapping, PAGE, READ_WRITE};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    const MAP_DROPPABLE: i32 = 8;
    let mapping = match Mapping::new(2 * PAGE, READ_WRITE, MAP_DROPPABLE | libc::MAP_ANONYMOUS, -1, 0) {
        Ok(mapping) => mapping,
        Err(error) => return cannot(format!("MAP_DROPPABLE: {error}")),
    };
    mapping.write(0, b"droppable");
    stage.keeps(|wrong| {
        wrong.holds("flag dp", mapping.has_flag("dp"));
        let bytes = &mapping.bytes()[..9];
        wrong.holds("its content, or zeros", bytes == b"droppable" || bytes == [0; 9]);
    })
}
