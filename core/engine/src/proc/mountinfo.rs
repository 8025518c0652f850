//! The mounts that a process sees: `/proc/PID/mountinfo`, proc_pid_mountinfo(5).

use serde::{Deserialize, Serialize};

use super::text::{self, Unreadable};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Its id; may be used again after it is gone.
    pub id: i32,
    /// The id of the mount it is mounted on; its own for the top of the mount namespace. May be outside what is listed.
    pub parent: i32,
    /// Major and minor number of the superblock: what stat(2) says, but on btrfs.
    pub device: (u32, u32),
    /// What of the filesystem is the root of this mount; ends in `//deleted` where that has no name any more.
    #[serde(with = "serde_bytes")]
    pub root: Vec<u8>,
    /// Where it is mounted, seen from the root of the process.
    #[serde(with = "serde_bytes")]
    pub mount_point: Vec<u8>,
    /// The options of this mount, such as `rw,nosuid`, still escaped.
    #[serde(with = "serde_bytes")]
    pub options: Vec<u8>,
    /// How mounts and unmounts spread, mount_namespaces(7).
    pub propagation: Propagation,
    /// The type of the filesystem, such as `ext4` or `fuse.sshfs`.
    #[serde(with = "serde_bytes")]
    pub filesystem: Vec<u8>,
    /// What is mounted: a device, a word of the filesystem, or nothing.
    #[serde(with = "serde_bytes")]
    pub source: Vec<u8>,
    /// The options of the superblock, still escaped.
    #[serde(with = "serde_bytes")]
    pub super_options: Vec<u8>,
}

/// The optional fields; all absent for a private mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Propagation {
    /// `shared:N`: the peer group.
    pub shared: Option<u32>,
    /// `master:N`: the peer group it is a slave of.
    pub master: Option<u32>,
    /// `propagate_from:N`: the nearest dominant peer group below the same root.
    pub propagate_from: Option<u32>,
    /// `unbindable`.
    pub unbindable: bool,
}

/// The value of `/proc/PID/mountinfo`.
pub fn parse(bytes: &[u8]) -> Result<Vec<Mount>, Unreadable> {
    text::lines(bytes).map(|line| mount(line).ok_or_else(|| Unreadable::line(line))).collect()
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD…] - TYPE SOURCE SUPEROPTIONS`
fn mount(line: &[u8]) -> Option<Mount> {
    // Single spaces, not white space: a source may be empty.
    let mut fields = line.splitn(7, |byte| *byte == b' ');
    let id = text::decimal(fields.next()?)?;
    let parent = text::decimal(fields.next()?)?;
    let (major, minor) = text::split_once(fields.next()?, b':')?;
    let root = unescape(fields.next()?);
    let mount_point = unescape(fields.next()?);
    let options = fields.next()?.to_vec();
    let mut rest = fields.next()?;
    let mut propagation = Propagation::default();
    loop {
        let (field, behind) = text::split_once(rest, b' ')?;
        rest = behind;
        if field == b"-" {
            break;
        }
        propagation.add(field)?;
    }
    let mut fields = rest.splitn(3, |byte| *byte == b' ');
    Some(Mount {
        id,
        parent,
        device: (text::decimal(major)?, text::decimal(minor)?),
        root,
        mount_point,
        options,
        propagation,
        filesystem: unescape(fields.next()?),
        source: unescape(fields.next()?),
        super_options: fields.next()?.to_vec(),
    })
}

impl Propagation {
    /// Takes one optional field; the manual page says that unknown ones are to be passed over.
    fn add(&mut self, field: &[u8]) -> Option<()> {
        let (key, value) = text::split_once(field, b':').unwrap_or((field, b""));
        match key {
            b"shared" => self.shared = Some(text::decimal(value)?),
            b"master" => self.master = Some(text::decimal(value)?),
            b"propagate_from" => self.propagate_from = Some(text::decimal(value)?),
            b"unbindable" => self.unbindable = true,
            _ => {}
        }
        Some(())
    }
}

/// Space, tab, line feed and backslash are escaped everywhere, the number sign in sources.
fn unescape(field: &[u8]) -> Vec<u8> {
    text::unescape_octal(field, |byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\\' | b'#'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{self, ProcError};

    #[test]
    fn a_mount_is_read() {
        let line = br"36 35 98:0 /mnt1 /mnt\0402\134 rw,noatime master:1 propagate_from:2 new:9 - ext3 /dev/a\043b rw,errors=continue c";
        let expected = Mount {
            id: 36,
            parent: 35,
            device: (98, 0),
            root: b"/mnt1".to_vec(),
            mount_point: br"/mnt 2\".to_vec(),
            options: b"rw,noatime".to_vec(),
            propagation: Propagation { master: Some(1), propagate_from: Some(2), ..Propagation::default() },
            filesystem: b"ext3".to_vec(),
            source: b"/dev/a#b".to_vec(),
            super_options: b"rw,errors=continue c".to_vec(),
        };
        assert_eq!(parse(line), Ok(vec![expected]));
    }

    #[test]
    fn a_source_may_be_empty_and_a_path_any_bytes() -> Result<(), Unreadable> {
        let mounts = parse(b"41 31 0:38 / /\xff rw shared:3 unbindable - tmpfs  rw\n")?;
        assert_eq!((mounts[0].source.as_slice(), mounts[0].super_options.as_slice()), (&b""[..], &b"rw"[..]));
        assert_eq!(mounts[0].mount_point, b"/\xff");
        let expected = Propagation { shared: Some(3), unbindable: true, ..Propagation::default() };
        assert_eq!(mounts[0].propagation, expected);
        Ok(())
    }

    #[test]
    fn a_line_that_is_cut_is_refused() {
        assert!(parse(b"41 31 0:38 / /x rw shared:3").is_err());
        assert!(parse(b"41 31 0:38 / /x rw - tmpfs").is_err());
    }

    #[test]
    fn every_live_process_can_be_read() -> Result<(), ProcError> {
        for pid in proc::list_pids()? {
            match proc::parsed(pid, "mountinfo", parse) {
                Err(ProcError::Io { .. } | ProcError::Gone | ProcError::Denied { .. }) => {}
                mounts => drop(mounts?),
            }
        }
        let me = dormouse_wire::Pid(std::process::id() as i32);
        let mounts = proc::parsed(me, "mountinfo", parse)?;
        assert!(mounts.iter().any(|mount| mount.mount_point == b"/proc" && mount.filesystem == b"proc"));
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "1 2 3:4 [/\\\\0-7]{0,9} / rw ([a-z]{0,3}:?[0-9]? |- ){0,4}[a-z ]{0,9}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
