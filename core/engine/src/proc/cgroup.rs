//! The control groups of a process: `/proc/PID/cgroup`, cgroups(7).

use serde::{Deserialize, Serialize};

use super::text::{self, Unreadable};

/// Where a process stands in one hierarchy of control groups.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CgroupMembership {
    /// The number of the hierarchy; 0 for cgroup v2.
    pub hierarchy: u32,
    /// The controllers bound to it, or `name=…`; empty for cgroup v2.
    pub controllers: Vec<String>,
    /// The path below the mount point of the hierarchy, seen from the reader's cgroup namespace (`/../x` where it is
    /// outside of that). ` (deleted)` behind it where the group is gone, which only a zombie can see.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
}

impl CgroupMembership {
    /// Whether the hierarchy is that of cgroup v2.
    pub fn is_unified(&self) -> bool {
        self.hierarchy == 0 && self.controllers.is_empty()
    }
}

/// The value of `/proc/PID/cgroup`. The kernel lets no line feed into the name of a group.
pub fn parse(bytes: &[u8]) -> Result<Vec<CgroupMembership>, Unreadable> {
    text::lines(bytes).map(|line| membership(line).ok_or_else(|| Unreadable::line(line))).collect()
}

/// `HIERARCHY:CONTROLLERS:PATH`
fn membership(line: &[u8]) -> Option<CgroupMembership> {
    let (hierarchy, rest) = text::split_once(line, b':')?;
    let (controllers, path) = text::split_once(rest, b':')?;
    let controllers = std::str::from_utf8(controllers).ok()?;
    Some(CgroupMembership {
        hierarchy: text::decimal(hierarchy)?,
        controllers: controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        path: path.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{self, ProcError};

    #[test]
    fn both_versions_are_read() -> Result<(), Unreadable> {
        let groups = parse(b"9:name=systemd:/\n4:cpu,cpuacct:/a:b\xff\n0::/user.slice/app.scope (deleted)\n")?;
        assert_eq!((groups[0].hierarchy, groups[0].is_unified()), (9, false));
        assert_eq!(groups[0].controllers, ["name=systemd"]);
        assert_eq!(groups[1].controllers, ["cpu", "cpuacct"]);
        assert_eq!(groups[1].path, b"/a:b\xff");
        assert_eq!((groups[2].is_unified(), proc::strip_deleted(&groups[2].path).1), (true, true));
        Ok(())
    }

    #[test]
    fn a_line_without_a_path_is_refused() {
        assert!(parse(b"9:name=systemd").is_err());
    }

    #[test]
    fn every_live_process_can_be_read() -> Result<(), ProcError> {
        for pid in proc::list_pids()? {
            match proc::parsed(pid, "cgroup", parse) {
                Err(ProcError::Gone | ProcError::Missing { .. }) => {}
                groups => drop(groups?),
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[0-9]{0,12}:[a-z,]{0,5}:?/?") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }
}
