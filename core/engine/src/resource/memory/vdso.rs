//! The kernel's own code and data in a process, vdso(7).
//!
//! Under the same vdso they are moved to where they were. Under another one the old code stays as ordinary memory, and
//! each of its functions begins with a jump to the running kernel's.

// zoo: vdso

use serde::{Deserialize, Serialize};

/// A vdso as the image knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vdso {
    /// Its bytes.
    #[serde(with = "serde_bytes")]
    pub code: Vec<u8>,
}
