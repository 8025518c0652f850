//! `dormouse resume`: a paused group goes on.

use std::process::ExitCode;

use dormouse_engine::PauseOptions;
use dormouse_wire::Resumed;

use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::target::Target;
use crate::{output, runtime};
use dormouse_service::systemd::Systemd;

/// Lets a paused process and its descendants go on.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT)]
pub struct Arguments {
    /// The process that was paused, by its pid; its descendants come along; or a group by its id in `dormouse list`.
    #[arg(value_name = "PID|GROUP")]
    target: Target,

    /// Write what was done, or why it was not, to standard output as JSON.
    #[arg(long)]
    json: bool,
}

const ABOUT: &str = "\
Lets a process and its descendants go on that `dormouse pause` holds still.

Only who was running before the pause goes on: what was stopped then, by Ctrl-Z for example, stays stopped. Resume as the \
user who has paused.";

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    let resumed = match resume(&arguments) {
        Err(failure) if arguments.json => return Err(output::failure_as_json(failure)),
        resumed => resumed?,
    };
    if arguments.json {
        output::json(&resumed)?;
    } else {
        output::say(&summary(&resumed));
    }
    Ok(ExitCode::SUCCESS)
}

fn resume(arguments: &Arguments) -> Result<Resumed, Failure> {
    let records = runtime::folder()?;
    // It is short, and would leave half of the group stopped.
    let _uninterrupted = Interrupt::watch()?;
    let units = Systemd;
    let (pid, others) = arguments.target.processes()?;
    let options = PauseOptions { pid, others: &others, records: &records, units: &units, reclaim: false };
    dormouse_engine::resume(&options).map_err(Failure::from)
}

fn summary(resumed: &Resumed) -> String {
    let first = resumed.processes.first().map_or_else(String::new, |first| format!(", {first} first"));
    let verb = if resumed.processes.len() == 1 { "goes" } else { "go" };
    format!("{}{first}, {verb} on.", output::count(resumed.processes.len(), "process", "processes"))
}
