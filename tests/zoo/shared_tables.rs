//! Two processes with one table of descriptors (CLONE_FILES), and two with one working directory and mask (CLONE_FS).

use std::fs::{self, File};
use std::os::fd::AsRawFd;

use crate::kernel::{self, call, status};
use crate::stage::{Held, Stage, Trouble};

/// A child that shares `what` with this process, and plays `part`.
fn sharing(stage: &mut Stage, what: i32, part: fn(&mut Stage) -> Held) -> Result<i32, Trouble> {
    let pid = call(libc::SYS_clone, &[(what | libc::SIGCHLD) as usize, 0, 0, 0, 0])? as i32;
    if pid == 0 {
        let child = stage.child_part(part);
        kernel::exit(i32::from(child.is_err()));
    }
    stage.wait_for_part(pid)?;
    Ok(pid)
}

fn directories(stage: &mut Stage) -> Held {
    stage.ready_and_wait()?;
    let there = stage.path("there");
    stage.wrong.holds(
        "the parent's change of directory comes here",
        kernel::until(|| std::env::current_dir().is_ok_and(|now| now == there)),
    );
    stage.wrong.equal("the parent's mask too", status("/proc/self/status", "Umask"), "0123".to_owned());
    Ok(())
}

fn descriptors(stage: &mut Stage) -> Held {
    stage.ready_and_wait()?;
    let file = stage.path("opened later");
    let opened = || {
        let numbers = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        numbers.into_iter().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == file))
    };
    stage.wrong.holds("a descriptor that the parent opens is here too", kernel::until(opened));
    Ok(())
}

pub fn hold(stage: &mut Stage) -> Held {
    fs::create_dir(stage.path("there"))?;
    let with_directories = sharing(stage, libc::CLONE_FS, directories)?;
    let with_descriptors = sharing(stage, libc::CLONE_FILES, descriptors)?;
    stage.ready_and_wait()?;
    call(libc::SYS_umask, &[0o123])?;
    std::env::set_current_dir(stage.path("there"))?;
    let file = File::create(stage.path("opened later"))?;
    for pid in [with_directories, with_descriptors] {
        stage.join(crate::stage::Child { pid });
    }
    stage.wrong.holds("the file is open", file.as_raw_fd() > 2);
    Ok(())
}
