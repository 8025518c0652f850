//! Making a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use dormouse_engine::Asker;
use dormouse_engine::image::kept::{ContentHash, KeptFiles, is_program};
use dormouse_engine::image::{Aside, ImageError, Reader, SectionKind};
use dormouse_engine::resource::fd::kind_named;
use dormouse_engine::resource::group::Group;
use dormouse_engine::resource::likeness::Likeness;
use dormouse_engine::resource::named_file::NamedFile;
use dormouse_engine::resource::namespace::Namespaces;
use dormouse_engine::resource::origin::Origin;
use dormouse_wire::dbus::Failure;
use dormouse_wire::{ByteSize, Phase, Phrase, Problem, ProblemKind, Progress, phrase};
use nix::fcntl::OFlag;
use nix::unistd::Uid;
use serde::Serialize;
use tar::{Builder, EntryType, Header};

use super::{FORMAT, IMAGE, MANIFEST, Manifest, OBJECTS, Packed, PathAsText, Watched, of_file};

const NOT_MADE: Phrase = phrase!("The bundle was not made.");

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
    let packing = Packing::of(image, stores, working_files)?;
    let (files, left) = (packing.objects.len(), packing.left);
    packing.write(bundle, progress).map_err(|unwritten| match unwritten {
        Unwritten::System(error) => failed(&error),
        Unwritten::Told(problem) => Failure { sentence: NOT_MADE, problems: vec![*problem] },
    })?;
    let size = bundle.metadata().map_err(|error| failed(&error))?.len();
    Ok(Exported { bundle: bundle.to_owned(), size: ByteSize(size), files, working_files_left: left })
}

/// The same into a file that is open, and is no bundle before this has ended well.
pub fn export_into(
    image: &Path,
    stores: &[KeptFiles],
    working_files: bool,
    bundle: &File,
    progress: &dyn Progress,
) -> Result<Exported, Failure> {
    let mut packing = Packing::of(image, stores, working_files)?;
    let (files, left) = (packing.objects.len(), packing.left);
    let size = packing.write_into(bundle, progress).and_then(|()| Ok(bundle.metadata()?.len()));
    let size = size.map_err(|unwritten| {
        let problem = match unwritten {
            Unwritten::System(error) => {
                Problem::blocks(ProblemKind::File, phrase!("the bundle cannot be written: {why}", why = error))
            }
            Unwritten::Told(problem) => *problem,
        };
        Failure { sentence: NOT_MADE, problems: vec![problem] }
    })?;
    Ok(Exported { bundle: PathBuf::new(), size: ByteSize(size), files, working_files_left: left })
}

/// Why a bundle was not written.
#[derive(Debug)]
enum Unwritten {
    System(io::Error),
    /// This stands in the way: a file that is not what it was when the bundle was begun, or a name that is taken.
    Told(Box<Problem>),
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<ImageError> for Unwritten {
    fn from(error: ImageError) -> Self {
        Self::Told(Box::new(error.problem()))
    }
}

/// All that goes into a bundle.
struct Packing {
    manifest: Vec<u8>,
    objects: BTreeMap<String, Source>,
    image: (File, u64),
    /// Whose the image is.
    owner: Metadata,
    /// How many working files are not among it.
    left: usize,
}

impl Packing {
    fn of(image: &Path, stores: &[KeptFiles], working_files: bool) -> Result<Self, Failure> {
        let refused = |problem: Problem| Failure { sentence: NOT_MADE, problems: vec![problem] };
        let unread = |error: &io::Error| of_file(NOT_MADE, image, error);
        let reader = Reader::open(image).map_err(|error| refused(error.problem()))?;
        let mut group: Group = reader.section(SectionKind::Group).map_err(|error| refused(error.problem()))?;
        let origin: Origin = reader.section(SectionKind::Origin).map_err(|error| refused(error.problem()))?;
        if origin.id.is_empty() {
            let what =
                phrase!("the image was made by an older Dormouse, and has no id by which its files would be found");
            return Err(refused(Problem::blocks(ProblemKind::Image, what).at(image.display().to_string())));
        }
        let owner = reader.metadata().map_err(|error| unread(&error))?;
        let own: Option<Namespaces> =
            reader.optional_section(SectionKind::Namespaces).map_err(|error| refused(error.problem()))?;
        let has_own_mounts = own.is_some_and(|own| own.own.iter().any(|kind| kind == "mnt"));
        let needed = |store: &&KeptFiles| -> BTreeSet<ContentHash> { store.needed(&origin.id).into_iter().collect() };
        let stores: Vec<_> = stores.iter().map(|store| (store, needed(&store))).collect();
        // Whoever wrote the image may have written any name into it: nobody packs through it what he may not read.
        let reader = (owner.uid() != 0).then(|| Asker { user: owner.uid(), group: owner.gid(), groups: Vec::new() });
        let found = collected(&mut group, &Sources { stores, reader, has_own_mounts }, working_files);
        if !found.problems.is_empty() {
            return Err(Failure { sentence: NOT_MADE, problems: found.problems });
        }
        let file = File::open(image).map_err(|error| unread(&error))?;
        let size = file.metadata().map_err(|error| unread(&error))?.len();
        let name = image.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let manifest = Manifest {
            format: FORMAT,
            name,
            size,
            id: origin.id,
            files: found.files.iter().map(|source| source.packed.clone()).collect(),
        };
        let manifest = serde_json::to_vec_pretty(&manifest).map_err(|error| unread(&error.into()))?;
        let mut objects: BTreeMap<String, Source> = BTreeMap::new();
        for source in found.files {
            objects.entry(source.packed.hash.clone()).or_insert(source);
        }
        Ok(Self { manifest, objects, image: (file, size), owner, left: found.left })
    }

    /// Writes it into a file that gets its name when it is whole.
    fn write(mut self, bundle: &Path, progress: &dyn Progress) -> Result<(), Unwritten> {
        let made = Aside::create(bundle)?;
        // A tar archive is written in pieces of any size.
        made.stop_direct();
        // It is trusted as far as the image is, and no further.
        if Uid::effective().is_root() {
            fchown(made.file(), Some(self.owner.uid()), Some(self.owner.gid()))?;
            made.file().set_permissions(Permissions::from_mode(0o600 | self.owner.mode() & 0o022))?;
        }
        self.write_into(made.file(), progress)?;
        Ok(made.publish()?)
    }

    fn write_into(&mut self, file: &File, progress: &dyn Progress) -> Result<(), Unwritten> {
        let bytes: u64 = self.objects.values().map(|source| source.packed.size).sum();
        progress.begins(Phase::Writing, self.image.1 + bytes);
        let mut builder = Builder::new(io::BufWriter::new(file));
        entry(&mut builder, MANIFEST, 0o600, self.manifest.len() as u64, &mut self.manifest.as_slice())?;
        for (hash, source) in &mut self.objects {
            let mut hashed =
                Hashed { watched: Watched { file: &mut source.file, progress }, hasher: blake3::Hasher::new() };
            let (name, size) = (format!("{OBJECTS}{hash}"), source.packed.size);
            let is_whole = match entry(&mut builder, &name, source.packed.mode, size, &mut hashed) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
                answer => answer.map(|()| true)?,
            };
            // Somebody works on it: what is in the bundle would be refused where it is woken.
            if !is_whole || ContentHash::from(&hashed.hasher).to_string() != *hash {
                return Err(Unwritten::Told(Box::new(source.changed())));
            }
        }
        let (image, size) = &mut self.image;
        entry(&mut builder, IMAGE, 0o600, *size, &mut Watched { file: image, progress })?;
        Ok(builder.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?)
    }
}

impl Source {
    fn of(file: &NamedFile, hash: ContentHash, mut opened: File, within: bool) -> Result<Self, Problem> {
        opened.seek(SeekFrom::Start(0)).map_err(|error| told(file, &error))?;
        let size = opened.metadata().map_err(|error| told(file, &error))?.len();
        let (path, hash, mode) = (PathAsText::of(&file.path), hash.to_string(), file.mode & 0o777);
        Ok(Self { packed: Packed { path, hash, size, mode, within }, file: opened })
    }

    fn changed(&self) -> Problem {
        let path = String::from_utf8_lossy(&self.packed.path.clone().bytes()).into_owned();
        Problem::blocks(ProblemKind::File, phrase!("the file was changed while it was packed"))
            .at(path)
            .way_out(phrase!("Export again when nobody works on it"))
    }
}

/// Hashes what is read.
struct Hashed<'a> {
    watched: Watched<'a>,
    hasher: blake3::Hasher,
}

impl Read for Hashed<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.watched.read(bytes)?;
        self.hasher.update(bytes.get(..read).unwrap_or_default());
        Ok(read)
    }
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

/// Where the bytes of files are looked for.
struct Sources<'a> {
    /// Stores, with what the image needs of each.
    stores: Vec<(&'a KeptFiles, BTreeSet<ContentHash>)>,
    /// With whose rights files themselves are read; none: those of whoever has them open or mapped.
    reader: Option<Asker>,
    /// The whole group lives among mounts of its own.
    has_own_mounts: bool,
}

impl Sources<'_> {
    /// Whether a file lies among other mounts than ours, where nothing but its copy can be found.
    fn is_within(&self, file: &NamedFile) -> bool {
        file.mounts.is_some() || self.has_own_mounts && !file.outside
    }

    /// The copy that was kept.
    fn kept(&self, hash: ContentHash) -> Option<File> {
        let mut stores = self.stores.iter().filter(|(_, needed)| needed.contains(&hash));
        stores.find_map(|(store, _)| store.open(hash).ok())
    }

    /// Whether a mapped file is none of a package's, by its copy or by itself.
    fn is_working(&self, file: &NamedFile) -> bool {
        let copied = file.kept.and_then(|hash| {
            let mut stores = self.stores.iter().filter(|(_, needed)| needed.contains(&hash));
            stores.find_map(|(store, _)| store.is_program(hash, &file.path()).ok())
        });
        let is_one = || copied.map_or_else(|| Ok(is_program(&file.path(), &self.open(file)?)), Ok::<_, io::Error>);
        file.writable || is_one().is_ok_and(|is_program| !is_program)
    }

    /// The file itself, if it is an ordinary one.
    fn open(&self, file: &NamedFile) -> io::Result<File> {
        let owner = &file.owner;
        let owner = Asker { user: owner.user, group: owner.group, groups: owner.groups.clone() };
        let acting = self.reader.as_ref().unwrap_or(&owner).acting();
        let _acting = acting.map_err(|problem| io::Error::other(problem.what.to_string()))?;
        let flags = (OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY).bits();
        if !file.path().symlink_metadata()?.is_file() {
            return Err(io::Error::other("it is not an ordinary file"));
        }
        File::options().read(true).custom_flags(flags).open(file.path())
    }
}

/// What is to be packed.
#[derive(Default)]
struct Found {
    files: Vec<Source>,
    problems: Vec<Problem>,
    left: usize,
}

fn collected(group: &mut Group, sources: &Sources<'_>, working_files: bool) -> Found {
    let mut found = Found::default();
    let (within, others): (Vec<_>, Vec<_>) = group.mapped_files.iter().partition(|file| sources.is_within(file));
    for file in others {
        if !working_files && sources.is_working(file) {
            found.left += 1;
        } else {
            found.take(file, sources, true);
        }
    }
    for file in within {
        found.take_within(file, sources);
    }
    for file in group.open_files.iter_mut().filter(|file| file.mounts.is_none()) {
        let Ok(kind) = kind_named(file) else { continue };
        kind.with_named_file(file, &mut |named| {
            if named.mode & libc_type() != regular() || named.modified.is_none() {
                return;
            }
            if working_files && !sources.is_within(named) {
                found.take(named, sources, false);
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
    fn take(&mut self, file: &NamedFile, sources: &Sources<'_>, exact: bool) {
        // A copy that has taken the place of a file has its name, and so has the file.
        let is_this = |hash: &str| file.kept.is_none_or(|kept| kept.to_string() == hash);
        let is_it =
            |packed: &Packed| packed.path.clone().bytes() == *file.path && is_this(&packed.hash) && !packed.within;
        if self.files.iter().any(|source| is_it(&source.packed)) {
            return;
        }
        let kept = file.kept.and_then(|hash| Some((hash, sources.kept(hash)?)));
        let source = match kept {
            Some(kept) => Ok(kept),
            None => itself(file, sources, exact),
        };
        let source = source.and_then(|(hash, opened)| Source::of(file, hash, opened, false));
        match source {
            Ok(source) => self.files.push(source),
            Err(problem) => self.problems.push(problem),
        }
    }

    /// The copy that was kept of a file within a sandbox.
    fn take_within(&mut self, file: &NamedFile, sources: &Sources<'_>) {
        let Some(hash) = file.kept else {
            if file.likeness.as_ref().is_some_and(Likeness::is_program) {
                let what = phrase!("no copy of it was kept, and within its sandbox it is not looked for");
                let problem = Problem::blocks(ProblemKind::File, what).at(file.shown());
                let way_out = phrase!("Thaw it, freeze it again without --keep none, then export again");
                self.problems.push(problem.way_out(way_out));
            }
            return;
        };
        let is_it = |packed: &Packed| {
            packed.within && packed.path.clone().bytes() == *file.path && packed.hash == hash.to_string()
        };
        if self.files.iter().any(|source| is_it(&source.packed)) {
            return;
        }
        let kept = sources.kept(hash).ok_or_else(|| {
            let what = phrase!("the copy of it that was kept is not there any more");
            let problem = Problem::blocks(ProblemKind::File, what).at(file.shown());
            problem.way_out(phrase!("Put the image back into the folder that it was made in, then export again"))
        });
        match kept.and_then(|opened| Source::of(file, hash, opened, true)) {
            Ok(source) => self.files.push(source),
            Err(problem) => self.problems.push(problem),
        }
    }
}

fn told(file: &NamedFile, error: &io::Error) -> Problem {
    let what = phrase!("the file cannot be packed: {why}", why = error);
    Problem::blocks(ProblemKind::File, what).at(file.shown())
}

fn itself(file: &NamedFile, sources: &Sources<'_>, exact: bool) -> Result<(ContentHash, File), Problem> {
    if let Some(problem) = file.check(exact).into_iter().next() {
        let what = phrase!("no copy of it was kept, and {what}", what = problem.what);
        let problem = Problem::blocks(ProblemKind::File, what).at(file.shown());
        return Err(problem.way_out(phrase!("Put the old file back, then export again")));
    }
    let mut opened = sources.open(file).map_err(|error| told(file, &error))?;
    let hash = ContentHash::of(&mut opened).map_err(|error| told(file, &error))?;
    Ok((hash, opened))
}

#[cfg(test)]
mod tests {
    use dormouse_wire::Quiet;

    use super::*;

    /// A bundle of one file, which is to have this content, and has this.
    fn written(meant: &[u8], now: &[u8]) -> (Result<(), Unwritten>, bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("a file");
            File::open(path).expect("it is there")
        };
        let hash = ContentHash::of(&mut &meant[..]).expect("bytes can be read").to_string();
        let path = PathAsText::of(b"/work");
        let packed = Packed { path, hash: hash.clone(), size: meant.len() as u64, mode: 0o600, within: false };
        let image = file("image", b"image");
        let owner = image.metadata().expect("it is there");
        let objects = [(hash, Source { packed, file: file("work", now) })].into();
        let packing = Packing { manifest: Vec::new(), objects, image: (image, 5), owner, left: 0 };
        let bundle = folder.path().join("bundle");
        let written = packing.write(&bundle, &Quiet);
        (written, bundle.exists())
    }

    #[test]
    fn what_changes_while_it_is_packed_is_told_and_makes_no_bundle() {
        assert!(matches!(written(b"abc", b"abc"), (Ok(()), true)));
        for now in [&b"abd"[..], b"ab"] {
            let (changed, is_there) = written(b"abc", now);
            let named = |problem: &Problem| problem.resource.as_ref().is_some_and(|at| *at == "/work");
            assert!(matches!(&changed, Err(Unwritten::Told(problem)) if named(problem)) && !is_there, "{changed:?}");
        }
    }
}
