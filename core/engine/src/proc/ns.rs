//! The namespaces of a process: the links `/proc/PID/ns/*`, namespaces(7).

use dormouse_wire::Pid;
use serde::{Deserialize, Serialize};

use super::text::{self, Unreadable};
use super::{ProcError, link};

/// Which namespace a link leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NamespaceLink {
    /// What kind it is: `cgroup`, `ipc`, `mnt`, `net`, `pid`, `time`, `user` or `uts`.
    pub kind: String,
    /// Its inode number on nsfs: two processes with the same one share the namespace, until the next boot.
    pub inode: u64,
}

/// The value of a link below `/proc/PID/ns`, such as `time:[4026531834]`.
pub fn parse(target: &[u8]) -> Result<NamespaceLink, Unreadable> {
    namespace(target).ok_or_else(|| Unreadable::line(target))
}

/// The namespace of one kind that a process is in. `name` is that of the link: `pid_for_children` and
/// `time_for_children` tell what its next child will be in. A link is [`ProcError::Missing`] where the kernel does not
/// have that kind, where a process has no child in its new pid namespace yet, and where it has ended.
pub fn read(pid: Pid, name: &str) -> Result<NamespaceLink, ProcError> {
    let name = format!("ns/{name}");
    parse(&link(pid, &name)?)
        .map_err(|error| ProcError::Malformed { path: super::folder(pid).join(name), line: error.line })
}

fn namespace(target: &[u8]) -> Option<NamespaceLink> {
    let (kind, number) = text::split_once(target, b':')?;
    let number = number.strip_prefix(b"[")?.strip_suffix(b"]")?;
    Some(NamespaceLink { kind: std::str::from_utf8(kind).ok()?.to_owned(), inode: text::decimal(number)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_link_is_read() {
        let expected = NamespaceLink { kind: "time".to_owned(), inode: 4026531834 };
        assert_eq!(parse(b"time:[4026531834]"), Ok(expected));
        assert!(parse(b"/proc/1/ns/time").is_err());
        assert!(parse(b"time:[]").is_err());
    }

    #[test]
    fn this_process_is_in_a_namespace_of_every_kind() -> Result<(), ProcError> {
        let me = Pid(std::process::id() as i32);
        for kind in ["ipc", "mnt", "net", "pid", "user", "uts"] {
            assert_eq!(read(me, kind)?.kind, kind);
        }
        assert_eq!(read(me, "pid_for_children")?, read(me, "pid")?);
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[a-z]{0,4}:?\\[[0-9]{0,25}\\]?") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
