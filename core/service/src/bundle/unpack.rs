//! Taking a bundle apart.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use dormouse_engine::image::kept::{ContentHash, Contents, Keeping};
use dormouse_engine::image::{Reader, SectionKind};
use dormouse_engine::resource::origin::Origin;
use dormouse_wire::dbus::Failure;
use dormouse_wire::{Phase, Phrase, Problem, ProblemKind, Progress, phrase};
use nix::fcntl::OFlag;
use nix::unistd::Uid;
use serde_bytes::ByteBuf;
use tar::{Archive, EntryType};

use super::{FORMAT, IMAGE, MANIFEST, MOST, Manifest, OBJECTS, Packed, Watched, of_file};
use crate::copying::{self, Unfinished};
use crate::store;

const NOT_READ: Phrase = phrase!("The bundle cannot be used.");

/// Whether a file is a bundle, by how it begins.
pub fn is_one(path: &Path) -> bool {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    File::options().read(true).custom_flags(flags).open(path).is_ok_and(|file| is_open(&file))
}

/// The same of one that is open.
pub fn is_open(file: &File) -> bool {
    let mut name = [0; MANIFEST.len() + 1];
    file.metadata().is_ok_and(|found| found.is_file())
        && file.read_exact_at(&mut name, 0).is_ok()
        && name.split_last().is_some_and(|(end, name)| *end == 0 && name == MANIFEST.as_bytes())
}

/// Takes a bundle apart: its files into the store beside the images, where they are missing, its image into the folder of images. Answers
/// where that is. One that has been taken apart before is found again.
pub fn unpack(bundle: &Path, folder: &Path, progress: &dyn Progress) -> Result<PathBuf, Failure> {
    let file = File::open(bundle).map_err(|error| of_file(NOT_READ, bundle, &error))?;
    unpack_open(&file, bundle, folder, progress)
}

/// The same of one that is open; `bundle` is what it is called.
pub fn unpack_open(file: &File, bundle: &Path, folder: &Path, progress: &dyn Progress) -> Result<PathBuf, Failure> {
    let failed = |error: &io::Error| of_file(NOT_READ, bundle, error);
    let found = file.metadata().map_err(|error| failed(&error))?;
    store::make(folder).map_err(|error| of_file(NOT_READ, folder, &error))?;
    progress.begins(Phase::Reading, found.len());
    let unpacked = taken_apart(file, folder, progress);
    let (copy, manifest, keeping) = unpacked.map_err(|odd| match odd {
        Odd::System(error) => failed(&error),
        Odd::Form(what) => {
            let problem = Problem::blocks(ProblemKind::Image, what).at(bundle.display().to_string());
            Failure {
                sentence: NOT_READ,
                problems: vec![problem.way_out(phrase!("Take it from where it was made, once more"))],
            }
        }
    })?;
    let put = || -> io::Result<PathBuf> {
        // Whoever made the bundle is who made the image, and no more than that is trusted.
        if Uid::effective().is_root() {
            fchown(&copy.file, Some(found.uid()), Some(found.gid()))?;
            copy.file.set_permissions(Permissions::from_mode(0o600 | found.mode() & 0o022))?;
        }
        copy.file.sync_all()?;
        let known = known(folder, &manifest, &File::open(&copy.hidden)?)?;
        let place = known.clone().unwrap_or_else(|| store::named(folder, &manifest.name));
        keeping.refer(&manifest.id, &place, contents(&manifest))?;
        if known.is_none() {
            // Not a rename: nothing that is there is ever replaced.
            fs::hard_link(&copy.hidden, &place)?;
            File::open(folder)?.sync_all()?;
        }
        Ok(place)
    };
    put().map_err(|error| of_file(NOT_READ, folder, &error))
}

fn contents(manifest: &Manifest) -> Contents {
    let named = manifest.files.iter().cloned();
    named.filter_map(|file| Some((ByteBuf::from(file.path.bytes()), ContentHash::parse(&file.hash)?))).collect()
}

/// What is wrong with a bundle.
enum Odd {
    System(io::Error),
    Form(Phrase),
}

impl From<io::Error> for Odd {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

type Unpacked = (Copy, Manifest, Keeping);

/// The image while it is not whole yet: gone when this is.
struct Copy {
    hidden: PathBuf,
    file: File,
}

impl Copy {
    fn begin(folder: &Path) -> io::Result<Self> {
        let (hidden, file) = copying::begin(folder)?;
        Ok(Self { hidden, file })
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        drop(Unfinished(&self.hidden));
    }
}

/// It is none, or is not what it was.
fn odd(what: Phrase) -> Odd {
    Odd::Form(phrase!("it is no bundle, or it is damaged: {what}", what))
}

/// What is in a bundle, by its first entry.
fn manifest(mut first: tar::Entry<'_, impl Read>) -> Result<Manifest, Odd> {
    if &*first.path_bytes() != MANIFEST.as_bytes() || !is_plain(&first) || first.size() > MOST {
        return Err(odd(phrase!("it does not begin with what is in it")));
    }
    let mut text = Vec::new();
    first.read_to_end(&mut text)?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|_| odd(phrase!("what is in it cannot be understood")))?;
    if manifest.format != FORMAT {
        return Err(Odd::Form(phrase!(
            "it has form {format}, and this Dormouse reads form {own}",
            format = manifest.format,
            own = FORMAT
        )));
    }
    if manifest.id.is_empty() || manifest.id.len() > 64 || !manifest.id.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return Err(odd(phrase!("its image has no id")));
    }
    Ok(manifest)
}

fn taken_apart(file: &File, folder: &Path, progress: &dyn Progress) -> Result<Unpacked, Odd> {
    let mut file = file.try_clone()?;
    let mut archive = Archive::new(io::BufReader::with_capacity(1 << 20, Watched { file: &mut file, progress }));
    // As they are: what extends the next entry could have any size, and no name here needs it.
    let mut entries = archive.entries()?.raw(true);
    let first = entries.next().ok_or_else(|| odd(phrase!("it is empty")))??;
    let manifest = manifest(first)?;
    let mut missing: BTreeMap<&str, &Packed> = manifest.files.iter().map(|file| (file.hash.as_str(), file)).collect();
    let keeping = store::kept(folder).begin()?;
    let copy = Copy::begin(folder)?;
    let mut is_whole = false;
    for entry in entries {
        let mut entry = entry?;
        if !is_plain(&entry) {
            return Err(odd(phrase!("something in it is no ordinary file")));
        }
        let (name, size) = (entry.path_bytes().into_owned(), entry.size());
        if name == IMAGE.as_bytes() && size == manifest.size && !is_whole {
            is_whole = io::copy(&mut entry, &mut &copy.file)? == size;
            continue;
        }
        let hash = name.strip_prefix(OBJECTS.as_bytes()).and_then(|name| std::str::from_utf8(name).ok());
        let packed = hash.and_then(|hash| missing.remove(hash)).filter(|packed| packed.size == size);
        let hash = packed.and_then(|packed| ContentHash::parse(&packed.hash));
        let (Some(packed), Some(hash)) = (packed, hash) else {
            return Err(odd(phrase!("something is in it that it does not name")));
        };
        if !keeping.need(hash) && !keeping.take(&mut entry, hash, packed.mode)? {
            return Err(odd(phrase!("a file in it is not the one that it should be")));
        }
    }
    if !is_whole || !missing.is_empty() {
        return Err(odd(phrase!("something is missing, it has been cut")));
    }
    let reader = Reader::open(&copy.hidden).map_err(|error| Odd::Form(error.problem().what))?;
    let origin: Origin = reader.section(SectionKind::Origin).map_err(|error| Odd::Form(error.problem().what))?;
    if origin.id != manifest.id {
        return Err(odd(phrase!("its image is another one")));
    }
    drop(missing);
    Ok((copy, manifest, keeping))
}

/// An ordinary file whose bytes are all there: what is sparse could be any size.
fn is_plain(entry: &tar::Entry<'_, impl Read>) -> bool {
    entry.header().entry_type() == EntryType::Regular
}

/// The same image, byte by byte, where it is in the folder already. An image that is another one must not have its id, for by that its files
/// are found.
fn known(folder: &Path, manifest: &Manifest, copy: &File) -> io::Result<Option<PathBuf>> {
    let owner = copy.metadata()?.uid();
    let elsewhere = store::kept(folder).image_of(&manifest.id);
    for path in elsewhere.iter().cloned().chain(store::images(folder)?) {
        let id = Reader::open(&path).ok().and_then(|reader| reader.section::<Origin>(SectionKind::Origin).ok());
        if id.is_none_or(|origin| origin.id != manifest.id) {
            continue;
        }
        let file = File::open(&path)?;
        let found = file.metadata()?;
        if found.uid() != owner || found.len() != manifest.size || !same(&file, copy)? {
            return Err(io::Error::other("another image has the same id"));
        }
        if path.parent() == Some(folder) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn same(one: &File, other: &File) -> io::Result<bool> {
    const STEP: usize = 1 << 20;
    let (mut left, mut right) = (vec![0; STEP], vec![0; STEP]);
    let mut at = 0;
    loop {
        let length = one.read_at(&mut left, at)?;
        if length == 0 {
            return Ok(other.read_at(&mut right, at)? == 0);
        }
        other.read_exact_at(&mut right[..length], at)?;
        if left[..length] != right[..length] {
            return Ok(false);
        }
        at += length as u64;
    }
}
