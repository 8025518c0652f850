//! Where page data goes: several threads put chunks, each is written at a place of its own.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dormouse_wire::Compression;
use nix::errno::Errno;

use super::aside::Aside;
use super::error::{ImageError, is_no_room};
use super::header::{CHUNK_LIMIT, ChunkEntry, HEADER_LENGTH};
use super::pages::{Encoded, PageBuffer, Thrift};
use super::{CHUNK_PAGES, PageNumber};

/// Room is allocated ahead in steps that grow with the file, between these two, in bytes. A write into allocated room is
/// three times as fast as one that lengthens the file.
const STEP_LEAST: u64 = 16 << 20;
const STEP_MOST: u64 = 512 << 20;
/// Up to this length of the file, time matters more than room.
const HASTE: u64 = 8 << 20;

/// Takes the pages of an image, from several threads at once.
#[derive(Debug)]
pub struct PageSink {
    aside: Aside,
    compression: Compression,
    state: Mutex<State>,
    failed: AtomicBool,
}

#[derive(Debug)]
struct State {
    chunks: Vec<ChunkEntry>,
    /// Where the next chunk goes.
    end: u64,
    /// Up to where room has been allocated, from the start of the file: the header, written last, needs its page.
    allocated: u64,
    /// Whether the filesystem can allocate ahead.
    ahead: bool,
}

impl PageSink {
    pub(super) fn new(aside: Aside, compression: Compression) -> Self {
        let end = HEADER_LENGTH as u64;
        let state = Mutex::new(State { chunks: Vec::new(), end, allocated: 0, ahead: true });
        Self { aside, compression, state, failed: AtomicBool::new(false) }
    }

    /// Writes the filled pages of the buffer, 1 to [`CHUNK_PAGES`], as one chunk, compressed where that pays, and returns
    /// the number of the first. After an error the image cannot be sealed any more.
    pub fn put(&self, buffer: &mut PageBuffer) -> Result<PageNumber, ImageError> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(ImageError::Unfinished { path: self.path().to_owned() });
        }
        let pages = buffer.pages();
        let thrift = match self.compression {
            Compression::None => Thrift::Off,
            Compression::Fast if self.written() < HASTE => Thrift::Haste,
            Compression::Fast => Thrift::Room,
            Compression::Small => Thrift::Full,
        };
        let put = match buffer.encode(thrift) {
            Some(encoded) => self.place(&encoded).and_then(|(chunk, offset)| {
                self.aside.write_all_at(encoded.bytes, offset)?;
                Ok(PageNumber::first_of(chunk))
            }),
            None => Err(self.too_large(format!("a chunk of {pages} pages"), CHUNK_PAGES as u64)),
        };
        if put.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        put
    }

    /// How many bytes of the file are taken so far.
    pub fn written(&self) -> u64 {
        self.state().end
    }

    /// The image that will be.
    pub fn path(&self) -> &Path {
        self.aside.path()
    }

    /// Gives a chunk its number and its place.
    fn place(&self, encoded: &Encoded<'_>) -> Result<(u64, u64), ImageError> {
        let mut state = self.state();
        let (chunk, offset) = (state.chunks.len() as u64, state.end);
        if chunk >= CHUNK_LIMIT {
            return Err(self.too_large(format!("{} chunks", chunk + 1), CHUNK_LIMIT));
        }
        let end = offset.saturating_add(encoded.bytes.len() as u64);
        self.allocate(&mut state, end)?;
        state.chunks.push(ChunkEntry {
            offset,
            stored: encoded.stored as u32,
            pages: encoded.pages as u16,
            encoding: encoded.encoding,
            hash: encoded.hash.to_le_bytes(),
        });
        state.end = end;
        Ok((chunk, offset))
    }

    /// Allocates room up to `end` and some beyond. Where the disk is nearly full, just what is needed.
    fn allocate(&self, state: &mut State, end: u64) -> Result<(), ImageError> {
        while state.ahead && state.allocated < end {
            let needed = end - state.allocated;
            let step = needed.max(state.allocated.clamp(STEP_LEAST, STEP_MOST));
            let mut answer = self.aside.allocate(state.allocated, step);
            let mut length = step;
            if answer.is_err_and(is_no_room) {
                length = needed;
                answer = self.aside.allocate(state.allocated, length);
            }
            match answer {
                Ok(()) => state.allocated = state.allocated.saturating_add(length),
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => state.ahead = false,
                Err(errno) => return Err(self.aside.failure("write", errno, state.end)),
            }
        }
        Ok(())
    }

    fn too_large(&self, what: String, limit: u64) -> ImageError {
        ImageError::TooLarge { path: self.path().to_owned(), what, limit }
    }

    /// No thread panics while it holds the lock, and the state is whole at every moment.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, the chunks in it and where they end, if every one of them has been written.
    pub(super) fn finish(self) -> Result<(Aside, Vec<ChunkEntry>, u64), ImageError> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(ImageError::Unfinished { path: self.path().to_owned() });
        }
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((self.aside, state.chunks, state.end))
    }
}
