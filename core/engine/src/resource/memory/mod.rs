//! A process's memory: its layout, its mappings, mmap(2), and the pages that are its own.
//!
//! What a mapping shows is told by its [`Backing`], a file each: [`anonymous`], [`file`], [`content`], [`vdso`].

pub mod inherit;
pub mod layout;
pub mod mapping;
pub mod own_segments;
pub mod policy;
pub mod protection_keys;
pub mod ring;
pub mod segment;
pub mod vdso;

use serde::{Deserialize, Serialize};

pub use layout::Layout;
pub use mapping::{Backing, Mapping, Run, Source};
pub use own_segments::OwnSegment;
pub use protection_keys::ProtectionKeys;
pub use ring::Ring;

/// The memory of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Where code, data, heap, stack, arguments and environment are.
    pub layout: Layout,
    /// The mappings by address.
    pub mappings: Vec<Mapping>,
    /// What mlockall(2) said of mappings to come: MCL_FUTURE and MCL_ONFAULT, 0 for none.
    pub lock_future: u32,
    /// Its protection keys.
    pub protection_keys: ProtectionKeys,
    /// Its contexts for asynchronous I/O.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rings: Vec<Ring>,
    /// Segments of its own, modify_ldt(2), those that are not empty: number, and the descriptor of the processor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_segments: Vec<OwnSegment>,
}
