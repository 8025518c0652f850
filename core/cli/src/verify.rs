//! `dormouse verify`: whether every byte of an image is as it was written.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::exit::Outcome;
use crate::look::{self, Image};
use crate::output;
use crate::progress::Bar;

/// Checks every byte of an image.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Every part of an image has a checksum; this reads the whole file and compares them all. It says nothing about \
whether the image can be thawed on this machine: `dormouse thaw` finds that out before it starts anything.")]
pub struct Arguments {
    /// The image file.
    #[arg(value_name = "FILE")]
    image: PathBuf,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    let size = {
        let bar = Bar::new()?;
        let failed = |error| look::failure("The image cannot be verified.", &error);
        let image = Image::open(&arguments.image).map_err(failed)?;
        image.verify(&bar).map_err(failed)?;
        image.frame().size
    };
    output::say(&format!("Every byte of {} is as it was written ({size}).", arguments.image.display()));
    Ok(ExitCode::SUCCESS)
}
