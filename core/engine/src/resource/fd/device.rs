//! Devices that hold no state, null(4), random(4): opened again by name. `/dev/null zero full random urandom tty`.

// zoo: devices

use std::os::fd::OwnedFd;

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Capture, FileFacts, FileId, FileKind, OpenFile, Restore, path_of};
use crate::kernel::Errno;
use crate::kernel::identity::{Acting, Identity};
use crate::resource::moves::Moving;
use crate::resource::named_file::{Owner, shown};
use crate::resource::owners::Walk;

/// The kind.
#[derive(Debug)]
pub struct Device;

/// A device by name, with its numbers: another one under the name is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    path: ByteBuf,
    major: u32,
    minor: u32,
    owner: Owner,
}

/// Minor numbers of major 1, "memory devices", that hold no state: null, zero, full, random, urandom.
const STATELESS: [u32; 5] = [3, 5, 7, 8, 9];

impl FileKind for Device {
    type Record = Record;

    fn name(&self) -> &'static str {
        "device"
    }

    fn claims(&self, facts: &FileFacts) -> bool {
        let (major, minor) = (libc::major(facts.stat.st_rdev), libc::minor(facts.stat.st_rdev));
        facts.file_type() == libc::S_IFCHR && major == 1 && STATELESS.contains(&minor)
    }

    fn capture(&self, facts: &FileFacts, _capture: &mut Capture<'_>) -> Result<Record, Problem> {
        Ok(Record {
            path: ByteBuf::from(facts.link.clone()),
            major: libc::major(facts.stat.st_rdev),
            minor: libc::minor(facts.stat.st_rdev),
            owner: facts.owner.clone(),
        })
    }

    fn moved(&self, record: &mut Record, moving: &mut Moving<'_>) {
        moving.path(&mut record.path);
    }

    fn led(&self, record: &mut Record, walk: &mut Walk<'_>) {
        record.owner.led(walk);
    }

    fn preflight(&self, record: &Record, _file: &OpenFile) -> Vec<Problem> {
        use std::os::unix::fs::MetadataExt;
        let path = path_of(&record.path);
        let name = shown(&path);
        match std::fs::metadata(&path) {
            Err(error) => {
                vec![
                    Problem::blocks(ProblemKind::Device, phrase!("the device cannot be found: {why}", why = error))
                        .at(name),
                ]
            }
            Ok(found) if found.rdev() != libc::makedev(record.major, record.minor) => {
                vec![Problem::blocks(ProblemKind::Device, phrase!("another device has its name now")).at(name)]
            }
            Ok(_) => Vec::new(),
        }
    }

    fn restore(
        &self,
        record: &Record,
        _id: FileId,
        file: &OpenFile,
        _restore: &mut Restore<'_>,
    ) -> Result<OwnedFd, Problem> {
        let path = path_of(&record.path);
        let problem = |errno: Errno| {
            Problem::blocks(ProblemKind::Device, phrase!("the device cannot be opened: {why}", why = errno.desc()))
                .at(shown(&path))
        };
        let _acting = Acting::begin(&Identity::from(&record.owner)).map_err(problem)?;
        file.open_again(&path).map_err(problem)
    }
}
