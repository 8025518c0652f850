//! A process whose parent is dead, so that it belongs to nobody's tree; a pipe ties it to the group all the same.

use std::io::{Read, Write, pipe};

use crate::kernel;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let (mut reader, mut writer) = pipe()?;
    let middle = kernel::fork()?;
    if middle == 0 {
        let orphan = stage.child(|stage| {
            stage.ready_and_wait()?;
            Ok(writer.write_all(b"from the orphan")?)
        });
        let told = orphan.map(|orphan| std::fs::write(stage.path("orphan"), orphan.pid.to_string()));
        kernel::exit(i32::from(!matches!(told, Ok(Ok(())))));
    }
    drop(writer);
    stage.wrong.gives("the process between ends", kernel::wait_for(middle), kernel::Ended::Code(0));
    let orphan: i32 = std::fs::read_to_string(stage.path("orphan"))?.parse()?;
    let parent = || kernel::status(&format!("/proc/{orphan}/status"), "PPid");
    let own = std::process::id().to_string();
    stage.keeps(|wrong| {
        let parent = parent();
        wrong
            .holds(&format!("the orphan's parent is outside: {parent}"), parent != own && parent != middle.to_string());
    })?;
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    stage.wrong.equal("what the orphan says", text.as_str(), "from the orphan");
    let part = stage.path(&format!("part.{orphan}"));
    stage.wrong.holds(
        "the orphan gives its answer",
        kernel::until(|| std::fs::read(&part).is_ok_and(|text| !text.is_empty())),
    );
    stage.hear(orphan);
    Ok(())
}
