//! `dormouse inspect`: what is in an image, or a bundle, without thawing it.

mod bundle;
mod text;

use std::borrow::Borrow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dormouse_engine::image::ImageError;
use dormouse_service::bundle::{Bundle, is_one};
use dormouse_service::look::{Image, json};

use crate::exit::{Failure, Outcome};
use crate::look;
use crate::output;

const FAILED: &str = "The image cannot be looked into.";

/// Shows what is in an image, or a bundle.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The image is only read. Its tables and records are checked; to check every byte of it, use `dormouse verify`. \
Of a bundle, the files that are packed are listed before the image.

Examples:
  dormouse inspect build.dormouse
  dormouse inspect --memory build.dormouse
  dormouse inspect --json build.dormouse | jq .group.processes")]
pub struct Arguments {
    /// The image file, or a bundle.
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
    let path = &arguments.image;
    if is_one(path) {
        return inspect_bundle(path, &Bundle::open(path)?, arguments);
    }
    let image = Image::open(path).map_err(failed)?;
    if arguments.json {
        output::json(&json::everything(path, &image).map_err(failed)?)?;
    } else {
        output::print(&shown(path, &image, arguments)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn inspect_bundle(path: &Path, bundle: &Bundle, arguments: &Arguments) -> Outcome {
    let (reader, damaged) = bundle.image().map_err(|problem| Failure::new(FAILED).because(vec![problem]))?;
    if let Some(error) = damaged.first() {
        return Err(failed(error));
    }
    let image = Image::from(reader);
    if arguments.json {
        let mut everything = json::everything(path, &image).map_err(failed)?;
        everything["bundle"] = bundle::as_json(bundle);
        output::json(&everything)?;
    } else {
        let name = bundle.image_name().display().to_string() + ", in the bundle";
        let image = shown(Path::new(&name), &image, arguments)?;
        output::print(&(bundle::shown(path, bundle, output::width()) + &image))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(path: &Path, image: &Image, arguments: &Arguments) -> Result<String, Failure> {
    let inside = image.inside().map_err(failed)?;
    Ok(text::shown(path, &image.frame(), &inside, arguments.memory, output::width()))
}

fn failed(error: impl Borrow<ImageError>) -> Failure {
    look::failure(FAILED, error.borrow())
}
