//! Checking an image to the last byte: the frame when it is opened, the page data when somebody asks for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use dormouse_wire::{Phase, Progress};
use xxhash_rust::xxh3::Xxh3;

use super::error::ImageError;
use super::header::{
    CHUNK_ENTRY_LENGTH, CHUNK_LIMIT, ChunkEntry, FOOTER_HASHED, FOOTER_LENGTH, Footer, HEADER_LENGTH, Header,
    HeaderFault, MAGIC, READER, SECTION_ENTRY_LENGTH, SectionEntry,
};
use super::pages::PageBuffer;
use super::reader::{Reader, Source};
use super::section::{SECTION_COUNT_LIMIT, SECTION_LIMIT, SECTIONS_LIMIT, SectionKind, code};
use crate::kernel::threads::together;

/// So much of the file is in memory at once while it is hashed; whole entries of the index.
const PIECE: usize = 256 << 10;
/// More threads than this only wait for the disk.
const THREADS: usize = 4;
/// So many damaged chunks are named; the rest are counted.
const NAMED: usize = 1000;

/// What the fixed parts of an image say, once they have been held against each other.
pub(super) struct Frame {
    pub chunks: Vec<ChunkEntry>,
    pub sections: Vec<SectionEntry>,
    /// What is wrong with the bytes of sections.
    pub damaged: Vec<ImageError>,
}

/// What of the page data is not as it was written.
#[derive(Debug, Default)]
pub struct Damage {
    /// What is wrong with each chunk, by its number; no more than a person wants to read.
    pub chunks: BTreeMap<u64, ImageError>,
    /// How many damaged chunks there are beyond those.
    pub more: u64,
}

impl Damage {
    /// Whether every chunk is whole.
    pub fn is_none(&self) -> bool {
        self.chunks.is_empty()
    }

    fn add(&mut self, chunk: u64, error: ImageError) {
        self.chunks.insert(chunk, error);
        // The threads come in any order: the first chunks of the image are those that are named.
        if self.chunks.len() > NAMED {
            self.chunks.pop_last();
            self.more = self.more.saturating_add(1);
        }
    }
}

/// Reads and checks everything but the page data. Damage to sections is kept apart: all the rest can be checked all the same.
pub(super) fn frame(source: &Source) -> Result<Frame, ImageError> {
    let mut hasher = Xxh3::new();
    header(source, &mut hasher)?;
    let footer = footer(source)?;
    let sections = section_table(source, &footer, &mut hasher)?;
    let chunks = chunk_index(source, &footer, &mut hasher)?;
    hasher.update(footer.encode().get(..FOOTER_HASHED).unwrap_or_default());
    if hasher.digest128() != footer.hash {
        return Err(source.damaged("the header, a table or the footer", footer.table, "its bytes have changed"));
    }
    for entry in &sections {
        understood(source, entry)?;
    }
    let damaged = sections.iter().filter_map(|entry| section(source, entry).err()).collect();
    Ok(Frame { chunks, sections, damaged })
}

fn header(source: &Source, hasher: &mut Xxh3) -> Result<(), ImageError> {
    let path = || source.path.clone();
    let least = (HEADER_LENGTH + FOOTER_LENGTH) as u64;
    if source.length < least {
        let mut magic = [0; MAGIC.len()];
        let begins = source.length >= magic.len() as u64 && source.read(&mut magic, 0).is_ok() && magic == MAGIC;
        return Err(if begins {
            ImageError::Cut { path: path(), length: source.length, expected: least }
        } else {
            ImageError::NotAnImage { path: path(), what: "it does not begin like one" }
        });
    }
    let mut bytes = vec![0; HEADER_LENGTH];
    source.read(&mut bytes, 0)?;
    hasher.update(&bytes);
    let header = Header::decode(&bytes).map_err(|fault| match fault {
        HeaderFault::Magic => ImageError::NotAnImage { path: path(), what: "it does not begin like one" },
        HeaderFault::Format(format) => {
            ImageError::TooNew { path: path(), what: format!("the file has format {format}") }
        }
        HeaderFault::Damaged(fault) => source.damaged("the header", 0, fault),
    })?;
    if source.length < header.file_length {
        return Err(ImageError::Cut { path: path(), length: source.length, expected: header.file_length });
    }
    if source.length > header.file_length {
        let more = source.length - header.file_length;
        let what = format!("{more} bytes stand behind it that do not belong to it");
        return Err(source.damaged("the end of the image", header.file_length, what));
    }
    Ok(())
}

fn footer(source: &Source) -> Result<Footer, ImageError> {
    let place = source.length.saturating_sub(FOOTER_LENGTH as u64);
    let damaged = |what| source.damaged("the footer", place, what);
    let mut bytes = [0; FOOTER_LENGTH];
    source.read(&mut bytes, place)?;
    let footer = Footer::decode(&bytes).map_err(damaged)?;
    if footer.file_length != source.length {
        return Err(damaged("it names another length of the file"));
    }
    if footer.sections > SECTION_COUNT_LIMIT || footer.chunks > CHUNK_LIMIT {
        return Err(damaged("it names more sections or chunks than this format allows"));
    }
    Ok(footer)
}

fn section_table(source: &Source, footer: &Footer, hasher: &mut Xxh3) -> Result<Vec<SectionEntry>, ImageError> {
    let damaged = |what: String| source.damaged("the section table", footer.table, what);
    let mut bytes = vec![0; footer.sections as usize * SECTION_ENTRY_LENGTH];
    source.read(&mut bytes, footer.table)?;
    hasher.update(&bytes);
    let mut entries: Vec<SectionEntry> = Vec::new();
    let mut end = footer.chunks_end;
    for bytes in bytes.chunks_exact(SECTION_ENTRY_LENGTH) {
        let entry = SectionEntry::decode(bytes).map_err(|fault| damaged(fault.to_owned()))?;
        if entry.offset != end || entry.length > SECTION_LIMIT {
            return Err(damaged(format!("{} is not where it can be, or too long", name(&entry))));
        }
        if entries.iter().any(|present| present.number == entry.number) {
            return Err(damaged(format!("{} stands in it twice", name(&entry))));
        }
        end = end.saturating_add(entry.length);
        entries.push(entry);
    }
    if end != footer.table || end - footer.chunks_end > SECTIONS_LIMIT {
        return Err(damaged("its sections do not end where it begins, or are too long".to_owned()));
    }
    Ok(entries)
}

/// Reads the index in pieces: what is kept has been held against the file, so that a lie costs no memory.
fn chunk_index(source: &Source, footer: &Footer, hasher: &mut Xxh3) -> Result<Vec<ChunkEntry>, ImageError> {
    let damaged =
        |chunk: usize, what: &str| source.damaged("the chunk index", footer.index, format!("chunk {chunk}: {what}"));
    let mut chunks = Vec::new();
    let mut end = HEADER_LENGTH as u64;
    let mut buffer = vec![0; PIECE];
    let (mut at, mut left) = (footer.index, footer.chunks.saturating_mul(CHUNK_ENTRY_LENGTH as u64));
    while left > 0 {
        let piece = buffer.get_mut(..left.min(PIECE as u64) as usize).unwrap_or_default();
        source.read(piece, at)?;
        hasher.update(piece);
        for bytes in piece.chunks_exact(CHUNK_ENTRY_LENGTH) {
            let entry = ChunkEntry::decode(bytes).map_err(|fault| damaged(chunks.len(), fault))?;
            if entry.offset != end {
                return Err(damaged(chunks.len(), "it does not begin where the one before it ends"));
            }
            end = end.saturating_add(entry.space() as u64);
            if end > footer.chunks_end {
                return Err(damaged(chunks.len(), "it ends behind the place for chunks"));
            }
            chunks.push(entry);
        }
        (at, left) = (at.saturating_add(PIECE as u64), left.saturating_sub(PIECE as u64));
    }
    if end == footer.chunks_end { Ok(chunks) } else { Err(damaged(chunks.len(), "it is missing")) }
}

/// Refuses what this build must understand and does not; an unknown section that is optional is skipped.
fn understood(source: &Source, entry: &SectionEntry) -> Result<(), ImageError> {
    let known = SectionKind::from_number(entry.number).is_some();
    let what = if !known && !entry.required {
        return Ok(());
    } else if entry.least_reader > READER {
        format!("{} wants reader {}, this is reader {READER}", name(entry), entry.least_reader)
    } else if !known {
        format!("{} must be understood, and is unknown here", name(entry))
    } else {
        return Ok(());
    };
    Err(ImageError::TooNew { path: source.path.clone(), what })
}

fn section(source: &Source, entry: &SectionEntry) -> Result<(), ImageError> {
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0; PIECE.min(entry.length as usize)];
    let (mut at, mut left) = (entry.offset, entry.length);
    while left > 0 {
        let piece = buffer.get_mut(..left.min(PIECE as u64) as usize).unwrap_or_default();
        source.read(piece, at)?;
        hasher.update(piece);
        (at, left) = (at.saturating_add(PIECE as u64), left.saturating_sub(PIECE as u64));
    }
    if hasher.digest128() == entry.hash {
        Ok(())
    } else {
        Err(source.damaged(name(entry), entry.offset, "its bytes have changed"))
    }
}

/// A section as a person reads it.
pub(super) fn name(entry: &SectionEntry) -> String {
    match SectionKind::from_number(entry.number) {
        Some(kind) => format!("the section `{}`", kind.name()),
        None => format!("the section {}", code(entry.number)),
    }
}

impl Reader {
    /// Checks the page data, on several threads: every byte of the file has then been held against a hash, and every
    /// chunk unpacked. Fails only when it is cancelled.
    pub fn verify(&self, progress: &dyn Progress) -> Result<Damage, ImageError> {
        progress.begins(Phase::Checking, self.stored().0);
        let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let damage = Mutex::new(Damage::default());
        let work = || self.verify_some(&next, &stop, &damage, progress);
        let threads = thread::available_parallelism().map_or(1, usize::from).clamp(1, THREADS).min(self.chunks());
        together(threads, work);
        if stop.into_inner() {
            return Err(ImageError::Cancelled { path: self.path().to_owned() });
        }
        Ok(damage.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn verify_some(&self, next: &AtomicU64, stop: &AtomicBool, damage: &Mutex<Damage>, progress: &dyn Progress) {
        let mut buffer = PageBuffer::new();
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            if chunk >= self.chunks() as u64 || stop.load(Ordering::Relaxed) {
                return;
            }
            if progress.cancelled() {
                return stop.store(true, Ordering::Relaxed);
            }
            if let Err(error) = self.read_chunk(chunk, &mut buffer) {
                damage.lock().unwrap_or_else(PoisonError::into_inner).add(chunk, error);
            }
            progress.moved(self.chunk_space(chunk));
        }
    }
}
