//! `dormouse export`: an image with all that it needs, for another machine.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dormouse_service::bundle::{self, EXTENSION, Exported};

use crate::exit::{Failure, Outcome};
use crate::progress::Bar;
use crate::{output, store};

/// Packs an image together with the programs and libraries that it needs, for another machine.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT)]
pub struct Arguments {
    /// The image file.
    #[arg(value_name = "FILE")]
    image: PathBuf,

    /// The bundle to make. It must not exist; without this it lies beside the image and has its name.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Pack the files, too, that the group has open or mapped: they may be large, and may hold what is nobody else's business.
    #[arg(long)]
    working_files: bool,

    /// Write what was done, or why it was not, to standard output as JSON.
    #[arg(long)]
    json: bool,
}

const ABOUT: &str = "\
Packs an image together with the programs and libraries that it needs, for another machine.

The copies that were kept at the freeze are packed; where there is none, the file itself, if it is still what it was. \
`dormouse thaw` wakes a bundle as it does an image: what is missing there, or is another version, is taken from the bundle, and comes \
into a private place beside the images. No file that is there is ever written over.

A bundle is a tar archive. It holds all memory of its processes, passwords and keys among it: keep it secret.";

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    let exported = match export(&arguments) {
        Err(failure) if arguments.json => return Err(output::failure_as_json(failure)),
        exported => exported?,
    };
    if arguments.json {
        output::json(&exported)?;
    } else {
        output::say(&summary(&exported));
    }
    Ok(ExitCode::SUCCESS)
}

fn export(arguments: &Arguments) -> Result<Exported, Failure> {
    let bundle = arguments.output.clone().unwrap_or_else(|| arguments.image.with_extension(EXTENSION));
    let beside = arguments.image.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut stores = vec![dormouse_service::store::kept(beside)];
    stores.extend(store::folder().ok().map(|folder| dormouse_service::store::kept(&folder)));
    let bar = Bar::new()?;
    let exported = bundle::export(&arguments.image, &stores, arguments.working_files, &bundle, &bar);
    drop(bar);
    exported.map_err(|failure| Failure::new(failure.sentence.to_string()).because(failure.problems))
}

fn summary(exported: &Exported) -> String {
    let left = match exported.working_files_left {
        0 => String::new(),
        1 => " One file that it has open or mapped is not in it: --working-files packs that, too.".to_owned(),
        left => format!(" {left} files that it has open or mapped are not in it: --working-files packs them, too."),
    };
    format!(
        "The image and {} are in {} ({}).{left} To wake it there: dormouse thaw {}",
        output::count(exported.files, "file", "files"),
        exported.bundle.display(),
        exported.size,
        exported.bundle.display()
    )
}
