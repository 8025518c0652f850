//! `dormouse verify`: whether every byte of an image, or of what is in a bundle, is as it was written.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dormouse_engine::image::{ImageError, Reader, SectionKind};
use dormouse_service::bundle::{self, Bundle};
use dormouse_wire::{ByteSize, Phrase, Problem, ProblemKind, Progress, phrase};

use crate::exit::{Failure, Outcome};
use crate::progress::Bar;
use crate::{holders, look, output};

/// Checks every byte of an image, or of what is in a bundle.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Every part of an image has a checksum; this reads the whole file and compares them all. Everything that is damaged is \
listed, with what it held. Of a bundle, the image is checked so, and each file against its hash in the list that the bundle \
begins with. It says nothing about whether the image can be thawed on this machine: `dormouse thaw` finds \
that out before it starts anything.")]
pub struct Arguments {
    /// The image file, or a bundle.
    #[arg(value_name = "FILE")]
    image: PathBuf,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    let path = arguments.image;
    if bundle::is_one(&path) {
        return verify_bundle(&path, &Bundle::open(&path)?);
    }
    let (size, problems) = {
        let bar = Bar::new()?;
        let examined = Reader::examine(&path).and_then(|opened| examine(&opened, &bar));
        examined.map_err(|error| look::failure("The image cannot be verified.", &error))?
    };
    if problems.is_empty() {
        output::say(&format!("Every byte of {} is as it was written ({size}).", path.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let failure = Failure::new("The image is not as it was written.").because(problems);
    Err(failure.hint("Take the image from a backup: this copy cannot be thawed."))
}

fn verify_bundle(path: &Path, bundle: &Bundle) -> Outcome {
    let cancelled = || Failure::new("It has been cancelled; the bundle is unchanged.");
    let mut problems = {
        let bar = Bar::new()?;
        let mut problems = bundle.changed_files(&bar).ok_or_else(cancelled)?;
        let examined = bundle.image().and_then(|opened| examine(&opened, &bar).map_err(|error| error.problem()));
        if bar.cancelled() {
            return Err(cancelled());
        }
        problems.extend(examined.map_or_else(|problem| vec![problem], |(_, problems)| problems));
        problems
    };
    if problems.is_empty() {
        let files = output::count(bundle.files().count(), "file", "files");
        output::say(&format!(
            "Every byte of the image and of {files} in {} is as it was packed ({}).",
            path.display(),
            bundle.size()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    for problem in &mut problems {
        problem.way_out = None;
    }
    let failure = Failure::new("The bundle is not as it was made.").because(problems);
    Err(failure.hint("Take the bundle from where it was made, once more: this copy cannot be thawed."))
}

/// Reads all of an image: its size, and everything that is wrong with it.
fn examine(
    (reader, sections): &(Reader, Vec<ImageError>),
    progress: &dyn Progress,
) -> Result<(ByteSize, Vec<Problem>), ImageError> {
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
