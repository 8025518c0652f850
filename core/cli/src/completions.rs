//! `dormouse completions`: what a shell needs to complete the command line.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::exit::Outcome;
use crate::{Dormouse, output};

/// Writes completions for a shell to standard output. `make install` puts them in place.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Arguments {
    /// The shell.
    shell: Shell,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Dormouse::command(), "dormouse", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
