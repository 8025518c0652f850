//! What a group needs of the system it runs on: filesystems, devices, and its ends in the network.
//!
//! Only what there must be for the group to go on as it does: pipes, files without a name and what the kernel makes up (proc(5),
//! sysfs(5), `/dev/null` and the like) are everywhere or nowhere, and do not count.

use serde::{Deserialize, Serialize};

use crate::graph::ThingKind;
use crate::id::FdNumber;
use crate::verdict::ProcessName;

/// What a group needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// The mounts on which its files lie, by their place.
    pub filesystems: Vec<Filesystem>,
    /// The devices that it has open or mapped.
    pub devices: Vec<Device>,
    /// Its sockets but for unix sockets: where it listens, and what it is connected to.
    pub endpoints: Vec<Endpoint>,
    /// Of a group that lives in a sandbox: that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
}

/// A set of namespaces in which a group lives alone, namespaces(7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The kinds of namespaces that it has for itself, by the names of the links in /proc/PID/ns.
    pub namespaces: Vec<String>,
    /// The files and folders of the system that are mounted in it, by their paths outside: a thaw mounts them again.
    pub paths: Vec<String>,
}

/// A mount with files of the group, proc_pid_mountinfo(5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// Where it is mounted, as its users see it. None for one that none of them sees: its files came from elsewhere.
    pub mount_point: Option<String>,
    /// What is mounted: a device, a server, or a word.
    pub source: String,
    /// Its type, such as `ext4` or `fuse.sshfs`.
    pub kind: String,
    /// What of it is mounted: `/`, but for bind mounts.
    pub subtree: String,
    /// It is mounted in another mount namespace than that of the caller, mount_namespaces(7).
    pub elsewhere: bool,
    /// The files of the group on it, by their paths.
    pub files: Vec<File>,
}

/// A file or folder of the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path, escaped where it could not be shown.
    pub path: String,
    /// What it is used for.
    pub uses: Vec<Use>,
    /// Who uses it.
    pub processes: Vec<ProcessName>,
}

/// What a file is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Use {
    /// It is the program of a process.
    Program,
    /// It is mapped to be executed, as libraries are.
    Library,
    /// It is mapped to be read.
    Mapped,
    /// It is mapped so that what is written comes into it.
    MappedForWriting,
    /// It is open, and only for reading.
    Open,
    /// It is open for writing.
    OpenForWriting,
    /// It is the working directory of a process.
    WorkingDirectory,
    /// It is the root directory of a process.
    Root,
}

/// A device of the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// What it is.
    pub kind: ThingKind,
    /// Its path.
    pub path: String,
    /// Who has it open or mapped.
    pub holders: Vec<Holder>,
}

/// An end in the network, or in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The protocol: `tcp`, `udp`, `udplite`, `icmp`, `raw`, `packet`, `netlink`, or what the kernel calls it.
    pub protocol: String,
    /// What it does.
    pub state: EndpointState,
    /// Its own address; for `raw` the number of the protocol, for `netlink` the part of the kernel, stands behind it or alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// The address of the other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// It is in another network namespace than that of the caller, network_namespaces(7).
    pub elsewhere: bool,
    /// Who holds it.
    pub holders: Vec<Holder>,
}

/// What an end in the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EndpointState {
    /// It waits for connections.
    Listens,
    /// It has an address, and whoever likes can send to it.
    Bound,
    /// It waits for the other end to answer.
    Connecting,
    /// It is connected.
    Connected,
    /// One end has closed the connection.
    Closing,
    /// It is open; more is not known, or there is no more to it.
    Open,
}

/// A process, and by what it holds something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessName,
    /// Its descriptors; none where it only has it mapped.
    pub descriptors: Vec<FdNumber>,
}
