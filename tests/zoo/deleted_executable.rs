//! A program whose file is gone: it runs a copy of itself that it has removed.

use std::fs;
use std::os::unix::process::CommandExt;

use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let copy = stage.path("copy");
    if std::env::args().next().as_deref() != copy.to_str() {
        fs::copy("/proc/self/exe", &copy)?;
        let error = std::process::Command::new(&copy).args(std::env::args().skip(1)).exec();
        return Err(error.into());
    }
    fs::remove_file(&copy)?;
    let expected = format!("{} (deleted)", copy.display());
    stage.keeps(|wrong| {
        let found = fs::read_link("/proc/self/exe").map(|path| path.display().to_string());
        wrong.gives("the executable", found, expected.clone());
        let head = fs::read("/proc/self/exe").map(|bytes| bytes.starts_with(b"\x7fELF"));
        wrong.gives("its content", head, true);
    })
}
