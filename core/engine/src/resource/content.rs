//! Files that have no name to find them by: memfd_create(2), shared anonymous memory, deleted files. Their content is
//! in the image; descriptors and mappings refer to them.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use dormouse_wire::{ByteSize, Phrase, Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::memory::mapping::is_ordinary;
use super::moves::Moving;
use super::named_file::{Owner, shown};
use super::owners::Walk;
use crate::image::{CHUNK_PAGES, ImageError, PAGE, PageBuffer, PageNumber, PageSink, Reader};
use crate::kernel::huge_pages;
use crate::kernel::identity::{Acting, Identity};
use crate::kernel::memory::SharedMemory;
use crate::kernel::passing::Passing;

/// A file with its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// What it was made by.
    pub origin: Origin,
    /// Its size in bytes.
    pub size: u64,
    /// Its type and permissions.
    pub mode: u32,
    /// User and group it belongs to.
    pub owner: (u32, u32),
    /// Its pages that are not all zeros, in order.
    pub pages: Vec<Stored>,
    /// The size of the huge pages that it consists of (hugetlb), bytes; 0: of ordinary pages.
    #[serde(default, skip_serializing_if = "is_ordinary")]
    pub huge_page: u64,
    /// Among which mounts within the group it lay, by the place of those in the list of namespaces; none: those of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounts: Option<usize>,
}

/// Where a file without a name comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// memfd_create(2), by this name, with these seals.
    Memfd {
        /// The name.
        name: ByteBuf,
        /// F_SEAL_*, fcntl(2).
        seals: u32,
    },
    /// mmap(2) with MAP_SHARED and MAP_ANONYMOUS.
    SharedAnonymous,
    /// A file in a filesystem that was removed; its last name.
    Deleted {
        /// The path it had.
        path: ByteBuf,
        /// With whose rights it is made again.
        maker: Owner,
    },
}

/// Pages one after another, in the file and in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// First page in the file.
    pub page: u64,
    /// How many.
    pub count: u64,
    /// First page in the image.
    pub first: PageNumber,
}

impl Stored {
    /// Whether pages of a file of this size lie within it, and are in the image.
    pub fn fits(&self, size: u64, reader: &Reader) -> bool {
        self.page.checked_add(self.count).is_some_and(|end| end <= size.div_ceil(PAGE as u64))
            && reader.has_pages(self.first, usize::try_from(self.count).unwrap_or(usize::MAX))
            && self.first.slot() + self.count as usize <= CHUNK_PAGES
    }
}

/// Reads the content into the image. Holes are skipped (SEEK_DATA, lseek(2)).
pub fn capture(file: &File, origin: Origin, sink: &PageSink, buffer: &mut PageBuffer) -> Result<Content, Problem> {
    let failed = |error: std::io::Error| {
        Problem::blocks(ProblemKind::DeletedFile, phrase!("its content cannot be read: {why}", why = error))
            .at(origin.shown())
    };
    let metadata = file.metadata().map_err(failed)?;
    Ok(Content {
        size: metadata.len(),
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        pages: capture_pages(file, metadata.len(), sink, buffer, &failed)?,
        origin: origin.clone(),
        huge_page: huge_pages::size_of(file).unwrap_or(0),
        mounts: None,
    })
}

/// Reads the pages of a file of this size into the image.
pub fn capture_pages(
    file: &File,
    size: u64,
    sink: &PageSink,
    buffer: &mut PageBuffer,
    failed: &impl Fn(std::io::Error) -> Problem,
) -> Result<Vec<Stored>, Problem> {
    let (mut pages, mut at) = (Vec::new(), 0);
    // A file of huge pages does not tell its holes; that it is nothing but holes it tells.
    if huge_pages::size_of(file).is_some() && file.metadata().is_ok_and(|found| found.blocks() == 0) {
        return Ok(pages);
    }
    while at < size {
        let Some(start) = seek(file, at, nix::unistd::Whence::SeekData).map_err(failed)? else { break };
        let end = seek(file, start, nix::unistd::Whence::SeekHole).map_err(failed)?.unwrap_or(size);
        let start = start / PAGE as u64 * PAGE as u64;
        capture_range(file, start, end, &mut pages, sink, buffer, failed)?;
        at = end.max(start + 1);
    }
    Ok(pages)
}

fn seek(file: &File, from: u64, whence: nix::unistd::Whence) -> Result<Option<u64>, std::io::Error> {
    match nix::unistd::lseek64(file, from as i64, whence) {
        Ok(found) => Ok(Some(found as u64)),
        Err(nix::errno::Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn capture_range(
    file: &File,
    start: u64,
    end: u64,
    pages: &mut Vec<Stored>,
    sink: &PageSink,
    buffer: &mut PageBuffer,
    failed: &impl Fn(std::io::Error) -> Problem,
) -> Result<(), Problem> {
    let mut at = start;
    while at < end {
        let wanted = ((end - at) as usize).div_ceil(PAGE).min(CHUNK_PAGES);
        let space = &mut buffer.space()[..wanted * PAGE];
        let read = read_full(file, space, at).map_err(failed)?;
        space[read..].fill(0);
        // A page of zeros needs no room; a whole run of them ends here.
        let first_used = space.chunks(PAGE).position(|page| page.iter().any(|byte| *byte != 0));
        let last_used = space.chunks(PAGE).rposition(|page| page.iter().any(|byte| *byte != 0));
        if let (Some(first_used), Some(last_used)) = (first_used, last_used) {
            let count = last_used - first_used + 1;
            space.copy_within(first_used * PAGE..(last_used + 1) * PAGE, 0);
            buffer.set_len(count);
            let first = sink.put(buffer).map_err(|error| error.problem())?;
            pages.push(Stored { page: at / PAGE as u64 + first_used as u64, count: count as u64, first });
        }
        at += (wanted * PAGE) as u64;
    }
    Ok(())
}

fn read_full(file: &File, space: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while done < space.len() {
        match file.read_at(&mut space[done..], at + done as u64)? {
            0 => break,
            read => done += read,
        }
    }
    Ok(done)
}

impl Origin {
    /// For a person.
    pub fn shown(&self) -> Phrase {
        match self {
            Self::Memfd { name, .. } => {
                phrase!("memory file {name}", name = format_args!("{:?}", String::from_utf8_lossy(name)))
            }
            Self::SharedAnonymous => phrase!("shared anonymous memory"),
            Self::Deleted { path, .. } => {
                phrase!("{path} (deleted)", path = shown(Path::new(std::ffi::OsStr::from_bytes(path))))
            }
        }
    }
}

impl Content {
    /// Makes the file again, with its content, opened for reading and writing.
    /// `nameless`: the flags of a description that has never had a name, O_TMPFILE, if one is to be had of it.
    pub fn restore(&self, nameless: Option<i32>, reader: &Reader, buffer: &mut PageBuffer) -> Result<File, Problem> {
        let failed = |error: std::io::Error| {
            Problem::blocks(ProblemKind::DeletedFile, phrase!("it cannot be made again: {why}", why = error))
                .at(self.origin.shown())
        };
        let file = self.make(nameless).map_err(failed)?;
        if huge_pages::size_of(&file).unwrap_or(0) != self.huge_page {
            return Err(self.no_home());
        }
        if !matches!(self.origin, Origin::SharedAnonymous) {
            file.set_len(self.size).map_err(failed)?;
        }
        let unwritten = |error: std::io::Error| {
            Problem::blocks(ProblemKind::Space, phrase!("its content cannot be written: {why}", why = error))
                .at(self.origin.shown())
        };
        for stored in &self.pages {
            fill(&file, self.size, stored, (reader, buffer), &unwritten)?;
        }
        self.finish(&file).map_err(failed)?;
        Ok(file)
    }

    fn make(&self, nameless: Option<i32>) -> std::io::Result<File> {
        match &self.origin {
            Origin::Memfd { name, seals } => self.make_memory(name, *seals),
            Origin::SharedAnonymous => Ok(SharedMemory::file(self.size, self.huge_page)?.into()),
            Origin::Deleted { path, maker } => {
                let _acting = Acting::begin(&Identity::from(maker))?;
                let path = Path::new(std::ffi::OsStr::from_bytes(path));
                let nameless = nameless.or_else(|| had_no_name(path).then_some(libc::O_RDWR));
                nameless.map_or_else(|| make_deleted(path), |flags| make_nameless(path, flags))
            }
        }
    }

    /// A system may give memory files the right to be executed or not, if it is not told: MFD_EXEC, Linux 6.3.
    fn make_memory(&self, name: &[u8], seals: u32) -> std::io::Result<File> {
        use nix::sys::memfd::{MFdFlags, memfd_create};
        const EXECUTABLE: MFdFlags = MFdFlags::from_bits_retain(0x10);
        const SEALED_AGAINST: MFdFlags = MFdFlags::from_bits_retain(0x8);
        const SEAL_EXECUTABLE: u32 = 0x20;
        let name = std::ffi::CString::new(name)?;
        let mut flags = MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC;
        if self.huge_page != 0 {
            flags |= MFdFlags::from_bits_retain(huge_pages::of_memory_file(self.huge_page));
        }
        let never = seals & SEAL_EXECUTABLE != 0 && self.mode & 0o111 == 0;
        match memfd_create(name.as_c_str(), flags | if never { SEALED_AGAINST } else { EXECUTABLE }) {
            Err(nix::errno::Errno::EINVAL) => Ok(memfd_create(name.as_c_str(), flags)?.into()),
            made => Ok(made?.into()),
        }
    }

    /// Leads it to the numbers that its owner has here.
    pub fn led(&mut self, walk: &mut Walk<'_>) {
        walk.both(&mut self.owner);
        if let Origin::Deleted { maker, .. } = &mut self.origin {
            maker.led(walk);
        }
    }

    /// Leads it to where the path that it had has moved.
    pub fn moved(&mut self, moving: &mut Moving<'_>) {
        if let Origin::Deleted { path, .. } = &mut self.origin {
            moving.path(path);
        }
    }

    /// A file of huge pages can only be where such pages are.
    fn no_home(&self) -> Problem {
        let what = phrase!(
            "it consisted of huge pages of {size}, and there are none where it was",
            size = ByteSize(self.huge_page)
        );
        let problem = Problem::blocks(ProblemKind::DeletedFile, what).at(self.origin.shown());
        problem.way_out(phrase!("Mount a hugetlbfs with such pages there again"))
    }

    /// What stands in the way of it, or will be different here.
    pub fn preflight(&self) -> Option<Problem> {
        let Origin::Deleted { path, .. } = &self.origin else { return None };
        let folder = Path::new(std::ffi::OsStr::from_bytes(path)).parent()?;
        if self.huge_page != 0 {
            return (huge_pages::size_in(folder) != Some(self.huge_page)).then(|| self.no_home());
        }
        let what = phrase!("the folder it was removed from is gone: it is made again in another one");
        let problem = Problem::loses(ProblemKind::DeletedFile, what, phrase!("where it lies: perhaps on another disk"));
        (!folder.is_dir()).then(|| problem.at(self.origin.shown()))
    }

    /// Seals a memory file: after the last mapping of it, for F_SEAL_FUTURE_WRITE forbids new ones only.
    pub fn seal(&self, file: &File) -> Result<(), Problem> {
        use nix::fcntl::{FcntlArg, SealFlag, fcntl};
        let Origin::Memfd { seals, .. } = &self.origin else { return Ok(()) };
        if *seals == 0 {
            return Ok(());
        }
        fcntl(file, FcntlArg::F_ADD_SEALS(SealFlag::from_bits_retain(*seals as i32))).map(drop).map_err(|error| {
            Problem::blocks(ProblemKind::DeletedFile, phrase!("it cannot be sealed: {why}", why = error))
                .at(self.origin.shown())
        })
    }

    fn finish(&self, file: &File) -> std::io::Result<()> {
        match &self.origin {
            Origin::Memfd { .. } => {
                nix::sys::stat::fchmod(file, nix::sys::stat::Mode::from_bits_truncate(self.mode))?;
                nix::unistd::fchown(file, Some(self.owner.0.into()), Some(self.owner.1.into()))?;
            }
            Origin::Deleted { .. } => {
                nix::unistd::fchown(file, Some(self.owner.0.into()), Some(self.owner.1.into()))?;
                nix::sys::stat::fchmod(file, nix::sys::stat::Mode::from_bits_truncate(self.mode))?;
            }
            Origin::SharedAnonymous => {}
        }
        Ok(())
    }
}

/// Writes pages of the image into a file of this size.
pub fn fill(
    file: &File,
    size: u64,
    stored: &Stored,
    (reader, buffer): (&Reader, &mut PageBuffer),
    failed: &impl Fn(std::io::Error) -> Problem,
) -> Result<(), Problem> {
    let image = |error: ImageError| error.problem();
    let data = reader.read_chunk(stored.first.chunk(), buffer).map_err(image)?;
    let from = stored.first.slot() * PAGE;
    let range = data.get(from..from + stored.count as usize * PAGE);
    let bytes = range.ok_or_else(|| Problem::blocks(ProblemKind::Image, phrase!("pages are missing from a chunk")))?;
    let at = stored.page * PAGE as u64;
    let length = (bytes.len() as u64).min(size.saturating_sub(at)) as usize;
    if let Some(huge_page) = huge_pages::size_of(file) {
        return huge_pages::write(file, huge_page, &bytes[..length], at).map_err(|errno| failed(errno.into()));
    }
    file.write_all_at(&bytes[..length], at).map_err(failed)
}

/// Makes the file under its old name where that is free, so that /proc shows it by that name, and removes it again.
fn make_deleted(path: &Path) -> std::io::Result<File> {
    match Passing::File.open(path) {
        Ok(file) => Ok(file.into()),
        Err(_) => make_nameless(path, libc::O_RDWR),
    }
}

/// Whether this is what the kernel shows of a file that was made without a name, O_TMPFILE: `#` and the number of its inode.
fn had_no_name(path: &Path) -> bool {
    let number = path.file_name().and_then(|name| name.as_bytes().strip_prefix(b"#"));
    number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

/// Makes a file that never has a name, in the folder where the old one was or else in one that is still there.
fn make_nameless(path: &Path, flags: i32) -> std::io::Result<File> {
    let mut failed = std::io::Error::from_raw_os_error(libc::ENOENT);
    for folder in path.ancestors().skip(1).chain([Path::new("/var/tmp"), Path::new("/tmp")]) {
        let flags = flags & !(libc::O_CREAT | libc::O_TRUNC | libc::O_ACCMODE | libc::O_DIRECT) | libc::O_TMPFILE;
        match File::options().read(true).write(true).custom_flags(flags).mode(0o600).open(folder) {
            Ok(file) => return Ok(file),
            Err(error) if failed.kind() == std::io::ErrorKind::NotFound => failed = error,
            Err(_) => {}
        }
    }
    Err(failed)
}

/// The seals of a memory file; 0 where the filesystem knows none.
pub fn seals(file: &impl AsFd) -> u32 {
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_GET_SEALS).map_or(0, |seals| seals as u32)
}

/// The same file opened anew: another open file description, with these flags.
pub fn reopen(file: &impl AsFd, flags: i32) -> std::io::Result<OwnedFd> {
    let path = crate::kernel::procfs::descriptor(&file.as_fd());
    Ok(crate::kernel::files::open(&path, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a name was to be seen in the folder for a moment, inotify(7): what is killed then leaves it there.
    #[test]
    fn what_never_had_a_name_gets_none() -> Result<(), Box<dyn std::error::Error>> {
        use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
        let folder = tempfile::tempdir()?;
        let maker =
            Owner { user: nix::unistd::geteuid().as_raw(), group: nix::unistd::getegid().as_raw(), groups: Vec::new() };
        for (name, seen) in [("#4711", false), ("#47x", true), ("#", true), ("gone", true)] {
            let watch = Inotify::init(InitFlags::IN_NONBLOCK)?;
            watch.add_watch(folder.path(), AddWatchFlags::IN_CREATE)?;
            let path = folder.path().join(name).as_os_str().as_bytes().to_vec();
            let content = Content {
                origin: Origin::Deleted { path: ByteBuf::from(path), maker: maker.clone() },
                size: 0,
                mode: libc::S_IFREG | 0o600,
                owner: (maker.user, maker.group),
                pages: Vec::new(),
                huge_page: 0,
                mounts: None,
            };
            let made = content.make(None)?;
            assert_eq!(crate::kernel::files::stat(&made)?.st_nlink, 0, "{name}");
            assert_eq!(watch.read_events().is_ok(), seen, "{name}");
        }
        Ok(())
    }
}
