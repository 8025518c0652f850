//! Looking into a bundle where it lies: nothing of it comes onto the disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use dormouse_engine::image::kept::ContentHash;
use dormouse_engine::image::{ImageError, Reader, SectionKind};
use dormouse_engine::resource::origin::Origin;
use dormouse_wire::dbus::Failure;
use dormouse_wire::{ByteSize, Phase, Problem, ProblemKind, Progress, phrase};
use nix::fcntl::OFlag;
use tar::Archive;

use super::Manifest;
use super::parts::{self, Odd, Part, cut, odd};
use crate::store;

/// So much of a file is in memory at once while it is hashed.
const PIECE: usize = 1 << 20;

/// A bundle that has the form of one. The bytes of its image and its files have not been looked at.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    file: File,
    length: u64,
    manifest: Manifest,
    /// Where the image begins.
    image: u64,
    /// The files, by the names that their hashes are written with.
    files: BTreeMap<String, Place>,
}

/// Where a file is in a bundle, and what it must be.
#[derive(Debug)]
struct Place {
    hash: ContentHash,
    begins: u64,
    size: u64,
}

/// A file of a bundle.
#[derive(Clone, Debug)]
pub struct Contained {
    /// The path that the group knows it by.
    pub path: Vec<u8>,
    /// BLAKE3 in hexadecimal digits.
    pub hash: String,
    /// How large it is.
    pub size: ByteSize,
    /// The lower nine bits of its mode.
    pub mode: u32,
}

impl Bundle {
    /// Opens one, and finds what is in it.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
        let opened = File::options().read(true).custom_flags(flags).open(path).map_err(Odd::from);
        opened.and_then(|file| Self::of(path, file)).map_err(|odd| odd.failure(path))
    }

    fn of(path: &Path, file: File) -> Result<Self, Odd> {
        let length = file.metadata()?.len();
        let mut archive = Archive::new(&file);
        let mut entries = archive.entries_with_seek()?.raw(true);
        let manifest = parts::manifest(&mut entries)?;
        let (mut image, mut files) = (0, BTreeMap::new());
        parts::each(&manifest, entries, &mut |part, entry| {
            let (begins, size) = (entry.raw_file_position(), entry.size());
            if begins.checked_add(size).is_none_or(|end| end > length) {
                return Err(cut());
            }
            match part {
                Part::Image => image = begins,
                Part::File(packed, hash) => drop(files.insert(packed.hash.clone(), Place { hash, begins, size })),
            }
            Ok(())
        })?;
        Ok(Self { path: path.to_owned(), file, length, manifest, image, files })
    }

    /// How large all of it is.
    pub fn size(&self) -> ByteSize {
        ByteSize(self.length)
    }

    /// The name of the file that the image would be, in a folder that has none of that name.
    pub fn image_name(&self) -> PathBuf {
        store::plainly_named(&self.manifest.name)
    }

    /// The files, by the paths that the group knows them by; several may be one and the same.
    pub fn files(&self) -> impl Iterator<Item = Contained> {
        self.manifest.files.iter().map(|file| Contained {
            path: file.path.clone().bytes(),
            hash: file.hash.clone(),
            size: ByteSize(self.files.get(&file.hash).map_or(0, |place| place.size)),
            mode: file.mode & 0o777,
        })
    }

    /// The image, and what of its sections is not as it was written. One with another id makes the bundle void.
    pub fn image(&self) -> Result<(Reader, Vec<ImageError>), Problem> {
        let stretch = self.image..self.image.saturating_add(self.manifest.size);
        let file = self.file.try_clone().map_err(|error| Odd::from(error).problem(&self.path))?;
        let (reader, damaged) = Reader::examine_within(&self.path, file, stretch).map_err(|error| error.problem())?;
        let origin = reader.section::<Origin>(SectionKind::Origin);
        if origin.is_ok_and(|origin| origin.id != self.manifest.id) {
            return Err(odd(phrase!("its image is another one")).problem(&self.path));
        }
        Ok((reader, damaged))
    }

    /// Holds every file against its hash: those that are others. None: it was cancelled.
    pub fn changed_files(&self, progress: &dyn Progress) -> Option<Vec<Problem>> {
        progress.begins(Phase::Checking, self.files.values().map(|file| file.size).sum());
        let mut changed = BTreeMap::new();
        for (name, file) in &self.files {
            let stretch = Stretch { file: &self.file, at: file.begins, left: file.size, progress };
            let found = ContentHash::of(&mut BufReader::with_capacity(PIECE, stretch));
            if progress.cancelled() {
                return None;
            }
            let what = match found {
                Ok(found) if found == file.hash => continue,
                Ok(_) => phrase!("its bytes have changed since it was packed"),
                Err(error) => phrase!("the file cannot be read: {why}", why = error),
            };
            changed.insert(name, what);
        }
        let told = self.manifest.files.iter().filter_map(|file| {
            let what = changed.get(&file.hash)?.clone();
            let path = String::from_utf8_lossy(&file.path.clone().bytes()).into_owned();
            Some(Problem::blocks(ProblemKind::File, what).at(path))
        });
        Some(told.collect())
    }
}

/// A part of a file.
struct Stretch<'a> {
    file: &'a File,
    at: u64,
    left: u64,
    progress: &'a dyn Progress,
}

impl Read for Stretch<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.progress.cancelled() {
            return Err(io::Error::other("it was cancelled"));
        }
        let wanted = (bytes.len() as u64).min(self.left) as usize;
        let Some(bytes) = bytes.get_mut(..wanted).filter(|bytes| !bytes.is_empty()) else { return Ok(0) };
        let read = self.file.read_at(bytes, self.at)?;
        (self.at, self.left) = (self.at.saturating_add(read as u64), self.left.saturating_sub(read as u64));
        self.progress.moved(read as u64);
        Ok(read)
    }
}
