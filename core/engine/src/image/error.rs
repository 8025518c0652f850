//! What can go wrong with an image, in words a person understands.

use std::fmt;
use std::path::{Path, PathBuf};

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use nix::errno::Errno;

/// Why an image could not be made or read. Whatever happened, no partial file stays behind.
#[derive(Debug)]
#[non_exhaustive]
pub enum ImageError {
    /// A file of this name is there already; none is ever overwritten.
    Exists {
        /// The name of the image.
        path: PathBuf,
    },
    /// The path has no last component that could name a file.
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// The folder the image should go into does not exist.
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// The system refused something.
    System {
        /// The file or folder it was about.
        path: PathBuf,
        /// What was tried, as a verb.
        action: &'static str,
        /// What the system answered.
        errno: Errno,
    },
    /// There is no room for the image.
    NoRoom {
        /// The image.
        path: PathBuf,
        /// How many bytes of it had found room.
        written: u64,
        /// What the system answered: ENOSPC, EDQUOT or EFBIG.
        errno: Errno,
    },
    /// More was given to the writer than the format holds.
    TooLarge {
        /// The image.
        path: PathBuf,
        /// What is too large or too many.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// Pages could not be written earlier, so the image cannot become whole any more.
    Unfinished {
        /// The image.
        path: PathBuf,
    },
    /// A value could not be put into CBOR.
    Encode {
        /// The image.
        path: PathBuf,
        /// The section.
        section: &'static str,
        /// Why.
        what: String,
    },
    /// The file is something else.
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What it is, or what it lacks.
        what: &'static str,
    },
    /// The end of the image is missing.
    Cut {
        /// The image.
        path: PathBuf,
        /// How many bytes are there.
        length: u64,
        /// How many there should be at least.
        expected: u64,
    },
    /// A newer Dormouse made the image.
    TooNew {
        /// The image.
        path: PathBuf,
        /// What this build does not understand.
        what: String,
    },
    /// Bytes of the image have changed, or they contradict each other.
    Damaged {
        /// The image.
        path: PathBuf,
        /// The part of the file.
        part: String,
        /// Where the part begins in the file.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A section that is needed is not there.
    Missing {
        /// The image.
        path: PathBuf,
        /// The section.
        section: &'static str,
    },
    /// A section does not hold what it should.
    Decode {
        /// The image.
        path: PathBuf,
        /// The section.
        section: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// Something refers to pages that the image does not have.
    NoChunk {
        /// The image.
        path: PathBuf,
        /// The chunk that was asked for.
        chunk: u64,
        /// How many there are.
        chunks: u64,
    },
    /// The caller cancelled.
    Cancelled {
        /// The image.
        path: PathBuf,
    },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said())
    }
}

impl std::error::Error for ImageError {}

impl ImageError {
    /// What the system refused, as an error of the right kind.
    pub(super) fn system(path: &Path, action: &'static str, error: &std::io::Error) -> Self {
        // An error without a number comes from the standard library alone, about an end of file or a lost write.
        let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        Self::System { path: path.to_owned(), action, errno }
    }

    pub(super) fn damaged(path: &Path, part: impl Into<String>, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), part: part.into(), offset, what: what.into() }
    }

    /// The file it is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::NoFolder { folder } => folder,
            Self::Exists { path }
            | Self::NoName { path }
            | Self::System { path, .. }
            | Self::NoRoom { path, .. }
            | Self::TooLarge { path, .. }
            | Self::Unfinished { path }
            | Self::Encode { path, .. }
            | Self::NotAnImage { path, .. }
            | Self::Cut { path, .. }
            | Self::TooNew { path, .. }
            | Self::Damaged { path, .. }
            | Self::Missing { path, .. }
            | Self::Decode { path, .. }
            | Self::NoChunk { path, .. }
            | Self::Cancelled { path } => path,
        }
    }

    /// The same as command, bus and window show it, with the way out.
    pub fn problem(&self) -> Problem {
        let kind = match self {
            Self::Exists { .. } | Self::NoName { .. } | Self::NoFolder { .. } | Self::System { .. } => {
                ProblemKind::File
            }
            Self::NoRoom { .. } => ProblemKind::Space,
            Self::Cancelled { .. } => ProblemKind::Cancelled,
            _ => ProblemKind::Image,
        };
        let problem = Problem::blocks(kind, self.said());
        match self.way_out() {
            Some(way_out) => problem.way_out(way_out),
            None => problem,
        }
    }

    /// What it is, in a sentence's part that begins with a small letter.
    fn said(&self) -> Phrase {
        let path = self.path().display();
        match self {
            Self::Exists { .. } => phrase!("{path} exists already", path),
            Self::NoName { .. } => phrase!("{path} does not name a file", path),
            Self::NoFolder { .. } => phrase!("the folder {path} does not exist", path),
            Self::System { action, errno, .. } => {
                phrase!("cannot {action} {path}: {why}", action = said_action(action), path, why = errno.desc())
            }
            Self::NoRoom { written, errno, .. } => {
                phrase!("there is no room for {path} after {written} bytes: {why}", path, written, why = errno.desc())
            }
            Self::TooLarge { what, limit, .. } => {
                phrase!("{path} cannot hold {what}: the limit is {limit}", path, what, limit)
            }
            Self::Unfinished { .. } => phrase!("{path} cannot be finished: writing pages failed before", path),
            Self::Encode { section, what, .. } => {
                phrase!("the section `{section}` cannot be written to {path}: {what}", section, path, what)
            }
            Self::NotAnImage { what, .. } => phrase!("{path} is not an image: {what}", path, what),
            Self::Cut { length, expected, .. } => {
                phrase!("{path} is cut short: {length} of {expected} bytes are there", path, length, expected)
            }
            Self::TooNew { what, .. } => phrase!("{path} needs a newer Dormouse: {what}", path, what),
            Self::Damaged { part, offset, what, .. } => {
                phrase!("{path} is damaged: {part} at byte {offset}: {what}", path, part, offset, what)
            }
            Self::Missing { section, .. } => phrase!("{path} has no section `{section}`", path, section),
            Self::Decode { section, what, .. } => {
                phrase!("the section `{section}` of {path} cannot be understood: {what}", section, path, what)
            }
            Self::NoChunk { chunk, chunks, .. } => {
                phrase!("{path} has no chunk {chunk}: it has {chunks}", path, chunk, chunks)
            }
            Self::Cancelled { .. } => phrase!("checking {path} was cancelled", path),
        }
    }

    fn way_out(&self) -> Option<Phrase> {
        Some(match self {
            Self::Exists { .. } => phrase!("Choose another name, or remove that file first"),
            Self::NoName { .. } => phrase!("Name a file in an existing folder"),
            Self::NoFolder { .. } => phrase!("Make the folder, or choose another one"),
            Self::System { action: "open" | "read", errno: Errno::EACCES | Errno::EPERM, .. } => {
                phrase!("Ask whom it belongs to, or do it as root")
            }
            Self::System { errno, .. } => return system_way_out(*errno),
            Self::NoRoom { errno: Errno::EDQUOT, .. } => {
                phrase!("Free space in your quota, or choose a folder on another disk")
            }
            Self::NoRoom { errno: Errno::EFBIG, .. } => {
                phrase!("Choose a folder on a filesystem that holds larger files, or raise the limit on file sizes")
            }
            Self::NoRoom { .. } => phrase!("Free space on that disk, or choose a folder on another one"),
            Self::NotAnImage { .. } => phrase!("Choose a file that Dormouse has made"),
            Self::TooNew { .. } => phrase!("Update Dormouse, or thaw the image where it was made"),
            Self::Cut { .. } | Self::Damaged { .. } => {
                phrase!("Take the image from a backup: this copy cannot be thawed")
            }
            Self::Missing { .. } | Self::Decode { .. } | Self::NoChunk { .. } => {
                phrase!("Freeze the group again: what wrote this image made a mistake")
            }
            Self::TooLarge { .. } => phrase!("Freeze fewer processes at once"),
            Self::Unfinished { .. } | Self::Encode { .. } | Self::Cancelled { .. } => return None,
        })
    }
}

/// What was tried, as a verb; what goes wrong inside of an image has its name in the format.
fn said_action(action: &str) -> Phrase {
    match action {
        "open" => phrase!("open"),
        "read" => phrase!("read"),
        "create" => phrase!("create"),
        "sync" => phrase!("sync"),
        "make a file in" => phrase!("make a file in"),
        "open the folder" => phrase!("open the folder"),
        other => Phrase::verbatim(other),
    }
}

fn system_way_out(errno: Errno) -> Option<Phrase> {
    Some(match errno {
        Errno::EACCES | Errno::EPERM => phrase!("Choose a folder you may write to, or ask its owner"),
        Errno::EROFS => phrase!("Choose a folder on a disk that can be written to"),
        Errno::ENOENT => phrase!("Check the name: there is nothing there"),
        Errno::ENOTDIR => phrase!("Check the name: a part of it is not a folder"),
        Errno::ENAMETOOLONG => phrase!("Choose a shorter name"),
        Errno::EIO => phrase!("Check the disk: it reports errors"),
        _ => return None,
    })
}

/// Whether the system says that there is no room, rather than that something is wrong.
pub(super) fn is_no_room(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG)
}
