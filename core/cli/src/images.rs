//! `dormouse images`: what sleeps in the folder of images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dormouse_wire::{ByteSize, Problem};
use serde::Serialize;

use crate::exit::{Failure, Outcome};
use crate::output::Table;
use dormouse_service::look::Image;
use dormouse_service::when;

use crate::{output, store};

/// Lists the images in your folder of images.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The folder is ~/.local/share/dormouse, or $XDG_DATA_HOME/dormouse where that is set, and /var/lib/dormouse for root. \
Another one is chosen by --move. Times are in UTC. To see what is in one image, use `dormouse inspect`.")]
pub struct Arguments {
    /// Write the list to standard output as JSON.
    #[arg(long)]
    json: bool,

    /// Make this the folder of images, or a folder called dormouse in it where others may enter it. The images come along.
    #[arg(long = "move", value_name = "FOLDER", conflicts_with_all = ["json", "usual"])]
    to: Option<PathBuf>,

    /// Move the images back to the usual folder.
    #[arg(long, conflicts_with = "json")]
    usual: bool,
}

/// An image as the list shows it.
#[derive(Debug, Serialize)]
struct Row {
    path: PathBuf,
    /// RFC 3339.
    frozen: Option<String>,
    size: ByteSize,
    /// How many processes are in it, and the name of the first one.
    processes: Option<usize>,
    first: Option<String>,
    /// Why it cannot be looked into, if it cannot.
    problem: Option<Problem>,
    #[serde(skip)]
    date: Option<SystemTime>,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    if arguments.usual || arguments.to.is_some() {
        let folder = store::move_to(arguments.to.as_deref())?;
        output::say(&format!("The folder of images is {} now.", folder.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let folder = store::folder()?;
    dormouse_service::store::sweep(&folder);
    let rows = store::images(&folder)?.into_iter().map(row).collect::<Result<Vec<_>, _>>()?;
    if arguments.json {
        output::json(&rows)?;
    } else if rows.is_empty() {
        output::say(&format!("There are no images in {}", folder.display()));
    } else {
        output::print(&table(&rows).lines(output::width()))?;
        let problems: Vec<Problem> =
            rows.iter().filter_map(|row| Some(row.problem.as_ref()?.clone().at(shown(&row.path)))).collect();
        if !problems.is_empty() {
            let sentence =
                format!("{} cannot be thawed.", output::count(problems.len(), "image of these", "images of these"));
            output::failure(&Failure::new(sentence).because(problems));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(path: PathBuf) -> Result<Row, Failure> {
    let metadata = fs::metadata(&path)
        .map_err(|error| Failure::system(format_args!("The image {} cannot be read", path.display()), &error))?;
    let inside = Image::open(&path).and_then(|image| image.inside());
    let date = match &inside {
        Ok(inside) => UNIX_EPOCH.checked_add(Duration::from_secs(inside.origin.created.min(1 << 40))),
        Err(_) => metadata.modified().ok(),
    };
    let (group, problem) = match inside {
        Ok(inside) => (Some(inside.group), None),
        Err(error) => (None, Some(error.problem())),
    };
    let first = group.as_ref().and_then(|group| group.processes.first()).map(|process| process.shown().comm);
    let processes = group.map(|group| group.processes.len());
    Ok(Row { path, frozen: date.map(when::rfc3339), size: ByteSize(metadata.len()), processes, first, problem, date })
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["IMAGE", "FROZEN", "SIZE", "PROCESSES"], &[2]);
    for row in rows {
        let date = row.date.map_or_else(|| "-".to_owned(), when::date);
        let processes = match (row.processes, &row.first) {
            (Some(1), Some(first)) => first.clone(),
            (Some(count), Some(first)) => format!("{first} and {} more", count - 1),
            _ => "-".to_owned(),
        };
        table.row([shown(&row.path), date, row.size.to_string(), processes]);
    }
    table
}

fn shown(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
