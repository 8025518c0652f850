//! The folder of images, with words for what can go wrong.

use std::path::{Path, PathBuf};

use dormouse_service::store;
use dormouse_wire::Pid;

use crate::exit::Failure;

/// The folder of the person's images; it may not exist yet.
pub fn folder() -> Result<PathBuf, Failure> {
    store::folder()
        .ok_or_else(|| Failure::new("The folder for images is not known: neither XDG_DATA_HOME nor HOME is set."))
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
