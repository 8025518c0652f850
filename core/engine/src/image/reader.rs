//! Reading an image, whoever wrote it: every number is checked before it is used, every hash before the bytes are.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use dormouse_wire::ByteSize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::Xxh3;

use super::aside::own_path;
use super::error::ImageError;
use super::header::{ChunkEntry, SectionEntry};
use super::pages::PageBuffer;
use super::section::{SectionInfo, SectionKind};
use super::{PAGE, PageNumber, check};
use crate::kernel::{Answer, files, outside};

/// So much of a section is in memory at once while it is read.
const PIECE: usize = 64 << 10;

/// The extended attribute of an image that has been woken, xattr(7). It is none of the content, and a copy does not have it.
const WOKEN: &CStr = c"user.dormouse.woken";

/// An open image whose frame and metadata are whole. The page data is checked as it is read.
#[derive(Debug)]
pub struct Reader {
    source: Source,
    direct: Option<File>,
    use_direct: AtomicBool,
    chunks: Vec<ChunkEntry>,
    sections: Vec<SectionEntry>,
}

/// A file, or a stretch of one, and its length when it was opened.
#[derive(Debug)]
pub(super) struct Source {
    pub path: PathBuf,
    file: File,
    /// Where the image begins in the file.
    begins: u64,
    pub length: u64,
}

impl Source {
    /// Opens an ordinary file, and never waits for the other end of a FIFO.
    fn open(path: &Path) -> Result<Self, ImageError> {
        let failed = |error| ImageError::system(path, "open", &error);
        let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = File::from(outside::open(path, flags).map_err(|errno| failed(errno.into()))?);
        let length = file.metadata().map_err(failed)?.len();
        Self::within(path, file, 0..length)
    }

    /// A stretch of an open file, which must be an ordinary one.
    fn within(path: &Path, file: File, stretch: Range<u64>) -> Result<Self, ImageError> {
        let metadata = file.metadata().map_err(|error| ImageError::system(path, "open", &error))?;
        if !metadata.is_file() {
            return Err(ImageError::NotAnImage { path: path.to_owned(), what: "it is not an ordinary file" });
        }
        let (begins, length) = (stretch.start, stretch.end.saturating_sub(stretch.start));
        if metadata.len() < stretch.end {
            let there = metadata.len().saturating_sub(begins);
            return Err(ImageError::Cut { path: path.to_owned(), length: there, expected: length });
        }
        Ok(Self { path: path.to_owned(), file, begins, length })
    }

    /// Where in the file this place of the image is.
    fn place(&self, offset: u64) -> u64 {
        self.begins.saturating_add(offset)
    }

    /// Reads all of `bytes` from this place of the image.
    pub fn read(&self, bytes: &mut [u8], offset: u64) -> Result<(), ImageError> {
        self.file.read_exact_at(bytes, self.place(offset)).map_err(|error| self.failure(&error, bytes.len(), offset))
    }

    /// A file that has become shorter since it was opened, or a disk that fails.
    fn failure(&self, error: &io::Error, length: usize, offset: u64) -> ImageError {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            let (path, expected) = (self.path.clone(), offset.saturating_add(length as u64));
            let length = self.file.metadata().map_or(offset, |metadata| metadata.len().saturating_sub(self.begins));
            ImageError::Cut { path, length, expected }
        } else {
            ImageError::system(&self.path, "read", error)
        }
    }

    pub fn damaged(&self, part: impl Into<String>, offset: u64, what: impl Into<String>) -> ImageError {
        ImageError::damaged(&self.path, part, self.place(offset), what)
    }
}

/// A section as it is read: in pieces, for it may be many times as large as what it says.
struct Incoming<'a> {
    source: &'a Source,
    at: u64,
    left: u64,
    hasher: Xxh3,
}

impl Read for Incoming<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let wanted = (bytes.len() as u64).min(self.left) as usize;
        let Some(bytes) = bytes.get_mut(..wanted).filter(|bytes| !bytes.is_empty()) else { return Ok(0) };
        let read = match self.source.file.read_at(bytes, self.source.place(self.at))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => read,
        };
        self.hasher.update(bytes.get(..read).unwrap_or_default());
        (self.at, self.left) = (self.at.saturating_add(read as u64), self.left.saturating_sub(read as u64));
        Ok(read)
    }
}

impl Reader {
    /// Opens an image and checks all of it but the page data: header, footer, section table, chunk index, and the hash
    /// of every section. Needs at most the chunk index in memory, 128 MiB in the largest of images.
    pub fn open(image: &Path) -> Result<Self, ImageError> {
        let (reader, damaged) = Self::examine(image)?;
        damaged.into_iter().next().map_or(Ok(reader), Err)
    }

    /// The same for an image whose sections may be damaged, to find all that is wrong with it; says which are.
    pub fn examine(image: &Path) -> Result<(Self, Vec<ImageError>), ImageError> {
        Self::of(Source::open(image)?)
    }

    /// The same for one that is a stretch of an open file, of which `path` is what it is called.
    pub fn examine_within(path: &Path, file: File, stretch: Range<u64>) -> Result<(Self, Vec<ImageError>), ImageError> {
        Self::of(Source::within(path, file, stretch)?)
    }

    fn of(source: Source) -> Result<(Self, Vec<ImageError>), ImageError> {
        let check::Frame { chunks, sections, damaged } = check::frame(&source)?;
        // The same file once more, for reads that go around the page cache. Not every filesystem can.
        let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(own_path(&source.file)).ok();
        Ok((Self { source, use_direct: AtomicBool::new(direct.is_some()), direct, chunks, sections }, damaged))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// Whose the file is, and who may write to it.
    pub fn metadata(&self) -> io::Result<std::fs::Metadata> {
        self.source.file.metadata()
    }

    /// Whether it has been woken since it was frozen, as far as the filesystem can keep that.
    pub fn has_been_woken(&self) -> bool {
        files::has_attribute(&self.source.file, WOKEN)
    }

    /// Notes that, beside the content.
    pub fn note_woken(&self) -> Answer<()> {
        files::add_attribute(&self.source.file, WOKEN)
    }

    /// Notes it of a copy of the image, where it was noted of the image.
    pub fn carry_woken(image: &File, copy: &File) -> Answer<()> {
        if files::has_attribute(image, WOKEN) { files::add_attribute(copy, WOKEN) } else { Ok(()) }
    }

    /// The length of the image.
    pub fn size(&self) -> ByteSize {
        ByteSize(self.source.length)
    }

    /// What sections there are, those this build does not know too.
    pub fn sections(&self) -> Vec<SectionInfo> {
        self.sections.iter().map(SectionInfo::from).collect()
    }

    /// A section that must be there.
    pub fn section<T: DeserializeOwned>(&self, kind: SectionKind) -> Result<T, ImageError> {
        self.optional_section(kind)?
            .ok_or_else(|| ImageError::Missing { path: self.path().to_owned(), section: kind.name() })
    }

    /// A section that may be absent.
    pub fn optional_section<T: DeserializeOwned>(&self, kind: SectionKind) -> Result<Option<T>, ImageError> {
        let Some(entry) = self.sections.iter().find(|entry| entry.number == kind.number()) else { return Ok(None) };
        let decode = |what: String| ImageError::Decode { path: self.path().to_owned(), section: kind.name(), what };
        let incoming = Incoming { source: &self.source, at: entry.offset, left: entry.length, hasher: Xxh3::new() };
        let mut incoming = BufReader::with_capacity(PIECE, incoming);
        let value = ciborium::from_reader(&mut incoming);
        // The rest too: nothing is believed before all of it has been held against the hash.
        let rest = io::copy(&mut incoming, &mut io::sink());
        let incoming = incoming.into_inner();
        let rest = rest.map_err(|error| self.source.failure(&error, incoming.left as usize, incoming.at))?;
        if incoming.hasher.digest128() != entry.hash {
            return Err(self.source.damaged(check::name(entry), entry.offset, "its bytes have changed"));
        }
        let value = value.map_err(|error| decode(error.to_string()))?;
        if rest == 0 { Ok(Some(value)) } else { Err(decode(format!("{rest} bytes too many"))) }
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// How many pages a chunk holds; 0 for one that is not there.
    pub fn chunk_pages(&self, chunk: u64) -> usize {
        self.entry(chunk).map_or(0, |entry| usize::from(entry.pages))
    }

    /// How many pages there are in all chunks.
    pub fn pages(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.pages)).sum()
    }

    /// How many bytes the chunks take in the file.
    pub fn stored(&self) -> ByteSize {
        ByteSize(self.chunks.iter().map(|chunk| chunk.space() as u64).sum())
    }

    /// Whether the image has all of these pages, in one chunk.
    pub fn has_pages(&self, first: PageNumber, pages: usize) -> bool {
        first.slot().checked_add(pages).is_some_and(|end| pages > 0 && end <= self.chunk_pages(first.chunk()))
    }

    /// Reads the pages of a chunk: one read, around the page cache where the filesystem can; then the hash is checked and
    /// the pages are unpacked. They stay in the buffer.
    pub fn read_chunk<'a>(&self, chunk: u64, buffer: &'a mut PageBuffer) -> Result<&'a [u8], ImageError> {
        let entry = self.entry(chunk).ok_or_else(|| self.no_chunk(chunk))?;
        self.read_pages(buffer.incoming(entry), entry.offset)?;
        buffer
            .decode(entry)
            .map_err(|what| self.source.damaged(format!("the page data of chunk {chunk}"), entry.offset, what))
    }

    /// Reads one page; its whole chunk stays in the buffer.
    pub fn read_page<'a>(&self, page: PageNumber, buffer: &'a mut PageBuffer) -> Result<&'a [u8], ImageError> {
        let start = page.slot() * PAGE;
        let pages = self.read_chunk(page.chunk(), buffer)?;
        pages.get(start..start + PAGE).ok_or_else(|| self.no_chunk(page.chunk()))
    }

    fn read_pages(&self, bytes: &mut [u8], offset: u64) -> Result<(), ImageError> {
        if let Some(direct) = self.direct.as_ref().filter(|_| self.use_direct.load(Ordering::Relaxed)) {
            match direct.read_exact_at(bytes, self.source.place(offset)) {
                // The filesystem wants another alignment: then through the page cache, from now on.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.use_direct.store(false, Ordering::Relaxed);
                }
                answer => return answer.map_err(|error| self.source.failure(&error, bytes.len(), offset)),
            }
        }
        self.source.read(bytes, offset)
    }

    /// How many bytes a chunk takes in the file.
    pub(super) fn chunk_space(&self, chunk: u64) -> u64 {
        self.entry(chunk).map_or(0, |entry| entry.space() as u64)
    }

    fn entry(&self, chunk: u64) -> Option<&ChunkEntry> {
        usize::try_from(chunk).ok().and_then(|chunk| self.chunks.get(chunk))
    }

    fn no_chunk(&self, chunk: u64) -> ImageError {
        ImageError::NoChunk { path: self.path().to_owned(), chunk, chunks: self.chunks.len() as u64 }
    }
}
