//! Whatever no other kind claims: it is refused by name, before anything is touched.

// zoo: io_uring perf_event bpf_map bpf_program odd_device

use std::os::fd::OwnedFd;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};

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
            libc::S_IFSOCK => (ProblemKind::Socket, phrase!("sockets of this sort cannot be frozen")),
            libc::S_IFCHR | libc::S_IFBLK => {
                let (major, minor) = (libc::major(facts.stat.st_rdev), libc::minor(facts.stat.st_rdev));
                (ProblemKind::Device, phrase!("the device {major}:{minor} cannot be frozen", major, minor))
            }
            libc::S_IFDIR => {
                (ProblemKind::File, phrase!("the directory has been removed, and cannot be made again as it was"))
            }
            0 => (ProblemKind::AnonymousFile, anonymous(&facts.link)),
            _ => (ProblemKind::File, phrase!("files of this type cannot be frozen")),
        };
        vec![facts.problem(kind, what).way_out(phrase!("Close it in the program, or pause the group instead"))]
    }

    fn capture(&self, facts: &FileFacts, _capture: &mut Capture<'_>) -> Result<(), Problem> {
        Err(facts.problem(ProblemKind::File, phrase!("it cannot be frozen")))
    }

    fn restore(&self, (): &(), _id: FileId, _file: &OpenFile, _restore: &mut Restore<'_>) -> Result<OwnedFd, Problem> {
        Err(Problem::blocks(ProblemKind::Image, phrase!("the image holds a file that was never to be frozen")))
    }
}

/// What the kernel calls descriptors without a file, and what they are.
static ANONYMOUS: [(&str, Phrase); 13] = [
    ("[io_uring]", phrase!("an io_uring: what it has under way is the kernel's alone")),
    ("[userfaultfd]", phrase!("a handler of page faults (userfaultfd)")),
    ("[perf_event]", phrase!("a counter of the processor (perf)")),
    ("bpf-prog", phrase!("a program in the kernel (BPF)")),
    ("bpf-map", phrase!("a table of a program in the kernel (BPF)")),
    ("bpf_link", phrase!("the place of a program in the kernel (BPF)")),
    ("[landlock-ruleset]", phrase!("rules of confinement that are not in force yet (landlock)")),
    ("seccomp notify", phrase!("the supervision of confined processes (seccomp)")),
    ("kvm-vm", phrase!("a virtual machine (KVM)")),
    ("kvm-vcpu", phrase!("a processor of a virtual machine (KVM)")),
    ("sync_file", phrase!("a fence of the graphics card")),
    ("[fscontext]", phrase!("a filesystem about to be mounted (fsopen)")),
    ("mnt_ns", phrase!("a namespace")),
];

fn anonymous(link: &[u8]) -> Phrase {
    let link = shown_bytes(link);
    let name = link.strip_prefix("anon_inode:").unwrap_or(&link);
    match ANONYMOUS.iter().find(|(known, _)| name.starts_with(known)) {
        Some((_, what)) => phrase!("{what}, which cannot be frozen", what),
        None => phrase!("{name} cannot be frozen", name),
    }
}
