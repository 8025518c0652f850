//! `dormouse inspect`: what is in an image, without thawing it.

mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::exit::Outcome;
use dormouse_service::look::{Image, json};

use crate::look;
use crate::output;

/// Shows what is in an image.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The image is only read. Its tables and records are checked; to check every byte of it, use `dormouse verify`.

Examples:
  dormouse inspect build.dormouse
  dormouse inspect --memory build.dormouse
  dormouse inspect --json build.dormouse | jq .group.processes")]
pub struct Arguments {
    /// The image file.
    #[arg(value_name = "FILE")]
    image: PathBuf,

    /// List every mapping of memory, and not only how much there is of each kind.
    #[arg(long)]
    memory: bool,

    /// Write everything that is in the image, but for the memory itself, to standard output as JSON.
    #[arg(long, conflicts_with = "memory")]
    json: bool,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    match inspect(&arguments) {
        Err(failure) if arguments.json => Err(output::failure_as_json(failure)),
        outcome => outcome,
    }
}

fn inspect(arguments: &Arguments) -> Outcome {
    let failed = |error| look::failure("The image cannot be looked into.", &error);
    let image = Image::open(&arguments.image).map_err(failed)?;
    if arguments.json {
        output::json(&json::everything(&arguments.image, &image).map_err(failed)?)?;
    } else {
        let inside = image.inside().map_err(failed)?;
        output::print(&text::shown(&arguments.image, &image.frame(), &inside, arguments.memory, output::width()))?;
    }
    Ok(ExitCode::SUCCESS)
}
