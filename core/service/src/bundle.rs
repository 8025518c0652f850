//! Bundles: an image together with the files that its group has mapped or open, for a machine that may lack them.
//!
//! A bundle is a tar archive (POSIX.1-2001 ustar, or what GNU tar makes of long sizes), so that people can look into one with what they have.
//! Its first entry says what is in it; no name of an entry is ever used as a path. What is in `core/FORMAT.md` under *Bundles* binds.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use dormouse_engine::image::kept::{ContentHash, Contents, KeptFiles, is_program};
use dormouse_engine::image::{Reader, SectionKind};
use dormouse_engine::resource::fd::kind_named;
use dormouse_engine::resource::group::Group;
use dormouse_engine::resource::named_file::NamedFile;
use dormouse_engine::resource::origin::Origin;
use dormouse_wire::dbus::Failure;
use dormouse_wire::{ByteSize, Phase, Phrase, Problem, ProblemKind, Progress, phrase};
use nix::fcntl::OFlag;
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tar::{Archive, Builder, EntryType, Header};

use crate::store;

/// What the name of a bundle ends with, without the dot.
pub const EXTENSION: &str = "dormouse-bundle";
/// The first entry.
const MANIFEST: &str = "dormouse-bundle.json";
/// The image.
const IMAGE: &str = "image.dormouse";
/// Before the hash of each file.
const OBJECTS: &str = "objects/";
/// The version of this form.
const FORMAT: u32 = 1;
/// So many bytes the first entry has at most.
const MOST: u64 = 64 << 20;

/// What is in a bundle.
#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    format: u32,
    /// What the image is called, its size in bytes, and its id.
    name: String,
    size: u64,
    id: String,
    files: Vec<Packed>,
}

/// A file in a bundle.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Packed {
    /// The bytes of its path: text where they are UTF-8, else numbers.
    path: PathAsText,
    /// BLAKE3 in hexadecimal digits.
    hash: String,
    size: u64,
    mode: u32,
}

/// Bytes of a path in JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum PathAsText {
    Text(String),
    Bytes(Vec<u8>),
}

impl PathAsText {
    fn of(path: &[u8]) -> Self {
        std::str::from_utf8(path).map_or_else(|_| Self::Bytes(path.to_vec()), |text| Self::Text(text.to_owned()))
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// What has become of a bundle that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Exported {
    /// The bundle.
    pub bundle: PathBuf,
    /// How large it is.
    pub size: ByteSize,
    /// How many files are in it beside the image.
    pub files: usize,
    /// How many working files are not, though the group has them open or mapped.
    pub working_files_left: usize,
}

const NOT_MADE: Phrase = phrase!("The bundle was not made.");
const NOT_READ: Phrase = phrase!("The bundle cannot be used.");

fn of_file(sentence: Phrase, path: &Path, error: &io::Error) -> Failure {
    let problem = Problem::blocks(ProblemKind::File, Phrase::from(error.to_string())).at(path.display().to_string());
    Failure { sentence, problems: vec![problem] }
}

/// A file to be packed, and where its bytes are.
struct Source {
    packed: Packed,
    file: File,
}

/// Makes a bundle of an image; it must not exist. Working files are packed only on request. All that cannot be packed is told, and nothing
/// is made then.
pub fn export(
    image: &Path,
    stores: &[KeptFiles],
    working_files: bool,
    bundle: &Path,
    progress: &dyn Progress,
) -> Result<Exported, Failure> {
    let failed = |error: &io::Error| of_file(NOT_MADE, bundle, error);
    let refused = |problem: Problem| Failure { sentence: NOT_MADE, problems: vec![problem] };
    let reader = Reader::open(image).map_err(|error| refused(error.problem()))?;
    let mut group: Group = reader.section(SectionKind::Group).map_err(|error| refused(error.problem()))?;
    let origin: Origin = reader.section(SectionKind::Origin).map_err(|error| refused(error.problem()))?;
    if origin.id.is_empty() {
        let what = phrase!("the image was made by an older Dormouse, and has no id by which its files would be found");
        return Err(refused(Problem::blocks(ProblemKind::Image, what).at(image.display().to_string())));
    }
    let found = collected(&mut group, stores, working_files);
    if !found.problems.is_empty() {
        return Err(Failure { sentence: NOT_MADE, problems: found.problems });
    }
    let mut file = File::open(image).map_err(|error| of_file(NOT_MADE, image, &error))?;
    let size = file.metadata().map_err(|error| of_file(NOT_MADE, image, &error))?.len();
    let name = image.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let manifest = Manifest {
        format: FORMAT,
        name,
        size,
        id: origin.id,
        files: found.files.iter().map(|source| source.packed.clone()).collect(),
    };
    let manifest = serde_json::to_vec_pretty(&manifest).map_err(|error| failed(&error.into()))?;
    let mut objects: BTreeMap<String, Source> = BTreeMap::new();
    for source in found.files {
        objects.entry(source.packed.hash.clone()).or_insert(source);
    }
    progress.begins(Phase::Writing, size + objects.values().map(|source| source.packed.size).sum::<u64>());
    let folder = bundle.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made =
        tempfile::Builder::new().prefix(".dormouse-partial-").tempfile_in(folder).map_err(|error| failed(&error))?;
    let files = objects.len();
    let mut write = || -> io::Result<()> {
        let mut builder = Builder::new(io::BufWriter::new(made.as_file()));
        entry(&mut builder, MANIFEST, 0o600, manifest.len() as u64, &mut manifest.as_slice())?;
        for (hash, source) in &mut objects {
            let mut watched = Watched { file: &mut source.file, progress };
            entry(&mut builder, &format!("{OBJECTS}{hash}"), source.packed.mode, source.packed.size, &mut watched)?;
        }
        entry(&mut builder, IMAGE, 0o600, size, &mut Watched { file: &mut file, progress })?;
        builder.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    };
    write().map_err(|error| failed(&error))?;
    let size = made.as_file().metadata().map_err(|error| failed(&error))?.len();
    made.persist_noclobber(bundle).map_err(|error| failed(&error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(&error))?;
    Ok(Exported { bundle: bundle.to_owned(), size: ByteSize(size), files, working_files_left: found.left })
}

fn entry(builder: &mut Builder<impl Write>, name: &str, mode: u32, size: u64, from: &mut impl Read) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode & 0o777);
    header.set_size(size);
    let mut counted = from.take(size);
    builder.append_data(&mut header, name, &mut counted)?;
    // A file that has become shorter would make the rest of the archive another one.
    if counted.limit() > 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Tells of what is read, and ends it when it is not wanted any more.
struct Watched<'a> {
    file: &'a mut File,
    progress: &'a dyn Progress,
}

impl Read for Watched<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.progress.cancelled() {
            return Err(io::Error::other("it was cancelled"));
        }
        let read = self.file.read(bytes)?;
        self.progress.moved(read as u64);
        Ok(read)
    }
}

/// What is to be packed.
#[derive(Default)]
struct Found {
    files: Vec<Source>,
    problems: Vec<Problem>,
    left: usize,
}

fn collected(group: &mut Group, stores: &[KeptFiles], working_files: bool) -> Found {
    let mut found = Found::default();
    for file in group.mapped_files.iter().filter(|file| !file.is_deep()) {
        let is_working = file.kept.is_none()
            && (file.writable || File::open(file.path()).is_ok_and(|opened| !is_program(&file.path(), &opened)));
        if is_working && !working_files {
            found.left += 1;
        } else {
            found.take(file, stores, true);
        }
    }
    for file in group.open_files.iter_mut().filter(|file| file.mounts.is_none()) {
        let Ok(kind) = kind_named(file) else { continue };
        kind.with_named_file(file, &mut |named| {
            if named.mode & libc_type() != regular() || named.modified.is_none() || named.is_deep() {
                return;
            }
            if working_files {
                found.take(named, stores, false);
            } else {
                found.left += 1;
            }
        });
    }
    found.problems.sort();
    found.problems.dedup();
    found
}

/// S_IFMT.
fn libc_type() -> u32 {
    nix::sys::stat::SFlag::S_IFMT.bits()
}

/// S_IFREG.
fn regular() -> u32 {
    nix::sys::stat::SFlag::S_IFREG.bits()
}

impl Found {
    /// The copy that was kept at the freeze; where there is none, the file itself, if it is still what it was.
    fn take(&mut self, file: &NamedFile, stores: &[KeptFiles], exact: bool) {
        if self.files.iter().any(|source| source.packed.path.clone().bytes() == *file.path) {
            return;
        }
        let kept = file.kept.and_then(|hash| Some((hash, stores.iter().find_map(|store| store.open(hash).ok())?)));
        let source = match kept {
            Some(kept) => Ok(kept),
            None => itself(file, exact),
        };
        let source = source.and_then(|(hash, mut opened)| {
            opened.seek(SeekFrom::Start(0)).map_err(|error| told(file, &error))?;
            let size = opened.metadata().map_err(|error| told(file, &error))?.len();
            let path = PathAsText::of(&file.path);
            Ok(Source { packed: Packed { path, hash: hash.to_string(), size, mode: file.mode & 0o777 }, file: opened })
        });
        match source {
            Ok(source) => self.files.push(source),
            Err(problem) => self.problems.push(problem),
        }
    }
}

fn told(file: &NamedFile, error: &io::Error) -> Problem {
    let what = phrase!("the file cannot be packed: {why}", why = error);
    Problem::blocks(ProblemKind::File, what).at(file.shown())
}

fn itself(file: &NamedFile, exact: bool) -> Result<(ContentHash, File), Problem> {
    if let Some(problem) = file.check(exact).into_iter().next() {
        let what = phrase!("no copy of it was kept, and {what}", what = problem.what);
        let problem = Problem::blocks(ProblemKind::File, what).at(file.shown());
        return Err(problem.way_out(phrase!("Put the old file back, then export again")));
    }
    let mut opened = File::open(file.path()).map_err(|error| told(file, &error))?;
    let hash = ContentHash::of(&mut opened).map_err(|error| told(file, &error))?;
    Ok((hash, opened))
}

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
            fchown(copy.as_file(), Some(found.uid()), Some(found.gid()))?;
            copy.as_file().set_permissions(Permissions::from_mode(0o600 | found.mode() & 0o022))?;
        }
        copy.as_file().sync_all()?;
        let place = known(folder, &manifest, copy.as_file())?.unwrap_or_else(|| store::named(folder, &manifest.name));
        let contents = contents(&manifest);
        keeping.refer(&manifest.id, &place, contents)?;
        if !place.exists() {
            copy.persist_noclobber(&place).map_err(|error| error.error)?;
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

type Unpacked = (tempfile::NamedTempFile, Manifest, dormouse_engine::image::kept::Keeping);

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
    let mut archive = Archive::new(io::BufReader::with_capacity(1 << 20, file));
    let mut entries = archive.entries()?;
    let first = entries.next().ok_or_else(|| odd(phrase!("it is empty")))??;
    let manifest = manifest(first)?;
    let wanted: BTreeMap<&str, &Packed> = manifest.files.iter().map(|file| (file.hash.as_str(), file)).collect();
    let keeping = store::kept(folder).begin()?;
    let copy = tempfile::Builder::new().prefix(".import-").tempfile_in(folder)?;
    let mut missing: BTreeMap<&str, &Packed> = wanted.clone();
    let mut is_whole = false;
    for entry in entries {
        let mut entry = entry?;
        if progress.cancelled() {
            return Err(Odd::System(io::Error::other("it was cancelled")));
        }
        if !is_plain(&entry) {
            return Err(odd(phrase!("something in it is no ordinary file")));
        }
        let (name, size) = (entry.path_bytes().into_owned(), entry.size());
        progress.moved(size);
        if name == IMAGE.as_bytes() && size == manifest.size && !is_whole {
            is_whole = io::copy(&mut entry, &mut copy.as_file())? == size;
            continue;
        }
        let hash = name.strip_prefix(OBJECTS.as_bytes()).and_then(|name| std::str::from_utf8(name).ok());
        let packed = hash.and_then(|hash| missing.remove(hash)).filter(|packed| packed.size == size);
        let hash = packed.and_then(|packed| ContentHash::parse(&packed.hash));
        let (Some(packed), Some(hash)) = (packed, hash) else {
            return Err(odd(phrase!("something is in it that it does not name")));
        };
        if !keeping.need(hash, size) && !keeping.take(&mut entry, hash, packed.mode)? {
            return Err(odd(phrase!("a file in it is not the one that it should be")));
        }
    }
    if !is_whole || !missing.is_empty() {
        return Err(odd(phrase!("something is missing, it has been cut")));
    }
    let reader = Reader::open(copy.path()).map_err(|error| Odd::Form(error.problem().what))?;
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

/// The same image, byte by byte, where it is in the folder already.
fn known(folder: &Path, manifest: &Manifest, copy: &File) -> io::Result<Option<PathBuf>> {
    for path in store::images(folder)? {
        let is_it = || -> io::Result<bool> {
            let file = File::open(&path)?;
            Ok(file.metadata()?.len() == manifest.size && same(&file, copy)?)
        };
        // One that cannot be read is another one.
        if is_it().unwrap_or(false) {
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
