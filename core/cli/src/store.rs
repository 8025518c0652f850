//! The folder of images, with words for what can go wrong.

use std::path::{Path, PathBuf};

use dormouse_service::moving::{self, MoveError, Places};
use dormouse_service::store;
use dormouse_wire::Pid;

use crate::exit::Failure;
use crate::progress::Bar;

/// The folder of the person's images. It may not exist yet, unless it was chosen.
pub fn folder() -> Result<PathBuf, Failure> {
    let folder = store::folder().ok_or_else(unknown)?;
    if folder.is_dir() || store::usual().is_some_and(|usual| usual == folder) {
        return Ok(folder);
    }
    let sentence = format!("The folder that was chosen for images, {}, is not there.", folder.display());
    Err(Failure::new(sentence).hint("Attach the disk that it is on, or choose another: dormouse images --move FOLDER"))
}

fn unknown() -> Failure {
    Failure::new("The folder for images is not known: neither XDG_DATA_HOME nor HOME is set.")
}

/// Makes another folder that of the images; none: the usual one. Answers which it is then.
pub fn move_to(wanted: Option<&Path>) -> Result<PathBuf, Failure> {
    let (usual, choice) = store::usual().zip(store::choice()).ok_or_else(unknown)?;
    let wanted = wanted.map(|wanted| {
        std::path::absolute(wanted).map_err(|error| Failure::system(format_args!("{}", wanted.display()), &error))
    });
    let places = Places { choice: &choice, usual: &usual };
    let stay = "The images stay where they were.";
    moving::move_images(places, wanted.transpose()?.as_deref(), &Bar::new()?).map_err(|error| match error {
        MoveError::Cancelled => Failure::new(stay),
        MoveError::Failed(problem) => Failure::new(stay).because(vec![*problem]),
    })
}

/// The name of a new image for the process, in the folder, which exists when this returns.
pub fn new_image(pid: Pid) -> Result<PathBuf, Failure> {
    let folder = folder()?;
    store::make(&folder).map_err(|error| {
        Failure::system(format_args!("The folder {} cannot be made or closed to others", folder.display()), &error)
            .hint("Name another place for the image with --output.")
    })?;
    Ok(store::new_image(&folder, pid))
}

/// The images in the folder, by name. A folder that is not there holds none.
pub fn images(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure::system(format_args!("The folder {} cannot be read", folder.display()), &error);
    store::images(folder).map_err(failed)
}
