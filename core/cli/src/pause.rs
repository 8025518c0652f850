//! `dormouse pause`: a running group stands still in memory.

use std::process::ExitCode;

use dormouse_engine::PauseOptions;
use dormouse_wire::{ByteSize, Paused, Reclaimed};

use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::target::Target;
use crate::{output, runtime};
use dormouse_service::systemd::Systemd;

/// Holds a running process and its descendants still, in memory.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT, after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The process to pause, by its pid; its descendants come along; or a group by its id in `dormouse list`.
    #[arg(value_name = "PID|GROUP")]
    target: Target,

    /// Push the memory of the processes to swap, so that others can have it.
    #[arg(long)]
    reclaim: bool,

    /// Write what was done, or why it was not, to standard output as JSON.
    #[arg(long)]
    json: bool,
}

const ABOUT: &str = "\
Holds a running process and its descendants still, in memory. There is no file, and nothing is kept over a reboot; \
but everything can be paused, windows and network connections too.

Where the processes have a control group to themselves it is frozen, which they do not notice: by systemd, where it \
is a unit, or else directly. Everywhere else they are stopped with SIGSTOP, parents before their children. A process \
that was stopped before, by Ctrl-Z for example, stays so when the group is resumed.

A shell outside of the group that has started a job finds it stopped by SIGSTOP, as by Ctrl-Z, and says so.";

const EXAMPLES: &str = "\
Examples:
  dormouse pause 4211
      Hold process 4211 and its descendants still.
  dormouse pause --reclaim 4211
      And push their memory to swap.
  dormouse resume 4211
      Let them go on.";

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    let paused = match pause(&arguments) {
        Err(failure) if arguments.json => return Err(output::failure_as_json(failure)),
        paused => paused?,
    };
    if arguments.json {
        output::json(&paused)?;
    } else {
        output::say(&summary(&paused, &arguments.target));
    }
    Ok(ExitCode::SUCCESS)
}

fn pause(arguments: &Arguments) -> Result<Paused, Failure> {
    let records = runtime::folder()?;
    // It is short, and would leave half of the group stopped.
    let _uninterrupted = Interrupt::watch()?;
    let (pid, others) = arguments.target.processes()?;
    let reclaim = arguments.reclaim;
    let options = PauseOptions { pid, others: &others, records: &records, units: &Systemd, reclaim };
    dormouse_engine::pause(&options).map_err(Failure::from)
}

fn summary(paused: &Paused, target: &Target) -> String {
    let first = paused.processes.first().map_or_else(String::new, |first| format!(", {first} first"));
    let count = output::count(paused.processes.len(), "process", "processes");
    let reclaimed = paused.reclaimed.as_ref().map_or_else(String::new, reclaimed);
    format!("Paused {count}{first}, by {}. {reclaimed}To go on: dormouse resume {target}", paused.by)
}

fn reclaimed(reclaimed: &Reclaimed) -> String {
    match reclaimed {
        Reclaimed { moved: ByteSize(0), why_not: None } => "None of its memory could go to swap. ".to_owned(),
        Reclaimed { moved: ByteSize(0), why_not: Some(why_not) } => {
            format!("None of its memory has gone to swap: {why_not}. ")
        }
        Reclaimed { moved, why_not: None } => format!("{moved} of its memory went to swap. "),
        Reclaimed { moved, why_not: Some(why_not) } => {
            format!("{moved} of its memory went to swap, not all: {why_not}. ")
        }
    }
}

#[cfg(test)]
mod tests {
    use dormouse_wire::{ByteSize, Paused, PausedBy, Pid, ProcessName, Reclaimed};

    use super::{Target, summary};

    #[test]
    fn a_pause_is_summed_up_with_the_way_back() {
        let process = |pid, comm: &str| ProcessName { pid: Pid(pid), comm: comm.to_owned() };
        let mut paused = Paused {
            processes: vec![process(12, "cat"), process(13, "wc"), process(14, "tr")],
            by: PausedBy::Signal,
            reclaimed: None,
        };
        assert_eq!(
            summary(&paused, &Target::Process(Pid(12))),
            "Paused 3 processes, cat (pid 12) first, by SIGSTOP. To go on: dormouse resume 12"
        );
        paused.reclaimed = Some(Reclaimed { moved: ByteSize(2_000_000), why_not: None });
        assert!(
            summary(&paused, &Target::Process(Pid(12)))
                .contains("by SIGSTOP. 2.0 MB of its memory went to swap. To go on")
        );
    }
}
