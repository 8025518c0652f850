//! Bundles: an image together with the files that its group has mapped or open, for a machine that may lack them.
//!
//! A bundle is a tar archive (POSIX.1-2001 ustar, or what GNU tar makes of long sizes), so that people can look into one with what they have.
//! Its first entry says what is in it; no name of an entry is ever used as a path. What is in `core/FORMAT.md` under *Bundles* binds.

mod look;
mod pack;
mod parts;
mod unpack;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use dormouse_wire::dbus::Failure;
use dormouse_wire::{Phrase, Problem, ProblemKind, Progress};
use serde::{Deserialize, Serialize};

pub use look::{Bundle, Contained};
pub use pack::{Exported, export, export_into};
pub use unpack::{is_one, is_open, unpack, unpack_open};

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
    /// Its path is one within a sandbox: the image itself says whose copy it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    within: bool,
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

fn of_file(sentence: Phrase, path: &Path, error: &io::Error) -> Failure {
    Failure { sentence, problems: vec![about_file(path, error)] }
}

fn about_file(path: &Path, error: &io::Error) -> Problem {
    Problem::blocks(ProblemKind::File, Phrase::from(error.to_string())).at(path.display().to_string())
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
