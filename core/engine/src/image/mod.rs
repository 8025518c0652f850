//! The image: one file that holds a frozen group. Its layout, byte by byte, is `core/FORMAT.md`.
//!
//! A [`writer::Writer`] makes the file aside, takes pages from several threads and sections of metadata from one, and
//! gives the file its name only when every byte of it is on the disk. A [`reader::Reader`] opens a file that anybody may
//! have written: it trusts no number in it, checks every hash, and needs little memory whatever the file claims. What
//! the sections *mean* is not known here; the kinds of resources bring their records.
//!
//! | module | holds |
//! |---|---|
//! | [`header`] | the fixed parts as bytes: header, section table, chunk index, footer |
//! | [`section`] | which sections there are |
//! | [`pages`] | a buffer of pages, and how a chunk is compressed and hashed |
//! | [`writer`], `sink`, `aside` | making an image: the steps, the page data, the file without a name |
//! | [`reader`], `check` | reading an image, and checking it to the last byte |
//! | [`kept`] | copies of programs and libraries beside the images |
//! | [`error`] | what can go wrong, in words |

mod aside;
mod check;
pub mod error;
pub mod header;
pub mod kept;
pub mod pages;
pub mod reader;
pub mod section;
mod sink;
pub mod writer;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use aside::Aside;
pub use check::Damage;
pub use error::ImageError;
pub use pages::PageBuffer;
pub use reader::Reader;
pub use section::{SectionInfo, SectionKind};
pub use sink::PageSink;
pub use writer::{Sealed, Synced, Writer};

/// The size of a page in an image, in bytes, and the alignment of chunks. Machines with larger pages store several.
pub const PAGE: usize = 4096;
/// How many pages a chunk holds at most.
pub const CHUNK_PAGES: usize = 256;
/// How many bytes of page data a chunk holds at most.
pub const CHUNK_BYTES: usize = PAGE * CHUNK_PAGES;

/// Where a page is in an image: the number of its chunk times [`CHUNK_PAGES`], plus its place in the chunk.
///
/// The pages of one chunk have numbers that follow each other; there may be a gap behind the last page of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageNumber(pub u64);

impl PageNumber {
    /// The first page of a chunk.
    pub fn first_of(chunk: u64) -> Self {
        Self(chunk.saturating_mul(CHUNK_PAGES as u64))
    }

    /// The chunk that holds the page.
    pub fn chunk(self) -> u64 {
        self.0 / CHUNK_PAGES as u64
    }

    /// The place of the page in its chunk, from 0 to 255.
    pub fn slot(self) -> usize {
        (self.0 % CHUNK_PAGES as u64) as usize
    }

    /// The page so many pages further on, if there is such a number.
    pub fn checked_add(self, pages: u64) -> Option<Self> {
        self.0.checked_add(pages).map(Self)
    }
}
