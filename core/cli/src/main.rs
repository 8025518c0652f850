//! The command `dormouse`: puts running programs to sleep in a file and wakes them later.
//!
//! Every subcommand is one file with its arguments, its help and what it does. They share what a person reads
//! ([`output`]), how the command ends ([`exit`]), Ctrl-C ([`interrupt`]), the bar ([`progress`]), and words for
//! what the folders of images and of the runtime can do wrong ([`store`], [`runtime`], [`look`]): what is behind these is the
//! service's too, and in its crate.

mod check;
mod completions;
mod cut;
mod demo;
mod doctor;
mod exit;
mod export;
mod freeze;
mod hold;
mod holders;
mod images;
mod inspect;
mod interrupt;
mod job;
mod list;
mod look;
mod man;
mod output;
mod pause;
mod picture;
mod progress;
mod reboot;
mod resume;
mod runtime;
mod serve;
mod session;
mod store;
mod target;
mod terminal;
mod thaw;
mod together;
mod verify;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use exit::Outcome;

/// Puts running programs to sleep in a file and wakes them later.
#[derive(Debug, Parser)]
#[command(name = "dormouse", version, max_term_width = 100, after_long_help = AFTER_HELP)]
#[command(arg_required_else_help = true)]
struct Dormouse {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit status:
  0  It has been done.
  1  It has failed; standard error says why, and what can be done.
  2  The command line was wrong.
  `thaw` ends with the status of a job that it has brought to the foreground.
  `check` ends with 0 for a group that can be frozen, 1 where something would be lost, 2 where something stands in the way.

Environment:
  XDG_DATA_HOME  Images lie in its folder `dormouse`; ~/.local/share where it is not set. \
Those of root lie in /var/lib/dormouse.
  XDG_RUNTIME_DIR  Who is paused is written down in its folder `dormouse`; for root in /run/dormouse.
  DORMOUSE_LOG   What to log to standard error: off, error, warn, info, debug or trace, or a filter such as \
dormouse_engine=debug.

Freezing and thawing take the capabilities CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE: run them as root. \
An image holds all memory of its processes, passwords and keys among it: keep it secret.";

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Arguments),
    Check(check::Arguments),
    Freeze(freeze::Arguments),
    Thaw(thaw::Arguments),
    Hold(hold::Arguments),
    Pause(pause::Arguments),
    Resume(resume::Arguments),
    Images(images::Arguments),
    Session(session::Arguments),
    Export(export::Arguments),
    Reboot(reboot::Arguments),
    Inspect(inspect::Arguments),
    Verify(verify::Arguments),
    Doctor(doctor::Arguments),
    Serve(serve::Arguments),
    /// Does one piece of work for the service.
    #[command(hide = true)]
    Worker,
    Demo(demo::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

impl Command {
    fn run(self) -> Outcome {
        match self {
            Self::List(arguments) => list::run(arguments),
            Self::Check(arguments) => check::run(arguments),
            Self::Freeze(arguments) => freeze::run(arguments),
            Self::Thaw(arguments) => thaw::run(arguments),
            Self::Hold(arguments) => hold::run(arguments),
            Self::Pause(arguments) => pause::run(arguments),
            Self::Resume(arguments) => resume::run(arguments),
            Self::Images(arguments) => images::run(arguments),
            Self::Session(arguments) => session::run(arguments),
            Self::Export(arguments) => export::run(arguments),
            Self::Reboot(arguments) => reboot::run(arguments),
            Self::Inspect(arguments) => inspect::run(arguments),
            Self::Verify(arguments) => verify::run(arguments),
            Self::Doctor(arguments) => doctor::run(arguments),
            Self::Serve(arguments) => serve::run(arguments),
            Self::Worker => {
                dormouse_service::worker::run();
                Ok(ExitCode::SUCCESS)
            }
            Self::Demo(arguments) => demo::run(arguments),
            Self::Completions(arguments) => completions::run(arguments),
            Self::Man(arguments) => man::run(arguments),
        }
    }
}

fn main() -> ExitCode {
    let dormouse = Dormouse::parse();
    log_to_standard_error();
    match dormouse.command.run() {
        Ok(code) => code,
        Err(failure) => {
            output::failure(&failure);
            ExitCode::FAILURE
        }
    }
}

fn log_to_standard_error() {
    let filter = EnvFilter::try_from_env("DORMOUSE_LOG").unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Dormouse;

    #[test]
    fn the_command_line_is_consistent() {
        Dormouse::command().debug_assert();
    }

    #[test]
    fn wrong_usage_ends_with_status_2() {
        for arguments in [&["dormouse", "freeze"][..], &["dormouse", "freeze", "0"], &["dormouse", "hibernate"]] {
            let error = Dormouse::try_parse_from(arguments).expect_err("wrong usage is refused");
            assert_eq!(error.exit_code(), 2, "{arguments:?}");
        }
    }
}
