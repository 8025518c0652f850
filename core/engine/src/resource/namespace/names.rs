//! The names of the system in a uts namespace, uts_namespaces(7): sethostname(2), setdomainname(2).

// zoo: none, because a group with namespaces of its own is no program: see tests/capsules

use std::os::unix::ffi::OsStrExt;

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::kernel::{Answer, namespaces};

/// The names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// That of the host.
    pub host: ByteBuf,
    /// The NIS domain name.
    pub domain: ByteBuf,
}

impl Names {
    /// Those that this process sees.
    pub fn here() -> Answer<Self> {
        let system = nix::sys::utsname::uname()?;
        let bytes = |text: &std::ffi::OsStr| ByteBuf::from(text.as_bytes());
        Ok(Self { host: bytes(system.nodename()), domain: bytes(system.domainname()) })
    }

    /// Gives them to the uts namespace of this process, which must be its own.
    pub fn restore(&self) -> Result<(), Problem> {
        namespaces::set_names(&self.host, &self.domain).map_err(|errno| {
            let what = phrase!("the names of the host and its domain cannot be set: {why}", why = errno.desc());
            Problem::blocks(ProblemKind::Namespace, what).way_out(phrase!("Run Dormouse as root"))
        })
    }
}
