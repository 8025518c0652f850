//! Making an image: pages and sections go in, then all of it is synced, then the file gets its name.

use std::io;
use std::path::{Path, PathBuf};

use dormouse_wire::{ByteSize, Compression};
use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use super::aside::Aside;
use super::error::ImageError;
use super::header::{ChunkEntry, FOOTER_HASHED, FOOTER_LENGTH, Footer, Header, SectionEntry};
use super::section::{SECTION_LIMIT, SECTIONS_LIMIT, SectionKind};
use super::sink::PageSink;

/// An image in the making. Dropped before it is sealed, it leaves nothing behind.
#[derive(Debug)]
pub struct Writer {
    sink: PageSink,
    sections: Vec<(SectionKind, Pieces)>,
}

/// An image whose every byte is on the disk, and which has no name yet. Dropped, it is gone.
#[derive(Debug)]
pub struct Synced {
    aside: Aside,
    sealed: Sealed,
}

/// An image that is complete, has its name, and will be there after a loss of power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The image.
    pub path: PathBuf,
    /// The length of the file.
    pub size: ByteSize,
    /// How many pages of memory it holds.
    pub pages: u64,
}

impl Writer {
    /// Begins an image that will have this name, in a folder that exists. Nothing may have the name yet. The file can be
    /// read by its owner only.
    pub fn create(image: &Path) -> Result<Self, ImageError> {
        Self::compressing(image, Compression::default())
    }

    /// The same, with memory compressed like this.
    pub fn compressing(image: &Path, compression: Compression) -> Result<Self, ImageError> {
        Ok(Self { sink: PageSink::new(Aside::create(image)?, compression), sections: Vec::new() })
    }

    /// Where the pages go.
    pub fn pages(&self) -> &PageSink {
        &self.sink
    }

    /// Adds a section of metadata. Each kind can be added once.
    pub fn section<T: Serialize + ?Sized>(&mut self, kind: SectionKind, value: &T) -> Result<(), ImageError> {
        let encode =
            |what: String| ImageError::Encode { path: self.sink.path().to_owned(), section: kind.name(), what };
        if self.sections.iter().any(|(present, _)| *present == kind) {
            return Err(encode("it has been written already".to_owned()));
        }
        let taken: u64 = self.sections.iter().map(|(_, bytes)| bytes.length).sum();
        let limit = SECTION_LIMIT.min(SECTIONS_LIMIT.saturating_sub(taken));
        let mut bytes = Pieces { limit, ..Pieces::default() };
        match ciborium::into_writer(value, &mut bytes) {
            Ok(()) => {}
            Err(ciborium::ser::Error::Io(_)) => {
                let what = format!("a section `{}` of more than {limit} bytes", kind.name());
                return Err(ImageError::TooLarge { path: self.sink.path().to_owned(), what, limit });
            }
            Err(ciborium::ser::Error::Value(what)) => return Err(encode(what)),
        }
        self.sections.push((kind, bytes));
        Ok(())
    }

    /// Writes the rest of the image and waits until all of it is on the disk, still without its name.
    pub fn sync(self) -> Result<Synced, ImageError> {
        let (aside, chunks, chunks_end) = self.sink.finish()?;
        // What follows is small and not aligned.
        aside.stop_direct();
        let mut end = chunks_end;
        let mut entries = Vec::with_capacity(self.sections.len());
        for (kind, bytes) in &self.sections {
            entries.push(entry(*kind, end, bytes));
            for piece in &bytes.list {
                aside.write_all_at(piece, end)?;
                end = end.saturating_add(piece.len() as u64);
            }
        }
        let (header, tail) = frame(&entries, &chunks, chunks_end, end);
        aside.write_all_at(&tail, end)?;
        aside.write_all_at(&header, 0)?;
        let size = end.saturating_add(tail.len() as u64);
        aside.sync(size)?;
        let pages = chunks.iter().map(|chunk| u64::from(chunk.pages)).sum();
        let sealed = Sealed { path: aside.path().to_owned(), size: ByteSize(size), pages };
        Ok(Synced { aside, sealed })
    }

    /// [`Self::sync`] and [`Synced::seal`] in one.
    pub fn seal(self) -> Result<Sealed, ImageError> {
        self.sync()?.seal()
    }
}

impl Synced {
    /// The length of the file.
    pub fn size(&self) -> ByteSize {
        self.sealed.size
    }

    /// Gives the image its name and waits until that is on the disk too. Fails where something has the name by now.
    pub fn seal(self) -> Result<Sealed, ImageError> {
        self.aside.publish()?;
        Ok(self.sealed)
    }
}

fn entry(kind: SectionKind, offset: u64, bytes: &Pieces) -> SectionEntry {
    let mut hasher = Xxh3::new();
    bytes.list.iter().for_each(|piece| hasher.update(piece));
    SectionEntry {
        number: kind.number(),
        version: kind.version(),
        least_reader: kind.least_reader(),
        required: kind.is_required(),
        offset,
        length: bytes.length,
        hash: hasher.digest128(),
    }
}

/// The header, and what stands behind the sections: section table, chunk index and footer.
pub(super) fn frame(
    sections: &[SectionEntry],
    chunks: &[ChunkEntry],
    chunks_end: u64,
    table: u64,
) -> (Vec<u8>, Vec<u8>) {
    let mut tail: Vec<u8> = sections.iter().flat_map(SectionEntry::encode).collect();
    let index = table.saturating_add(tail.len() as u64);
    tail.extend(chunks.iter().flat_map(ChunkEntry::encode));
    let file_length = table.saturating_add((tail.len() + FOOTER_LENGTH) as u64);
    let header = Header { file_length }.encode();
    let (sections, chunks) = (sections.len() as u32, chunks.len() as u64);
    let mut footer = Footer { file_length, chunks_end, table, index, chunks, sections, hash: 0 };
    let mut hasher = Xxh3::new();
    hasher.update(&header);
    hasher.update(&tail);
    hasher.update(footer.encode().get(..FOOTER_HASHED).unwrap_or_default());
    footer.hash = hasher.digest128();
    tail.extend(footer.encode());
    (header, tail)
}

/// Bytes in memory, up to a limit. In pieces: one vector would hold twice as much, and for a moment three times, while it
/// grows.
#[derive(Debug, Default)]
struct Pieces {
    list: Vec<Vec<u8>>,
    length: u64,
    limit: u64,
}

impl Pieces {
    const MOST: usize = 256 << 10;
}

impl io::Write for &mut Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length = self.length.saturating_add(bytes.len() as u64);
        if self.length > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if let Some(piece) = self.list.last_mut().filter(|piece| piece.len() + bytes.len() <= Pieces::MOST) {
            piece.extend_from_slice(bytes);
        } else {
            // Small sections take no more than they need; large ones are made of whole pieces.
            let room = if self.list.is_empty() { 0 } else { Pieces::MOST };
            let mut piece = Vec::with_capacity(room.max(bytes.len()));
            piece.extend_from_slice(bytes);
            self.list.push(piece);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
