//! Whatever no other kind claims: it is refused by name, before anything is touched.

// zoo: io_uring

use std::os::fd::OwnedFd;

use dormouse_wire::{Problem, ProblemKind};

use super::{Capture, FileFacts, FileId, FileKind, FilesFacts, OpenFile, Restore, shown_bytes};

/// The last kind.
#[derive(Debug)]
pub struct Unknown;

impl FileKind for Unknown {
    type Record = ();

    fn name(&self) -> &'static str {
        "unknown"
    }

    fn claims(&self, _facts: &FileFacts) -> bool {
        true
    }

    fn judge(&self, facts: &FileFacts, _files: &FilesFacts) -> Vec<Problem> {
        let (kind, what) = match facts.file_type() {
            libc::S_IFSOCK => (ProblemKind::Socket, "sockets of this family cannot be frozen".to_owned()),
            libc::S_IFCHR | libc::S_IFBLK => {
                let (major, minor) = (libc::major(facts.stat.st_rdev), libc::minor(facts.stat.st_rdev));
                (ProblemKind::Device, format!("the device {major}:{minor} cannot be frozen"))
            }
            0 => (ProblemKind::AnonymousFile, format!("{} cannot be frozen", shown_bytes(&facts.link))),
            _ => (ProblemKind::File, "files of this type cannot be frozen".to_owned()),
        };
        vec![facts.problem(kind, what).way_out("Close it in the program, or pause the group instead")]
    }

    fn capture(&self, facts: &FileFacts, _capture: &mut Capture<'_>) -> Result<(), Problem> {
        Err(facts.problem(ProblemKind::File, "it cannot be frozen"))
    }

    fn restore(&self, (): &(), _id: FileId, _file: &OpenFile, _restore: &mut Restore<'_>) -> Result<OwnedFd, Problem> {
        Err(Problem::blocks(ProblemKind::Image, "the image holds a file that was never to be frozen"))
    }
}
