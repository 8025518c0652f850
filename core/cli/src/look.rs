//! Why an image cannot be looked into, in words.

use dormouse_engine::image::ImageError;

use crate::exit::Failure;

/// Why an image could not be looked into. `sentence` says what that comes to, unless the person has cancelled.
pub fn failure(sentence: &str, error: &ImageError) -> Failure {
    match error {
        ImageError::Cancelled { .. } => Failure::new("It has been cancelled; the image is unchanged."),
        _ => Failure::new(sentence).because(vec![error.problem()]),
    }
}
