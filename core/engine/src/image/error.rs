//! What can go wrong with an image, in words a person understands.

use std::path::{Path, PathBuf};

use dormouse_wire::{Problem, ProblemKind};
use nix::errno::Errno;

/// Why an image could not be made or read. Whatever happened, no partial file stays behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A file of this name is there already; none is ever overwritten.
    #[error("{} exists already", path.display())]
    Exists {
        /// The name of the image.
        path: PathBuf,
    },
    /// The path has no last component that could name a file.
    #[error("{} does not name a file", path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// The folder the image should go into does not exist.
    #[error("the folder {} does not exist", folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// The system refused something.
    #[error("cannot {action} {}: {}", path.display(), errno.desc())]
    System {
        /// The file or folder it was about.
        path: PathBuf,
        /// What was tried, as a verb.
        action: &'static str,
        /// What the system answered.
        errno: Errno,
    },
    /// There is no room for the image.
    #[error("there is no room for {} after {written} bytes: {}", path.display(), errno.desc())]
    NoRoom {
        /// The image.
        path: PathBuf,
        /// How many bytes of it had found room.
        written: u64,
        /// What the system answered: ENOSPC, EDQUOT or EFBIG.
        errno: Errno,
    },
    /// More was given to the writer than the format holds.
    #[error("{} cannot hold {what}: the limit is {limit}", path.display())]
    TooLarge {
        /// The image.
        path: PathBuf,
        /// What is too large or too many.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// Pages could not be written earlier, so the image cannot become whole any more.
    #[error("{} cannot be finished: writing pages failed before", path.display())]
    Unfinished {
        /// The image.
        path: PathBuf,
    },
    /// A value could not be put into CBOR.
    #[error("the section `{section}` cannot be written to {}: {what}", path.display())]
    Encode {
        /// The image.
        path: PathBuf,
        /// The section.
        section: &'static str,
        /// Why.
        what: String,
    },
    /// The file is something else.
    #[error("{} is not an image: {what}", path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// What it is, or what it lacks.
        what: &'static str,
    },
    /// The end of the image is missing.
    #[error("{} is cut short: {length} of {expected} bytes are there", path.display())]
    Cut {
        /// The image.
        path: PathBuf,
        /// How many bytes are there.
        length: u64,
        /// How many there should be at least.
        expected: u64,
    },
    /// A newer Dormouse made the image.
    #[error("{} needs a newer Dormouse: {what}", path.display())]
    TooNew {
        /// The image.
        path: PathBuf,
        /// What this build does not understand.
        what: String,
    },
    /// Bytes of the image have changed, or they contradict each other.
    #[error("{} is damaged: {part} at byte {offset}: {what}", path.display())]
    Damaged {
        /// The image.
        path: PathBuf,
        /// The part of the file.
        part: String,
        /// Where the part begins.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A section that is needed is not there.
    #[error("{} has no section `{section}`", path.display())]
    Missing {
        /// The image.
        path: PathBuf,
        /// The section.
        section: &'static str,
    },
    /// A section does not hold what it should.
    #[error("the section `{section}` of {} cannot be understood: {what}", path.display())]
    Decode {
        /// The image.
        path: PathBuf,
        /// The section.
        section: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// Something refers to pages that the image does not have.
    #[error("{} has no chunk {chunk}: it has {chunks}", path.display())]
    NoChunk {
        /// The image.
        path: PathBuf,
        /// The chunk that was asked for.
        chunk: u64,
        /// How many there are.
        chunks: u64,
    },
    /// The caller cancelled.
    #[error("checking {} was cancelled", path.display())]
    Cancelled {
        /// The image.
        path: PathBuf,
    },
}

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
        let problem = Problem::blocks(kind, self.to_string());
        match self.way_out() {
            Some(way_out) => problem.way_out(way_out),
            None => problem,
        }
    }

    fn way_out(&self) -> Option<&'static str> {
        Some(match self {
            Self::Exists { .. } => "Choose another name, or remove that file first",
            Self::NoName { .. } => "Name a file in an existing folder",
            Self::NoFolder { .. } => "Make the folder, or choose another one",
            Self::System { errno, .. } => return system_way_out(*errno),
            Self::NoRoom { errno: Errno::EDQUOT, .. } => "Free space in your quota, or choose a folder on another disk",
            Self::NoRoom { errno: Errno::EFBIG, .. } => {
                "Choose a folder on a filesystem that holds larger files, or raise the limit on file sizes"
            }
            Self::NoRoom { .. } => "Free space on that disk, or choose a folder on another one",
            Self::NotAnImage { .. } => "Choose a file that Dormouse has made",
            Self::TooNew { .. } => "Update Dormouse, or thaw the image where it was made",
            Self::Cut { .. } | Self::Damaged { .. } => "Take the image from a backup: this copy cannot be thawed",
            Self::Missing { .. } | Self::Decode { .. } | Self::NoChunk { .. } => {
                "Freeze the group again: what wrote this image made a mistake"
            }
            Self::TooLarge { .. } => "Freeze fewer processes at once",
            Self::Unfinished { .. } | Self::Encode { .. } | Self::Cancelled { .. } => return None,
        })
    }
}

fn system_way_out(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::EACCES | Errno::EPERM => "Choose a folder you may write to, or ask its owner",
        Errno::EROFS => "Choose a folder on a disk that can be written to",
        Errno::ENOENT => "Check the name: there is nothing there",
        Errno::ENOTDIR => "Check the name: a part of it is not a folder",
        Errno::ENAMETOOLONG => "Choose a shorter name",
        Errno::EIO => "Check the disk: it reports errors",
        _ => return None,
    })
}

/// Whether the system says that there is no room, rather than that something is wrong.
pub(super) fn is_no_room(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG)
}
