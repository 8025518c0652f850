//! Removing from the store what no image needs any more.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::FlockArg;

use super::{ContentHash, KeptFiles};
use crate::image::{Reader, SectionKind};
use crate::kernel::outside;

/// So long the files of an image are kept that lay elsewhere than in the folder of images, and is not there any more: its disk may only
/// not be attached.
const PATIENCE: Duration = Duration::from_hours(30 * 24);

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many files.
    pub files: usize,
    /// How many bytes they had.
    pub bytes: u64,
}

/// What an image says of itself, as far as it matters here.
#[derive(serde::Deserialize)]
struct Identified {
    #[serde(default)]
    id: String,
}

/// The id of an image, if it has one.
fn id_of(image: &Path) -> Option<String> {
    let reader = Reader::open(image).ok()?;
    let found: Identified = reader.section(SectionKind::Origin).ok()?;
    Some(found.id).filter(|id| !id.is_empty())
}

impl KeptFiles {
    /// Removes what no image needs; those in `images` may have moved there. Somebody who adds is not waited for: there will be
    /// another time.
    pub fn sweep(&self, images: &Path) -> io::Result<Swept> {
        // Where paths lead elsewhere, no image would be found.
        if outside::known().is_some() || !self.objects().is_dir() {
            return Ok(Swept::default());
        }
        let lock = match self.lock(FlockArg::LockExclusiveNonblock) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Swept::default()),
            lock => lock?,
        };
        let mut present = Present { images, ids: BTreeMap::new() };
        let mut needed = BTreeSet::new();
        for name in names(&self.images())? {
            let Some(reference) = self.reference(&name) else {
                // A half of one that was being written.
                let _ = fs::remove_file(self.images().join(&name));
                continue;
            };
            let image = PathBuf::from(OsStr::from_bytes(&reference.image));
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            if present.has(&name, &image) {
                if reference.missed.is_some() {
                    self.refer(&name, &super::Reference { missed: None, ..reference.clone() })?;
                }
            } else {
                let lay_here = image.parent() == Some(images);
                let since = reference.missed.map(Duration::from_secs);
                if lay_here || since.is_some_and(|since| now.saturating_sub(since) > PATIENCE) {
                    fs::remove_file(self.images().join(&name))?;
                    continue;
                }
                if since.is_none() {
                    self.refer(&name, &super::Reference { missed: Some(now.as_secs()), ..reference.clone() })?;
                }
            }
            needed.extend(reference.files);
        }
        let swept = self.remove_all_but(&needed)?;
        lock.set_modified(SystemTime::now())?;
        Ok(swept)
    }

    /// When that was done last.
    pub fn swept(&self) -> Option<SystemTime> {
        self.place().join("lock").metadata().ok()?.modified().ok()
    }

    fn remove_all_but(&self, needed: &BTreeSet<ContentHash>) -> io::Result<Swept> {
        let mut swept = Swept::default();
        for name in names(&self.objects())? {
            if ContentHash::parse(&name).is_some_and(|hash| needed.contains(&hash)) {
                continue;
            }
            let path = self.objects().join(&name);
            swept.bytes += path.symlink_metadata().map_or(0, |found| found.len());
            swept.files += 1;
            fs::remove_file(path)?;
            let shown = self.shown().join(&name);
            if shown.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                fs::remove_dir_all(shown)?;
            }
        }
        for name in names(&self.seen())? {
            let path = self.seen().join(&name);
            let leads = fs::read_link(&path).ok().and_then(|to| ContentHash::parse(to.to_str()?));
            if !leads.is_some_and(|hash| needed.contains(&hash)) {
                fs::remove_file(path)?;
            }
        }
        Ok(swept)
    }
}

/// The images that are there, by their ids: looked into only when one is missed at its place.
struct Present<'a> {
    images: &'a Path,
    /// By folder.
    ids: BTreeMap<PathBuf, BTreeSet<String>>,
}

impl Present<'_> {
    fn has(&mut self, id: &str, image: &Path) -> bool {
        id_of(image).as_deref() == Some(id)
            || self.is_in(id, self.images)
            || image.parent().is_some_and(|folder| self.is_in(id, folder))
    }

    fn is_in(&mut self, id: &str, folder: &Path) -> bool {
        let ids = self.ids.entry(folder.to_owned()).or_insert_with(|| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
            let images = entries.filter(|path| path.extension().is_some_and(|extension| extension == "dormouse"));
            images.filter_map(|path| id_of(&path)).collect()
        });
        ids.contains(id)
    }
}

/// The names in a folder, and of those only what a program of ours would give.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}
