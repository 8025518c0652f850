//! `dormouse verify`: whether every byte of an image is as it was written.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dormouse_engine::image::{ImageError, Reader, SectionKind};
use dormouse_wire::{ByteSize, Phrase, Problem, ProblemKind, Progress, phrase};

use crate::exit::{Failure, Outcome};
use crate::progress::Bar;
use crate::{holders, look, output};

/// Checks every byte of an image.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Every part of an image has a checksum; this reads the whole file and compares them all. Everything that is damaged is \
listed, with what it held. It says nothing about whether the image can be thawed on this machine: `dormouse thaw` finds \
that out before it starts anything.")]
pub struct Arguments {
    /// The image file.
    #[arg(value_name = "FILE")]
    image: PathBuf,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    let (size, problems) = {
        let bar = Bar::new()?;
        examine(&arguments.image, &bar).map_err(|error| look::failure("The image cannot be verified.", &error))?
    };
    if problems.is_empty() {
        output::say(&format!("Every byte of {} is as it was written ({size}).", arguments.image.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let failure = Failure::new("The image is not as it was written.").because(problems);
    Err(failure.hint("Take the image from a backup: this copy cannot be thawed."))
}

/// Reads all of the image: its size, and everything that is wrong with it.
fn examine(image: &Path, progress: &dyn Progress) -> Result<(ByteSize, Vec<Problem>), ImageError> {
    let (reader, sections) = Reader::examine(image)?;
    let mut problems: Vec<Problem> = sections.iter().map(told).collect();
    let damage = reader.verify(progress)?;
    // Where the records are damaged too, nobody knows what the pages were.
    let group = if damage.is_none() { None } else { reader.section(SectionKind::Group).ok() };
    let mut held = group.map(|group| holders::of(&group, &damage.chunks.keys().copied().collect())).unwrap_or_default();
    for (chunk, error) in &damage.chunks {
        let mut problem = told(error);
        problem.loss = held.remove(chunk).map(Phrase::verbatim);
        problems.push(problem);
    }
    if damage.more > 0 {
        let what = phrase!("{more} more chunks of page data are damaged", more = damage.more);
        problems.push(Problem::blocks(ProblemKind::Image, what));
    }
    Ok((reader.size(), problems))
}

/// Without the way out, which is the same for all.
fn told(error: &ImageError) -> Problem {
    Problem { way_out: None, ..error.problem() }
}
