//! A thread with a working directory of its own, unshare(2), which is refused.

pub use crate::stray_table::hold_place as hold;
