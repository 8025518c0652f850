//! A root directory of its own, chroot(2).

use std::fs;
use std::os::unix::fs::chroot;

use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let root = stage.path("root");
    fs::create_dir(&root)?;
    fs::write(root.join("inside"), "inside")?;
    let outside = fs::read_link("/proc/self/root")?;
    stage.wrong.equal("the root before", outside, "/".into());
    let note = fs::File::create(stage.path("note"))?;
    let child = stage.child(|stage| {
        // The stage's folder cannot be seen from inside, so this child says ready before it goes, and looks on its own.
        stage.ready()?;
        chroot(&root)?;
        std::env::set_current_dir("/")?;
        use std::io::Write;
        (&note).write_all(b"inside")?;
        let gone = || !std::path::Path::new("/inside").exists();
        crate::kernel::until(|| crate::kernel::exists(c"/go"));
        let right = !gone() && !std::path::Path::new("/proc").exists();
        (&note).write_all(if right { b", well" } else { b", lost" })?;
        crate::kernel::exit(0);
    })?;
    let said = stage.path("note");
    stage.wrong.holds(
        "the child goes inside",
        crate::kernel::until(|| fs::read_to_string(&said).is_ok_and(|text| text == "inside")),
    );
    stage.ready_and_wait()?;
    fs::write(root.join("go"), "")?;
    stage.wrong.gives("the child ends", crate::kernel::wait_for(child.pid), crate::kernel::Ended::Code(0));
    stage.wrong.gives("what the child finds", fs::read_to_string(&said), "inside, well".to_owned());
    Ok(())
}
