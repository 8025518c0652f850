//! An address in another process: never a bare integer, never a pointer of ours.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// An address in another process.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RemotePtr(pub u64);

impl RemotePtr {
    /// The null pointer.
    pub const NULL: Self = Self(0);
}

impl Add<u64> for RemotePtr {
    type Output = Self;
    fn add(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

impl Sub<RemotePtr> for RemotePtr {
    type Output = u64;
    fn sub(self, other: RemotePtr) -> u64 {
        self.0.wrapping_sub(other.0)
    }
}

impl fmt::Debug for RemotePtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for RemotePtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
