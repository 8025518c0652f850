//! `dormouse man`: the man pages, one for the command and one for every subcommand.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::exit::{Failure, Outcome};
use crate::{Dormouse, output};

/// Writes the man pages. `make install` puts them in place.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Arguments {
    /// The folder to write all pages into; without it, the page dormouse(1) goes to standard output.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    if let Some(folder) = arguments.folder {
        clap_mangen::generate_to(Dormouse::command(), &folder).map_err(|error| {
            Failure::system(format_args!("Pages cannot be written to {}", folder.display()), &error)
        })?;
    } else {
        let mut page = Vec::new();
        Man::new(Dormouse::command())
            .render(&mut page)
            .map_err(|error| Failure::system("The page cannot be made", &error))?;
        output::print(&String::from_utf8_lossy(&page))?;
    }
    Ok(ExitCode::SUCCESS)
}
