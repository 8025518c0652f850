//! The rows of lists.

pub mod group;
pub mod image;
pub mod reason;
