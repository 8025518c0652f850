//! A 32-bit program, which this one becomes. It is in C, for there is always a compiler that makes such programs of that.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::stage::{Held, Stage, Trouble};

pub fn hold(stage: &mut Stage) -> Held {
    become_it(stage, &[])
}

/// Compiles it with these options, and becomes it.
pub fn become_it(stage: &Stage, options: &[&str]) -> Held {
    let (source, program) = (stage.path("ia32.c"), stage.path("ia32"));
    std::fs::write(&source, include_str!("ia32.c"))?;
    // Its registers are held in assembler that knows where the variables are.
    let usual = ["-m32", "-msse2", "-O1", "-fno-pie", "-no-pie", "-pthread", "-o"];
    let compiled = Command::new("gcc").args(usual).arg(&program).args(options).arg(&source).output()?;
    if !compiled.status.success() {
        return Err(Trouble::Failed(String::from_utf8_lossy(&compiled.stderr).into_owned()));
    }
    let folder = stage.path("");
    Err(Command::new(&program).arg(folder).exec().into())
}
