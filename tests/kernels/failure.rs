//! What a test returns: an error that is printed as it is, line breaks and all, since it carries what a machine said.

use std::fmt;

/// Why a test failed, in words.
pub struct Failure(String);

/// The outcome of a step.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with these words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Returns a [`Failure`] with formatted words, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($words:tt)+) => {
        if $condition {
        } else {
            return Err($crate::failure::Failure::new(format!($($words)+)));
        }
    };
}
pub(crate) use ensure;

/// Runs a host command to its end and returns what it printed.
pub fn run(command: &mut std::process::Command) -> Outcome<Vec<u8>> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| Failure::new(format!("{shown} cannot be started: {error}")))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}
