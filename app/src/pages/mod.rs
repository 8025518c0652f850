//! The pages of the window. Each is told the news, shows its part of them, and says what the person wishes.

pub mod asleep;
pub mod detail;
pub mod image;
pub mod running;

/// What the person wishes.
#[derive(Clone, Debug)]
pub enum Wish {
    /// See a group.
    Open(String),
    /// See an image.
    OpenImage(String),
    /// Freeze it.
    Freeze(String),
    /// Hold it still in memory.
    Pause(String),
    /// Let it go on.
    Resume(String),
    /// Wake an image.
    Wake(String),
    /// Have a copy of it.
    Export(String),
    /// Be rid of it.
    Delete(String),
    /// Undo a job.
    Cancel(String),
    /// Look again.
    Refresh,
}
