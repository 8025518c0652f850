//! Where an image comes from: what a person is told, and what a thaw elsewhere compares.

use serde::{Deserialize, Serialize};

/// The section `Origin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// When it was made: seconds since 1970.
    pub created: u64,
    /// The kernel's release, uname(2).
    pub kernel: String,
    /// The kind of machine, such as `x86_64`.
    pub machine: String,
    /// The name of the host.
    pub host: String,
    /// The version of Dormouse.
    pub version: String,
    /// The command line of the first process.
    pub command: Vec<String>,
    /// Size of a page in bytes.
    pub page_size: u32,
    /// What programs could use of the processor, by the names of /proc/cpuinfo.
    pub processor_features: Vec<String>,
    /// By which the image is known to the files that are kept for it, whatever its name; empty: none are.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
}
