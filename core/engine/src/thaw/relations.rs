//! Process groups, once all processes are there: setpgid(2).

use dormouse_wire::{Problem, ProblemKind};

use super::tree::Tree;
use crate::arguments;
use crate::puppet::Batch;
use crate::resource::group::Group;

/// Puts every process into its process group: leaders first, for a group is there only when its leader has made it.
pub fn restore(tree: &mut Tree, group: &Group) -> Result<(), Problem> {
    let leads = |process: &crate::resource::group::Process| process.family.process_group == process.pid();
    for leaders in [true, false] {
        for (index, process) in group.processes.iter().enumerate() {
            let family = &process.family;
            // A session leader leads its process group from the beginning; one outside the group stays outside.
            let inside = group.processes.iter().any(|other| other.pid() == family.process_group);
            if leads(process) != leaders || family.session == process.pid() || !inside {
                continue;
            }
            let Some(built) = tree.built[index].as_mut() else { continue };
            let mut batch = Batch::new();
            batch.must("join its process group", libc::SYS_setpgid, arguments![0, family.process_group.0]);
            built.run(&mut batch)?;
        }
    }
    check(tree, group)
}

/// Whether everybody is where the record has them.
fn check(tree: &Tree, group: &Group) -> Result<(), Problem> {
    for (process, built) in group.processes.iter().zip(&tree.built) {
        let inside = group.processes.iter().any(|other| other.pid() == process.family.session);
        if built.is_none() || !inside {
            continue;
        }
        let stat = crate::proc::parsed(process.pid(), "stat", crate::proc::stat::parse)
            .map_err(|error| Problem::blocks(ProblemKind::Process, error.to_string()).of(&process.shown()))?;
        if stat.session != process.family.session {
            let what = format!("it could not be put into its session {}", process.family.session);
            return Err(Problem::blocks(ProblemKind::Family, what).of(&process.shown()));
        }
    }
    Ok(())
}
