//! Taking a bundle apart.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use dormouse_engine::image::kept::{ContentHash, Contents, Keeping};
use dormouse_engine::image::{Reader, SectionKind};
use dormouse_engine::resource::origin::Origin;
use dormouse_wire::dbus::Failure;
use dormouse_wire::{Phase, Problem, ProblemKind, Progress, phrase};
use nix::fcntl::OFlag;
use nix::unistd::Uid;
use serde_bytes::ByteBuf;
use tar::Archive;

use super::parts::{self, NOT_READ, Odd, Part, cut, odd};
use super::{MANIFEST, Manifest, Watched, of_file};
use crate::copying::{self, Unfinished};
use crate::store;

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
    // What others have left here that were killed is as large as their images.
    copying::sweep(folder);
    progress.begins(Phase::Reading, found.len());
    let unpacked = taken_apart(file, folder, progress);
    let (copy, manifest, keeping) = unpacked.map_err(|odd| {
        // What had been taken of it is nobody's.
        store::sweep(folder);
        in_words(odd, bundle, folder)
    })?;
    let put = || -> io::Result<PathBuf> {
        // Whoever made the bundle is who made the image, and no more than that is trusted.
        if Uid::effective().is_root() {
            fchown(&copy.file, Some(found.uid()), Some(found.gid()))?;
            copy.file.set_permissions(Permissions::from_mode(0o600 | found.mode() & 0o022))?;
        }
        copy.file.sync_all()?;
        let known = known(folder, &manifest, &File::open(&copy.hidden)?)?;
        if let Some(place) = known {
            keeping.refer(&manifest.id, &place, contents(&manifest))?;
            return Ok(place);
        }
        loop {
            let place = store::named(folder, &manifest.name);
            keeping.refer(&manifest.id, &place, contents(&manifest))?;
            // Not a rename: nothing that is there is ever replaced.
            match fs::hard_link(&copy.hidden, &place) {
                // Somebody else has taken the name meanwhile.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                answer => {
                    answer?;
                    File::open(folder)?.sync_all()?;
                    return Ok(place);
                }
            }
        }
    };
    let placed = put();
    drop(keeping);
    placed.map_err(|error| {
        store::sweep(folder);
        in_words(error.into(), folder, folder)
    })
}

/// That there is no room is no fault of the bundle's.
fn in_words(odd: Odd, bundle: &Path, folder: &Path) -> Failure {
    match odd {
        Odd::System(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            let what = phrase!("there is no room for what is in the bundle: {why}", why = error);
            let problem = Problem::blocks(ProblemKind::Space, what).at(folder.display().to_string());
            let way_out = phrase!("Free space on that disk, or choose a folder on another one");
            Failure { sentence: NOT_READ, problems: vec![problem.way_out(way_out)] }
        }
        Odd::System(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => of_file(NOT_READ, folder, &error),
        odd => odd.failure(bundle),
    }
}

fn contents(manifest: &Manifest) -> Contents {
    // Outside of its sandbox a path may be that of another file.
    let named = manifest.files.iter().filter(|file| !file.within).cloned();
    named.filter_map(|file| Some((ByteBuf::from(file.path.bytes()), ContentHash::parse(&file.hash)?))).collect()
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

fn taken_apart(file: &File, folder: &Path, progress: &dyn Progress) -> Result<Unpacked, Odd> {
    let mut file = file.try_clone()?;
    let mut archive = Archive::new(io::BufReader::with_capacity(1 << 20, Watched { file: &mut file, progress }));
    // As they are: what extends the next entry could have any size, and no name here needs it.
    let mut entries = archive.entries()?.raw(true);
    let manifest = parts::manifest(&mut entries)?;
    let keeping = store::kept(folder).begin()?;
    let copy = Copy::begin(folder)?;
    parts::each(&manifest, entries, &mut |part, entry| match part {
        Part::Image if io::copy(entry, &mut &copy.file)? == manifest.size => Ok(()),
        Part::Image => Err(cut()),
        Part::File(packed, hash) if keeping.need(hash) || keeping.take(entry, hash, packed.mode)? => Ok(()),
        Part::File(..) => Err(odd(phrase!("a file in it is not the one that it should be"))),
    })?;
    let reader = Reader::open(&copy.hidden).map_err(|error| Odd::Form(error.problem().what))?;
    let origin: Origin = reader.section(SectionKind::Origin).map_err(|error| Odd::Form(error.problem().what))?;
    if origin.id != manifest.id {
        return Err(odd(phrase!("its image is another one")));
    }
    Ok((copy, manifest, keeping))
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
