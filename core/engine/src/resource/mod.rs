//! What a group holds: one file a kind, with its record, what stands in its way, how it is captured and given back.
//!
//! [`group::Group`] is the whole record, the image's main section.

pub mod clocks;
pub mod content;
pub mod fd;
pub mod group;
pub mod likeness;
pub mod memory;
pub mod moves;
pub mod named_file;
pub mod namespace;
pub mod origin;
pub mod owners;
pub mod system_v;
pub mod task;
