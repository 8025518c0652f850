//! The file an image, or a bundle, is made in: it has no name, or a hidden one, until all of it is on the disk.
//!
//! Where the filesystem can, the file has no name at all (O_TMPFILE, open(2)): then even a killed engine leaves nothing
//! behind. Elsewhere it is a hidden file beside the image, removed when it is dropped.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{
    AT_FDCWD, AtFlags, FallocateFlags, FcntlArg, OFlag, RenameFlags, fallocate, fcntl, openat, renameat2,
};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, fsync, linkat, unlinkat};

use super::error::{ImageError, is_no_room};
use crate::kernel::outside;

/// So much of the image's name goes into the hidden one: a name has at most 255 bytes.
const NAME_PART: usize = 200;
/// So many hidden names are tried before it is strange that all of them are taken.
const NAME_TRIES: usize = 16;

/// A file that will be the image.
#[derive(Debug)]
pub struct Aside {
    path: PathBuf,
    folder_path: PathBuf,
    folder: OwnedFd,
    name: OsString,
    /// The hidden name, where it has one.
    partial: Option<OsString>,
    file: File,
    direct: AtomicBool,
}

impl Aside {
    /// Makes the file, in the folder of the image. Nothing may have the image's name yet.
    ///
    /// It is written with O_DIRECT as long as the filesystem takes it, until [`stop_direct`](Self::stop_direct).
    pub fn create(path: &Path) -> Result<Self, ImageError> {
        Self::create_by(path, unnamed)
    }

    fn create_by(
        path: &Path,
        unnamed: impl FnOnce(&OwnedFd) -> Option<Result<File, Errno>>,
    ) -> Result<Self, ImageError> {
        let name = path.file_name().ok_or_else(|| ImageError::NoName { path: path.to_owned() })?.to_owned();
        let folder_path = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let folder = open_folder(&folder_path)?;
        match fstatat(&folder, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => return Err(ImageError::Exists { path: path.to_owned() }),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(ImageError::System { path: path.to_owned(), action: "create", errno }),
        }
        let (file, partial) = unnamed(&folder)
            .map_or_else(|| hidden(&folder, &name).map(|(file, name)| (file, Some(name))), |file| Ok((file?, None)))
            .map_err(|errno| refused(path, &folder_path, errno))?;
        let direct = AtomicBool::new(set_direct(&file, true));
        Ok(Self { path: path.to_owned(), folder_path, folder, name, partial, file, direct })
    }

    /// The image that will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Writes all of the bytes at this place; with O_DIRECT as long as the filesystem takes it.
    pub fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<(), ImageError> {
        let start = offset;
        while !bytes.is_empty() {
            let direct = self.direct.load(Ordering::Acquire);
            let written = match self.file.write_at(bytes, offset) {
                Ok(0) => return Err(self.failure("write", Errno::EIO, start)),
                Ok(written) => written,
                Err(error) => match error.raw_os_error().map_or(Errno::EIO, Errno::from_raw) {
                    Errno::EINTR => 0,
                    // The filesystem wants another alignment, or none of this at all.
                    Errno::EINVAL if direct => {
                        self.stop_direct();
                        0
                    }
                    errno => return Err(self.failure("write", errno, start)),
                },
            };
            bytes = bytes.get(written..).unwrap_or_default();
            offset = offset.saturating_add(written as u64);
        }
        Ok(())
    }

    /// From now on writes go through the page cache and need no alignment.
    pub fn stop_direct(&self) {
        // The flag follows the file, so that no thread takes an unaligned write for one that must work.
        set_direct(&self.file, false);
        self.direct.store(false, Ordering::Release);
    }

    /// Allocates room and lengthens the file: fallocate(2).
    pub fn allocate(&self, offset: u64, length: u64) -> Result<(), Errno> {
        let too_large = |_| Errno::EFBIG;
        let (offset, length) = (offset.try_into().map_err(too_large)?, length.try_into().map_err(too_large)?);
        loop {
            match fallocate(&self.file, FallocateFlags::empty(), offset, length) {
                Err(Errno::EINTR) => {}
                answer => return answer,
            }
        }
    }

    /// Gives the file its length and waits until all of it is on the disk.
    pub fn sync(&self, length: u64) -> Result<(), ImageError> {
        let failed = |error: std::io::Error| {
            self.failure("finish", error.raw_os_error().map_or(Errno::EIO, Errno::from_raw), length)
        };
        self.file.set_len(length).map_err(failed)?;
        self.file.sync_all().map_err(failed)
    }

    /// Gives the file its name, if nothing else has that name, and waits until the name is on the disk.
    pub fn publish(mut self) -> Result<(), ImageError> {
        self.link().map_err(|errno| match errno {
            Errno::EEXIST => ImageError::Exists { path: self.path.clone() },
            errno => self.failure("create", errno, 0),
        })?;
        match fsync(&self.folder) {
            // A filesystem that cannot sync a folder says so with EINVAL, fsync(2).
            Ok(()) | Err(Errno::EINVAL) => Ok(()),
            Err(errno) => {
                let _ = unlinkat(&self.folder, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
                Err(ImageError::System { path: self.folder_path.clone(), action: "sync", errno })
            }
        }
    }

    fn link(&mut self) -> Result<(), Errno> {
        let name = self.name.as_os_str();
        let Some(partial) = &self.partial else {
            return linkat(AT_FDCWD, &own_path(&self.file), &self.folder, name, AtFlags::AT_SYMLINK_FOLLOW);
        };
        let partial = partial.as_os_str();
        match renameat2(&self.folder, partial, &self.folder, name, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => self.partial = None,
            // Not every filesystem knows the flag, rename(2). A second name and then none of the first is as safe; what
            // cannot be removed here, the drop tries once more.
            Err(Errno::EINVAL | Errno::ENOSYS) => linkat(&self.folder, partial, &self.folder, name, AtFlags::empty())?,
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    pub(super) fn failure(&self, action: &'static str, errno: Errno, written: u64) -> ImageError {
        let path = self.path.clone();
        if is_no_room(errno) {
            ImageError::NoRoom { path, written, errno }
        } else {
            ImageError::System { path, action, errno }
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            let _ = unlinkat(&self.folder, partial.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd, ImageError> {
    outside::open(path, libc::O_RDONLY | libc::O_DIRECTORY).map_err(|errno| match errno {
        Errno::ENOENT => ImageError::NoFolder { folder: path.to_owned() },
        errno => ImageError::System { path: path.to_owned(), action: "open the folder", errno },
    })
}

/// What making the file failed with: mostly it is about the folder.
fn refused(path: &Path, folder: &Path, errno: Errno) -> ImageError {
    if is_no_room(errno) {
        return ImageError::NoRoom { path: path.to_owned(), written: 0, errno };
    }
    match errno {
        Errno::EACCES | Errno::EPERM | Errno::EROFS => {
            ImageError::System { path: folder.to_owned(), action: "make a file in", errno }
        }
        errno => ImageError::System { path: path.to_owned(), action: "create", errno },
    }
}

/// A file without a name; `None` where the filesystem has no such thing, or where it could not get a name later.
fn unnamed(folder: &OwnedFd) -> Option<Result<File, Errno>> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let file = match openat(folder, ".", flags, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(file) => File::from(file),
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => return None,
        Err(errno) => return Some(Err(errno)),
    };
    let (own, seen) = (fstat(&file).ok()?, fstatat(AT_FDCWD, &own_path(&file), AtFlags::empty()).ok()?);
    ((own.st_dev, own.st_ino) == (seen.st_dev, seen.st_ino)).then_some(Ok(file))
}

fn hidden(folder: &OwnedFd, name: &OsStr) -> Result<(File, OsString), Errno> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let name = name.as_bytes();
    for _ in 0..NAME_TRIES {
        let random = RandomState::new().build_hasher().finish();
        let mut partial = b".".to_vec();
        partial.extend_from_slice(name.get(..NAME_PART).unwrap_or(name));
        partial.extend_from_slice(format!(".dormouse-partial-{random:016x}").as_bytes());
        let partial = OsString::from_vec(partial);
        match openat(folder, partial.as_os_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(file) => return Ok((File::from(file), partial)),
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EEXIST)
}

/// The name of an open file in proc_pid_fd(5).
pub(super) fn own_path(file: &File) -> PathBuf {
    crate::kernel::procfs::descriptor(file)
}

/// Turns O_DIRECT on or off; says whether that worked.
fn set_direct(file: &File, on: bool) -> bool {
    fcntl(file, FcntlArg::F_GETFL)
        .map(|flags| {
            let mut flags = OFlag::from_bits_retain(flags);
            flags.set(OFlag::O_DIRECT, on);
            flags
        })
        .and_then(|flags| fcntl(file, FcntlArg::F_SETFL(flags)))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::{Aside, ImageError};

    #[test]
    fn a_hidden_file_becomes_the_image_or_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x".repeat(250));
        let names = || fs::read_dir(folder.path()).expect("it can be listed").count();

        let aside = Aside::create_by(&path, |_| None).expect("a hidden file");
        let hidden = fs::read_dir(folder.path()).expect("a listing").next().expect("a file").expect("an entry");
        assert!(hidden.file_name().to_string_lossy().starts_with(".xxx"), "{hidden:?}");
        assert_eq!(hidden.metadata().expect("it is there").permissions().mode() & 0o7777, 0o600);
        drop(aside);
        assert_eq!(names(), 0);

        let aside = Aside::create_by(&path, |_| None).expect("a hidden file");
        aside.write_all_at(b"whole", 0).expect("it can be written");
        aside.sync(5).expect("it can be synced");
        aside.publish().expect("it gets its name");
        assert_eq!((names(), fs::read(&path).expect("it can be read").as_slice()), (1, b"whole".as_slice()));
    }

    #[test]
    fn no_file_is_ever_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("image");
        for unnamed in [true, false] {
            let aside = if unnamed { Aside::create(&path) } else { Aside::create_by(&path, |_| None) };
            let aside = aside.expect("a file aside");
            fs::write(&path, "somebody's").expect("it can be written");
            assert!(matches!(aside.publish(), Err(ImageError::Exists { .. })));
            assert!(matches!(Aside::create(&path), Err(ImageError::Exists { .. })));
            assert_eq!(fs::read(&path).expect("it is there"), b"somebody's");
            assert_eq!(fs::read_dir(folder.path()).expect("it can be listed").count(), 1);
            fs::remove_file(&path).expect("it can go");
        }
    }
}
