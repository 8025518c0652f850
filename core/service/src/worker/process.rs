//! What /proc tells a user of a process.

use dormouse_engine::proc::{self, ProcError, cmdline, status};
use dormouse_wire::dbus::Failure;
use dormouse_wire::{ByteSize, Descriptor, Details, Pid, Problem, ProblemKind, ProcessName, phrase};

use super::Said;

/// The process, as far as this user may look into it.
pub fn details(pid: Pid) -> Result<Details, Said> {
    let status = proc::parsed(pid, "status", status::parse).map_err(|error| unseen(pid, &error))?;
    let line = proc::read(pid, "cmdline").map_err(|error| unseen(pid, &error))?;
    // Whoever may not see the descriptors sees the rest.
    let numbers = proc::list_fds(pid).unwrap_or_default();
    let descriptors = numbers.into_iter().filter_map(|number| {
        let what = proc::link(pid, &format!("fd/{number}")).ok()?;
        Some(Descriptor { number, what: String::from_utf8_lossy(&what).into_owned() })
    });
    Ok(Details {
        process: ProcessName { pid, comm: String::from_utf8_lossy(&status.name).into_owned() },
        command_line: cmdline::words(&line).map(|word| String::from_utf8_lossy(word).into_owned()).collect(),
        memory: status.memory.map(|memory| ByteSize(memory.resident)),
        threads: status.threads as usize,
        descriptors: descriptors.collect(),
    })
}

fn unseen(pid: Pid, error: &ProcError) -> Said {
    let problem = Problem::blocks(ProblemKind::Process, error.said()).at(phrase!("pid {pid}", pid));
    Said::Failed(Failure { sentence: phrase!("The process cannot be looked at."), problems: vec![problem] })
}
