//! Files that can be made only when the processes are there, such as handles on them: each process takes them from the
//! engine, under the numbers they have there, pidfd_getfd(2).

use dormouse_wire::Problem;

use super::objects::Objects;
use super::tree::Tree;
use crate::ThawOptions;
use crate::arguments;
use crate::image::Reader;
use crate::puppet::Batch;
use crate::resource::group::{Group, Process};

/// Makes them, and gives them to everybody.
pub fn restore(
    tree: &mut Tree,
    group: &Group,
    objects: &mut Objects,
    reader: &Reader,
    options: &ThawOptions,
) -> Result<(), Problem> {
    let alive = group.processes.iter().filter_map(Process::alive).flat_map(|alive| &alive.threads);
    let leaders = group.processes.iter().map(|process| process.pid().leader());
    let threads = alive.map(|thread| thread.tid).chain(leaders).collect();
    let late = objects.make_late(group, reader, options, &threads)?;
    if late.is_empty() {
        return Ok(());
    }
    let engine = std::process::id();
    for built in tree.built.iter_mut().flatten() {
        let mut batch = Batch::new();
        let handle = batch.must("take files from the engine", libc::SYS_pidfd_open, arguments![engine, 0]);
        for number in &late {
            let taken =
                batch.must("take a file from the engine", libc::SYS_pidfd_getfd, arguments![handle, *number, 0]);
            batch.must("put it in its place", libc::SYS_dup3, arguments![taken, *number, libc::O_CLOEXEC]);
        }
        built.run(&mut batch)?;
    }
    Ok(())
}
