//! Looking into an image without thawing it: the one place where the command meets the engine's reader.

use std::path::Path;

use dormouse_wire::{ByteSize, Phase, Problem, ProblemKind, Progress};

/// An image whose frame is whole.
#[derive(Debug)]
pub struct Image {
    size: ByteSize,
}

impl Image {
    /// Opens an image and checks all of it but the page data.
    pub fn open(path: &Path) -> Result<Self, Box<Problem>> {
        let problem = Problem::blocks(ProblemKind::Image, "this build cannot look into images");
        Err(Box::new(problem.at(path.display().to_string())))
    }

    /// The length of the file.
    pub fn size(&self) -> ByteSize {
        self.size
    }

    /// Checks every byte.
    pub fn verify(&self, progress: &dyn Progress) -> Result<(), Box<Problem>> {
        progress.begins(Phase::Checking, self.size.0);
        Err(Box::new(Problem::blocks(ProblemKind::Image, "this build cannot look into images")))
    }
}
