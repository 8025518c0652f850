//! Adding to the store.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, FileTimes, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::fcntl::{Flock, FlockArg};
use serde_bytes::ByteBuf;
use tempfile::NamedTempFile;

use super::{ContentHash, Contents, KeptFiles, Reference};
use crate::kernel::{files, outside};

/// So many bytes are copied between two looks at whether that is still wanted.
const STEP: usize = 1 << 20;

/// So many bytes are left free on the disk of the store, which has `all`: for the image, and for everybody else. As journald does,
/// a share of it, and of a large one no more than anybody would miss.
fn reserve(all: u64) -> u64 {
    const LEAST: u64 = 64 << 20;
    const MOST: u64 = 4 << 30;
    (all / 10).clamp(LEAST, MOST)
}

/// Whether whoever waits still wants it; asked again and again with how many bytes more have been copied.
pub type Want<'a> = &'a (dyn Fn(u64) -> bool + Sync);

/// Files that are being added for one image. Nothing is removed from the store meanwhile.
#[derive(Debug)]
pub struct Keeping {
    kept: KeptFiles,
    _lock: Flock<File>,
    added: Mutex<BTreeSet<ContentHash>>,
    /// Those that may not be on the disk yet.
    unsynced: Mutex<Vec<File>>,
    /// They are being brought there.
    syncing: Mutex<Option<JoinHandle<io::Result<()>>>>,
    /// Which could not be kept, and why.
    failed: Mutex<BTreeMap<ByteBuf, io::Error>>,
}

impl KeptFiles {
    /// Makes the store where there is none, closed to others, and begins to add to it.
    pub fn begin(&self) -> io::Result<Keeping> {
        for folder in [self.folder.clone(), self.objects(), self.seen(), self.images()] {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        }
        let lock = self.lock(FlockArg::LockSharedNonblock)?;
        Ok(Keeping {
            kept: self.clone(),
            _lock: lock,
            added: Mutex::default(),
            unsynced: Mutex::default(),
            syncing: Mutex::default(),
            failed: Mutex::default(),
        })
    }
}

impl KeptFiles {
    /// Brings all that is kept to another store, with what the images of `from` need, which lie in `to` now.
    pub fn bring(&self, other: &Self, (from, to): (&Path, &Path)) -> io::Result<()> {
        if !self.objects().is_dir() {
            return Ok(());
        }
        let (_lock, keeping) = (self.lock(FlockArg::LockSharedNonblock)?, other.begin()?);
        for entry in fs::read_dir(self.images())? {
            let Ok(id) = entry?.file_name().into_string() else { continue };
            let Ok(Some(mut reference)) = self.reference(&id) else { continue };
            for hash in &reference.files {
                // What is missing here is missed there.
                let Ok(mut file) = self.open_unchecked(*hash) else { continue };
                let found = file.metadata()?;
                if !other.has(*hash, found.len()) {
                    keeping.take(&mut file, *hash, found.permissions().mode())?;
                }
            }
            let image = Path::new(OsStr::from_bytes(&reference.image));
            if let (true, Some(name)) = (image.parent() == Some(from), image.file_name()) {
                reference.image = ByteBuf::from(to.join(name).as_os_str().as_bytes());
            }
            other.refer(&id, &reference)?;
        }
        Ok(())
    }

    /// What has been brought to another store is needed here no longer.
    pub fn leave_to(&self, other: &Self) -> io::Result<()> {
        for entry in fs::read_dir(self.images()).into_iter().flatten().flatten() {
            if let Ok(id) = entry.file_name().into_string()
                && other.reference(&id)?.is_some()
            {
                self.forget(&id)?;
            }
        }
        Ok(())
    }
}

impl Keeping {
    /// Whether it would take no time to keep this file: it has been seen before, and is there.
    pub fn has(&self, stat: &libc::stat) -> Option<ContentHash> {
        let seen = fs::read_link(self.kept.seen().join(name(stat))).ok()?;
        let hash = ContentHash::parse(seen.to_str()?)?;
        self.kept.has(hash, stat.st_size as u64).then_some(hash)
    }

    /// Keeps a file that is open for reading. What cannot be kept is told at the end; the group can do without, as long as nobody
    /// changes the file.
    pub fn keep(
        &self,
        file: &File,
        (stat, is_like): (&libc::stat, &dyn Fn(&File) -> bool),
        path: &[u8],
        wanted: Want<'_>,
    ) -> Option<ContentHash> {
        let added = |hash: &ContentHash| {
            self.added.lock().unwrap_or_else(PoisonError::into_inner).insert(*hash);
        };
        // Devices and inodes come again: a disk was exchanged for another one.
        let seen = self.has(stat).filter(|hash| self.kept.open_unchecked(*hash).is_ok_and(|kept| is_like(&kept)));
        if let Some(hash) = seen {
            added(&hash);
            return Some(hash);
        }
        match self.add(file, stat, wanted) {
            Ok(hash) => hash.inspect(added),
            Err(error) => {
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).insert(ByteBuf::from(path), error);
                None
            }
        }
    }

    /// None: that it is done is not wanted any more.
    fn add(&self, file: &File, stat: &libc::stat, wanted: Want<'_>) -> io::Result<Option<ContentHash>> {
        let copy = NamedTempFile::new_in(self.kept.objects())?;
        let whole = if files::reflink(file, copy.as_file()).is_ok() {
            wanted(stat.st_size as u64).then(|| ContentHash::of(&mut copy.reopen()?)).transpose()?
        } else if let Err(error) = self.room_for(stat) {
            // Whoever runs from a copy needs no other one; that it is one is worth a look.
            if error.kind() != io::ErrorKind::StorageFull {
                return Err(error);
            }
            let hash = copied(file, None, wanted)?;
            return match hash {
                Some(hash) if self.kept.open(hash).is_err() => Err(error),
                known => Ok(known),
            };
        } else {
            copied(file, Some(copy.as_file()), wanted)?
        };
        let Some(hash) = whole else { return Ok(None) };
        let now = files::stat(file)?;
        if name(&now) != name(stat) || copy.as_file().metadata()?.len() != stat.st_size as u64 {
            return Err(io::Error::other("it is being changed"));
        }
        // One that is damaged is replaced.
        if self.kept.open(hash).is_err() {
            let object = copy.as_file();
            let modified = std::time::UNIX_EPOCH
                .checked_add(std::time::Duration::new(stat.st_mtime.max(0) as u64, stat.st_mtime_nsec as u32));
            if let Some(modified) = modified {
                object.set_times(FileTimes::new().set_modified(modified))?;
            }
            // Without the bits that lend rights: who is woken with it may run it again.
            object.set_permissions(Permissions::from_mode(0o400 | stat.st_mode & 0o555))?;
            self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).push(object.try_clone()?);
            copy.persist(self.kept.object(hash)).map_err(|error| error.error)?;
        }
        let seen = self.kept.seen().join(name(stat));
        // A link that leads to what is gone.
        let _ = fs::remove_file(&seen);
        match std::os::unix::fs::symlink(hash.to_string(), &seen) {
            // Somebody else has seen it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            answer => answer?,
        }
        Ok(Some(hash))
    }

    /// Brings what has been added so far to the disk, while other things are done.
    pub fn begin_sync(&self) {
        let files = std::mem::take(&mut *self.unsynced.lock().unwrap_or_else(PoisonError::into_inner));
        let builder = std::thread::Builder::new().name("kept".to_owned());
        let begun = builder.spawn(move || files.iter().try_for_each(File::sync_all));
        *self.syncing.lock().unwrap_or_else(PoisonError::into_inner) = begun.ok();
    }

    fn sync(&self) -> io::Result<()> {
        if let Some(syncing) = self.syncing.lock().unwrap_or_else(PoisonError::into_inner).take() {
            syncing.join().map_err(|_| io::Error::other("they cannot be brought to the disk"))??;
        }
        let files = std::mem::take(&mut *self.unsynced.lock().unwrap_or_else(PoisonError::into_inner));
        files.iter().try_for_each(File::sync_all)?;
        File::open(self.kept.objects())?.sync_all()
    }

    /// Whether there is room for a copy, and for the image, and for everybody else.
    fn room_for(&self, stat: &libc::stat) -> io::Result<()> {
        /// No program is as large as that.
        const MOST: u64 = 2 << 30;
        const SMALL: u64 = 64 << 20;
        let size = stat.st_size as u64;
        let has_holes = (stat.st_blocks as u64).saturating_mul(512) < size / 2 && size > SMALL;
        if size > MOST || has_holes {
            return Err(io::Error::other("it is too large to be copied"));
        }
        let found = nix::sys::statvfs::statvfs(&self.kept.folder)?;
        let [free, all] = [found.blocks_available(), found.blocks()].map(|blocks| blocks * found.fragment_size());
        if free.saturating_sub(size) < reserve(all) {
            let what = "there would be too little room left on the disk for the image";
            return Err(io::Error::new(io::ErrorKind::StorageFull, what));
        }
        Ok(())
    }

    /// Names a file as one that the image needs, if it is there already.
    pub fn need(&self, hash: ContentHash) -> bool {
        let is_there = self.kept.open(hash).is_ok();
        if is_there {
            self.added.lock().unwrap_or_else(PoisonError::into_inner).insert(hash);
        }
        is_there
    }

    /// Puts something that is not on this machine into the store, if it is what it should be.
    pub fn take(&self, reader: &mut impl Read, hash: ContentHash, mode: u32) -> io::Result<bool> {
        let copy = NamedTempFile::new_in(self.kept.objects())?;
        let mut hasher = blake3::Hasher::new();
        let mut bytes = vec![0; STEP];
        loop {
            let length = reader.read(&mut bytes)?;
            if length == 0 {
                break;
            }
            hasher.update(&bytes[..length]);
            copy.as_file().write_all(&bytes[..length])?;
        }
        if ContentHash::from(&hasher) != hash {
            return Ok(false);
        }
        copy.as_file().set_permissions(Permissions::from_mode(0o400 | mode & 0o555))?;
        copy.as_file().sync_all()?;
        copy.persist(self.kept.object(hash)).map_err(|error| error.error)?;
        self.added.lock().unwrap_or_else(PoisonError::into_inner).insert(hash);
        Ok(true)
    }

    /// Writes down that an image needs all that was added: it has this id, and will have this name.
    pub fn refer(&self, id: &str, image: &Path, contents: Contents) -> io::Result<()> {
        let files: Vec<ContentHash> =
            self.added.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        if files.is_empty() {
            return Ok(());
        }
        self.sync()?;
        let image =
            outside::known().map_or_else(|| std::path::absolute(image), |outside| Ok(outside.absolute(image)))?;
        let image = ByteBuf::from(image.as_os_str().as_bytes());
        let mut reference = Reference { image, files, contents, missed: None };
        // The image may be here already, and need more.
        if let Some(known) = self.kept.reference(id)? {
            let files: BTreeSet<ContentHash> = known.files.into_iter().chain(reference.files).collect();
            reference.files = files.into_iter().collect();
            reference.contents = reference.contents.into_iter().chain(known.contents).collect();
            if Path::new(OsStr::from_bytes(&known.image)).exists() {
                reference.image = known.image;
            }
        }
        self.kept.refer(id, &reference)
    }

    /// What could not be kept, by its path, and why.
    pub fn failures(&self) -> BTreeMap<ByteBuf, io::Error> {
        std::mem::take(&mut *self.failed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Under which name a file is seen: where one of these numbers is another one, it may be another file.
fn name(stat: &libc::stat) -> String {
    let libc::stat { st_dev, st_ino, st_size, st_mtime, st_mtime_nsec, st_ctime, st_ctime_nsec, .. } = stat;
    format!("{st_dev:x}-{st_ino}-{st_size}-{st_mtime}.{st_mtime_nsec}-{st_ctime}.{st_ctime_nsec}")
}

/// The hash of what is copied; or only of what is there.
fn copied(from: &File, to: Option<&File>, wanted: Want<'_>) -> io::Result<Option<ContentHash>> {
    use std::os::unix::fs::FileExt;
    let (mut hasher, mut bytes, mut at) = (blake3::Hasher::new(), vec![0; STEP], 0);
    loop {
        let length = from.read_at(&mut bytes, at)?;
        if length == 0 {
            return Ok(Some(ContentHash::from(&hasher)));
        }
        hasher.update(&bytes[..length]);
        to.map_or(Ok(()), |mut to| to.write_all(&bytes[..length]))?;
        at += length as u64;
        if !wanted(length as u64) {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::reserve;

    #[test]
    fn a_share_of_the_disk_stays_free_within_bounds() {
        let gib = 1 << 30;
        assert_eq!([gib / 4, 10 * gib, 2048 * gib].map(reserve), [64 << 20, gib, 4 * gib]);
    }
}
