//! Removing from the store what no image needs any more.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::FlockArg;

use super::{ContentHash, KeptFiles};
use crate::image::{Reader, SectionKind};
use crate::kernel::outside;
use crate::proc::{self, maps};

/// So long the files of an image are kept that is not found any more, and has not been deleted by us: somebody may have put it elsewhere,
/// or its disk is only not attached.
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
        let lock = match self.try_lock(FlockArg::LockExclusiveNonblock) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Swept::default()),
            lock => lock?,
        };
        let mut present = Present { images, ids: BTreeMap::new() };
        let mut needed = BTreeSet::new();
        for name in names(&self.images())? {
            if name.starts_with('.') {
                // Half of one that was being written.
                let _ = fs::remove_file(self.images().join(&name));
                continue;
            }
            // Nobody knows what it needs: then all may be needed.
            let Some(reference) = self.reference(&name)? else { continue };
            let image = PathBuf::from(OsStr::from_bytes(&reference.image));
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let is_present = present.has(&name, &image);
            let since = reference.missed.map(Duration::from_secs);
            if !is_present && since.is_some_and(|since| now.saturating_sub(since) > PATIENCE) {
                fs::remove_file(self.images().join(&name))?;
                continue;
            }
            let missed = if is_present { None } else { reference.missed.or(Some(now.as_secs())) };
            if missed != reference.missed {
                self.refer(&name, &super::Reference { missed, ..reference.clone() })?;
            }
            needed.extend(reference.files);
        }
        let swept = self.remove_all_but(&needed)?;
        lock.set_modified(SystemTime::now())?;
        Ok(swept)
    }

    /// When that was done last.
    pub fn swept(&self) -> Option<SystemTime> {
        self.folder.join("lock").metadata().ok()?.modified().ok()
    }

    /// An image has been deleted: what only it needed is not kept for its sake any more, unless `images` has another copy of it.
    pub fn deleted(&self, id: &str, images: &Path) -> io::Result<()> {
        let mut present = Present { images, ids: BTreeMap::new() };
        let at = self.image_of(id);
        if at.is_some_and(|at| present.has(id, &at)) { Ok(()) } else { self.forget(id) }
    }

    fn remove_all_but(&self, needed: &BTreeSet<ContentHash>) -> io::Result<Swept> {
        let (mut swept, in_use) = (Swept::default(), OnceCell::new());
        let mut failed = Ok(());
        for name in names(&self.objects())? {
            if ContentHash::parse(&name).is_some_and(|hash| needed.contains(&hash)) {
                continue;
            }
            let (path, shown) = (self.objects().join(&name), self.shown().join(&name));
            let Ok(found) = path.symlink_metadata() else { continue };
            // What has been woken with it finds it under its name as long as it runs.
            if shown.is_dir() && in_use.get_or_init(mapped).contains(&found.ino()) {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => {
                    swept.bytes += found.len();
                    swept.files += 1;
                }
                Err(error) => failed = Err(error),
            }
        }
        for name in names(&self.seen())? {
            let path = self.seen().join(&name);
            let leads = fs::read_link(&path).ok().and_then(|to| ContentHash::parse(to.to_str()?));
            if !leads.is_some_and(|hash| self.object(hash).exists()) {
                fs::remove_file(path)?;
            }
        }
        let shown = if self.shown().is_dir() { names(&self.shown())? } else { Vec::new() };
        for name in shown.into_iter().filter(|name| !self.objects().join(name).exists()) {
            fs::remove_dir_all(self.shown().join(name))?;
        }
        failed.map(|()| swept)
    }
}

/// The inodes of all files that anybody has mapped, as far as we may see that.
fn mapped() -> BTreeSet<u64> {
    let pids = proc::list_pids().unwrap_or_default();
    let mappings = pids.into_iter().filter_map(|pid| proc::parsed(pid, "maps", maps::parse_maps).ok());
    mappings.flatten().map(|mapping| mapping.inode).collect()
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
