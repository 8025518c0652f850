//! Copies of the programs and libraries that groups had in their memory, kept beside the images: what an image says of such a file
//! are its name and what the group has changed in it, and a package that is upgraded while the group sleeps takes the rest away.
//!
//! A store addressed by content, the same for all images of a folder: a file is kept once, under the BLAKE3 of all its bytes, and
//! shares its blocks with the original where the filesystem can do that (FICLONE, ioctl_ficlone(2)). Each image refers to what it
//! needs, and what none refers to any more is removed.
//!
//! ```text
//! kept/lock              held by whoever adds (shared) or removes (alone)
//! kept/objects/HASH      the files
//! kept/seen/STAT         a link to HASH: a file with this device, inode, size and times has been hashed before
//! kept/images/ID         which files the image with this id needs, and where it lies
//! kept/shown/HASH/PATH   the object once more under the name that programs know it by, once it is mapped
//! ```

mod keep;
mod shown;
mod sweep;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::kernel::outside;

pub use keep::{Keeping, Want};
pub use sweep::Swept;

/// What the folder is called beside the images.
pub const FOLDER: &str = "kept";

/// BLAKE3 of all bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentHash(ByteArray<32>);

impl ContentHash {
    /// That of all that can be read.
    pub fn of(reader: &mut impl Read) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        io::copy(reader, &mut hasher)?;
        Ok(Self::from(&hasher))
    }

    /// The one that is written so: 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|hash| Self(ByteArray::new(*hash.as_bytes())))
    }
}

impl From<&blake3::Hasher> for ContentHash {
    fn from(hasher: &blake3::Hasher) -> Self {
        Self(ByteArray::new(*hasher.finalize().as_bytes()))
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&blake3::Hash::from_bytes(*self.0).to_hex())
    }
}

/// Files by their paths.
pub type Contents = BTreeMap<ByteBuf, ContentHash>;

/// What an image needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reference {
    /// Where it was made.
    image: ByteBuf,
    /// The files.
    files: Vec<ContentHash>,
    /// Which of them was which file by its path, where the image itself does not say so: it came in a bundle.
    #[serde(default, skip_serializing_if = "Contents::is_empty")]
    contents: Contents,
    /// Since when it is not there any more, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missed: Option<u64>,
}

/// The files that are kept in a folder. It is looked for where this thread stands: within a sandbox, go outside first
/// ([`outside::standing`](crate::kernel::outside::standing)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFiles {
    folder: PathBuf,
}

impl KeptFiles {
    /// Those in this folder, which need not exist.
    pub fn at(folder: &Path) -> Self {
        let folder = outside::known().map_or_else(|| folder.to_owned(), |outside| outside.absolute(folder));
        Self { folder }
    }

    /// Those of the images in this folder.
    pub fn beside(images: &Path) -> Self {
        Self::at(&images.join(FOLDER))
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn objects(&self) -> PathBuf {
        self.folder.join("objects")
    }

    fn seen(&self) -> PathBuf {
        self.folder.join("seen")
    }

    fn images(&self) -> PathBuf {
        self.folder.join("images")
    }

    /// Where the file with this content is, if it is kept.
    pub fn object(&self, hash: ContentHash) -> PathBuf {
        self.objects().join(hash.to_string())
    }

    /// Whether a file of this size is kept under this name; its bytes are not looked at.
    fn has(&self, hash: ContentHash, size: u64) -> bool {
        self.object(hash).symlink_metadata().is_ok_and(|found| found.is_file() && found.len() == size)
    }

    /// The file with this content, each byte of it checked.
    pub fn open(&self, hash: ContentHash) -> io::Result<File> {
        let mut file = self.open_unchecked(hash)?;
        let found = ContentHash::of(&mut file)?;
        if found != hash {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged: its hash is another one"));
        }
        Ok(file)
    }

    fn open_unchecked(&self, hash: ContentHash) -> io::Result<File> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let file = File::options().read(true).custom_flags(flags).open(self.object(hash))?;
        let (found, owner) = (file.metadata()?, self.owner()?);
        // Whoever else could write to it could change the program while it runs.
        if !found.is_file() || found.uid() != owner.0 || found.mode() & 0o022 != 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is not an ordinary file of the store's owner alone",
            ));
        }
        Ok(file)
    }

    /// Whether the file with this content, which had this name, is one that comes and goes with packages. Its bytes are not checked.
    pub fn is_program(&self, hash: ContentHash, path: &Path) -> io::Result<bool> {
        self.open_unchecked(hash).map(|file| is_program(path, &file))
    }

    /// Whether nothing in it may be run: it lies on a disk that is mounted so, mount(8), noexec.
    pub fn cannot_be_run(&self) -> bool {
        let found = nix::sys::statvfs::statvfs(&self.folder);
        found.is_ok_and(|found| found.flags().contains(nix::sys::statvfs::FsFlags::ST_NOEXEC))
    }

    /// Whose the store is.
    pub fn owner(&self) -> io::Result<(u32, u32)> {
        let found = self.folder.symlink_metadata()?;
        Ok((found.uid(), found.gid()))
    }

    /// Waits for a moment until nobody removes, or (alone) nobody adds.
    fn lock(&self, how: FlockArg) -> io::Result<Flock<File>> {
        const MOMENT: Duration = Duration::from_secs(3);
        let end = Instant::now() + MOMENT;
        loop {
            match self.try_lock(how) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                lock => return lock,
            }
        }
    }

    fn try_lock(&self, how: FlockArg) -> io::Result<Flock<File>> {
        let path = self.folder.join("lock");
        let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let options = &mut File::options();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        Flock::lock(file.open(path)?, how).map_err(|(_, errno)| errno.into())
    }

    /// What the image with this id needs.
    pub fn needed(&self, id: &str) -> Vec<ContentHash> {
        self.reference(id).ok().flatten().map(|reference| reference.files).unwrap_or_default()
    }

    /// Which files were which by their paths, as whoever brought the image with this id has said.
    pub fn contents(&self, id: &str) -> Contents {
        self.reference(id).ok().flatten().map(|reference| reference.contents).unwrap_or_default()
    }

    /// Where the image with this id was when it was made or came.
    pub fn image_of(&self, id: &str) -> Option<PathBuf> {
        let reference = self.reference(id).ok().flatten()?;
        Some(PathBuf::from(OsStr::from_bytes(&reference.image)))
    }

    /// What is written down of the image with this id, if anything is. One that cannot be read is not none.
    fn reference(&self, id: &str) -> io::Result<Option<Reference>> {
        // Ids are made of these, and a path is none.
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(None);
        }
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = match File::options().read(true).custom_flags(flags).open(self.images().join(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        ciborium::from_reader(io::BufReader::new(file)).map(Some).map_err(io::Error::other)
    }

    /// Writes down what an image needs, before it is there.
    fn refer(&self, id: &str, reference: &Reference) -> io::Result<()> {
        let folder = self.images();
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        let mut bytes = Vec::new();
        ciborium::into_writer(reference, &mut bytes).map_err(io::Error::other)?;
        // Half a reference would take the files of its image along: a full disk is told here.
        file.write_all(&bytes)?;
        file.as_file().sync_all()?;
        file.persist(folder.join(id)).map_err(|error| error.error)?;
        File::open(&folder)?.sync_all()
    }

    /// The image with this id is not there any more: what only it needed is removed.
    pub fn forget(&self, id: &str) -> io::Result<()> {
        if id.is_empty() || id.contains(['/', '.']) {
            return Ok(());
        }
        match std::fs::remove_file(self.images().join(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            answer => answer,
        }
    }
}

/// Where packages put things.
const OF_PACKAGES: [&str; 12] = [
    "/usr",
    "/opt",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/snap",
    "/var/lib/flatpak",
    "/var/cache/fontconfig",
];

/// Whether a mapped file is one that comes and goes with packages: a program, a library, and whatever else lies where packages put things.
pub fn is_program(path: &Path, file: &File) -> bool {
    let mut magic = [0; 4];
    OF_PACKAGES.iter().any(|folder| path.starts_with(folder))
        || file.read_exact_at(&mut magic, 0).is_ok() && (magic == *b"\x7fELF" || magic.starts_with(b"MZ"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = ContentHash::of(&mut &b"abc"[..]).expect("bytes can be read");
        let shown = hash.to_string();
        assert_eq!(shown, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
        assert_eq!(ContentHash::parse(&shown), Some(hash));
        for odd in ["", "6437", "../../etc/passwd", &shown.replace('6', "g")] {
            assert_eq!(ContentHash::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_nobody_needs_is_removed_and_what_is_only_missed_waits() {
        let images = tempfile::tempdir().expect("a folder");
        let kept = KeptFiles::beside(images.path());
        let keeping = kept.begin().expect("it begins");
        let hashes = [&b"lost"[..], b"missed", b"gone for long"].map(|text| {
            let hash = ContentHash::of(&mut &text[..]).expect("bytes can be read");
            assert!(keeping.take(&mut &text[..], hash, 0o755).expect("it is taken"));
            hash
        });
        drop(keeping);
        let refer = |id: &str, file, missed| {
            let image = ByteBuf::from(images.path().join("x.dormouse").into_os_string().into_encoded_bytes());
            kept.refer(id, &Reference { image, files: vec![file], contents: Contents::new(), missed })
        };
        refer("missed", hashes[1], None).expect("it is written");
        refer("gone", hashes[2], Some(1000)).expect("it is written");
        assert_eq!(kept.sweep(images.path()).expect("it is swept").files, 2);
        assert_eq!(hashes.map(|hash| kept.open(hash).is_ok()), [false, true, false]);
        // A reference that cannot be read may name anything.
        fs::write(kept.images().join("odd"), "").expect("a file");
        kept.deleted("missed", images.path()).expect("it is deleted");
        assert!(kept.sweep(images.path()).is_err() && kept.open(hashes[1]).is_ok());
        fs::remove_file(kept.images().join("odd")).expect("it was there");
        assert_eq!(kept.sweep(images.path()).expect("it is swept").files, 1);
    }

    #[test]
    fn what_was_changed_in_the_store_or_is_a_link_is_not_given_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = KeptFiles::at(folder.path());
        fs::create_dir(kept.objects()).expect("a folder");
        let hash = ContentHash::of(&mut &b"abc"[..]).expect("bytes can be read");
        let path = kept.object(hash);
        fs::write(&path, "abc").expect("a file");
        assert!(kept.open(hash).is_ok());
        fs::write(&path, "abd").expect("a file");
        assert!(kept.open(hash).is_err());
        fs::remove_file(&path).expect("it was there");
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "abc").expect("a file");
        std::os::unix::fs::symlink(&elsewhere, &path).expect("a link");
        assert!(kept.open(hash).is_err());
    }
}
