//! `dormouse inspect`: what is in an image, without thawing it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dormouse_wire::ByteSize;
use serde::Serialize;

use crate::exit::Outcome;
use crate::look::{self, Frame, Image};
use crate::output::{self, Table};

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
    path: &'a Path,
    #[serde(flatten)]
    frame: Frame,
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
    let image = Image::open(path).map_err(|error| look::failure("The image cannot be looked into.", &error))?;
    let contents = Contents { path, frame: image.frame() };
    if arguments.json {
        output::json(&contents)?;
    } else {
        output::print(&text(&contents, output::width()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(contents: &Contents<'_>, width: usize) -> String {
    let frame = &contents.frame;
    let mut sections = Table::new(&["SECTION", "CODE", "VERSION", "REQUIRED", "SIZE"], &[2, 4]);
    for section in &frame.sections {
        sections.row([
            section.name.clone().unwrap_or_else(|| "unknown here".to_owned()),
            section.code.clone(),
            section.version.to_string(),
            if section.required { "yes" } else { "no" }.to_owned(),
            ByteSize(section.length).to_string(),
        ]);
    }
    format!(
        "Image   {}\nSize    {}\nMemory  {}, stored in {}\n\n{}",
        output::printable(&contents.path.display().to_string()),
        frame.size,
        frame.memory,
        frame.stored,
        sections.lines(width)
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use dormouse_engine::image::SectionInfo;
    use dormouse_wire::ByteSize;

    use super::{Contents, text};
    use crate::look::Frame;

    #[test]
    fn the_frame_is_shown_as_a_table() {
        let section = SectionInfo {
            code: "GRUP".to_owned(),
            name: Some("group".to_owned()),
            version: 1,
            least_reader: 1,
            required: true,
            length: 900,
            hash: String::new(),
        };
        let unknown = SectionInfo { code: "LACE".to_owned(), name: None, required: false, ..section.clone() };
        let frame = Frame {
            size: ByteSize(12_345),
            memory: ByteSize(40_960),
            stored: ByteSize(8192),
            sections: vec![section, unknown],
        };
        assert_eq!(
            text(&Contents { path: Path::new("/x/sh.dormouse"), frame }, 80),
            "Image   /x/sh.dormouse\n\
             Size    12.3 kB\n\
             Memory  41.0 kB, stored in 8.2 kB\n\
             \n\
             SECTION       CODE  VERSION  REQUIRED       SIZE\n\
             group         GRUP        1  yes       900 bytes\n\
             unknown here  LACE        1  no        900 bytes\n"
        );
    }
}
