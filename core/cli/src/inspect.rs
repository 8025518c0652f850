//! `dormouse inspect`: what is in an image, without thawing it.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::exit::{Failure, Outcome};
use crate::look::Image;
use crate::output;

/// Shows what is in an image.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The image is only read. Its tables are checked; to check every byte of it, use `dormouse verify`.

Examples:
  dormouse inspect build.dormouse
  dormouse inspect --json build.dormouse")]
pub struct Arguments {
    /// The image file.
    #[arg(value_name = "FILE")]
    image: PathBuf,

    /// Write everything that is known of the image to standard output as JSON.
    #[arg(long)]
    json: bool,
}

/// What `--json` says.
#[derive(Debug, Serialize)]
struct Contents<'a> {
    path: &'a PathBuf,
    size: dormouse_wire::ByteSize,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    match inspect(&arguments) {
        Err(failure) if arguments.json => Err(output::failure_as_json(failure)),
        outcome => outcome,
    }
}

fn inspect(arguments: &Arguments) -> Outcome {
    let image = Image::open(&arguments.image)
        .map_err(|problem| Failure::new("The image cannot be looked into.").because(vec![*problem]))?;
    if arguments.json {
        output::json(&Contents { path: &arguments.image, size: image.size() })?;
    } else {
        output::print(&format!("Image  {}\nSize   {}\n", arguments.image.display(), image.size()))?;
    }
    Ok(ExitCode::SUCCESS)
}
