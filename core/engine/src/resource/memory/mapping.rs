//! One mapping: what the survey sees of it, what the image says, how it is made again.

// zoo: anonymous

use dormouse_wire::{Phrase, Problem, ProblemKind, ProcessName, phrase};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::policy::{self, MemoryPolicy};
use super::protection_keys::ProtectionKeys;
use crate::arguments;
use crate::image::PageNumber;
use crate::kernel::huge_pages;
use crate::proc::maps::{DetailedMapping, MappingName, VmFlags};
use crate::puppet::Batch;

/// A mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// PROT_*.
    pub protection: i32,
    /// What the kernel knows beyond that.
    pub flags: VmFlags,
    /// What it shows.
    pub backing: Backing,
    /// Where in the backing it begins, bytes.
    pub offset: u64,
    /// Its name, PR_SET_VMA_ANON_NAME.
    pub name: Option<ByteBuf>,
    /// Its memory protection key, pkeys(7).
    pub protection_key: u32,
    /// On which nodes it is put, mbind(2).
    pub policy: Option<MemoryPolicy>,
    /// The pages that are the process's own, in order.
    pub pages: Vec<Run>,
    /// Pages that nobody may touch, MADV_GUARD_INSTALL: the first, counted from the mapping's start, and how many.
    pub guards: Vec<(u64, u64)>,
    /// The size of the huge pages that it consists of (hugetlb), bytes; 0: of ordinary pages.
    #[serde(default, skip_serializing_if = "is_ordinary")]
    pub huge_page: u64,
}

/// Whether there is nothing to say of the size of pages.
#[allow(clippy::trivially_copy_pass_by_ref)]
pub fn is_ordinary(size: &u64) -> bool {
    *size == 0
}

/// What a mapping shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backing {
    /// Nothing but itself.
    Anonymous,
    /// A file with a name: an index of the group's mapped files.
    File(usize),
    /// A file without one: an index of the group's contents.
    Content(usize),
    /// System V shared memory: an index of the group's segments.
    Segment(usize),
    /// The ring of a context for asynchronous I/O, io_setup(2).
    Ring,
    /// The kernel's code in the process, vdso(7).
    Vdso,
    /// The kernel's data for it: the nth of its mappings.
    Vvar,
}

/// Pages one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// First page, counted from the mapping's start.
    pub page: u64,
    /// How many.
    pub count: u64,
    /// Where they come from.
    pub source: Source,
}

/// Where pages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// From the image, from this page on.
    Stored(PageNumber),
    /// They are zeros: present, but not worth storing.
    Zero,
    /// From the parent, at the same address: they are shared with it until one of them writes.
    Inherited,
}

/// Size of a page in bytes.
pub const PAGE: u64 = 4096;

impl Mapping {
    /// Length in bytes.
    pub fn length(&self) -> u64 {
        self.end - self.start
    }

    /// Whether it goes on where that one ends, as one piece of anonymous memory of huge pages, which the kernel has a file for.
    pub fn continues(&self, before: &Self) -> bool {
        let kind = |mapping: &Self| (mapping.huge_page, mapping.backing, mapping.flags & VmFlags::NO_RESERVE);
        self.huge_page != 0
            && self.backing == Backing::Anonymous
            && kind(self) == kind(before)
            && self.start == before.end
            && before.offset.checked_add(before.length()) == Some(self.offset)
    }

    /// Whether writes of this process are seen by others.
    pub fn is_shared(&self) -> bool {
        self.flags.contains(VmFlags::MAY_SHARE)
    }

    /// Whether the kernel makes it.
    pub fn is_of_the_kernel(&self) -> bool {
        matches!(self.backing, Backing::Vdso | Backing::Vvar)
    }

    /// Whether it can be made writable for as long as the thaw fills it: it was accounted as writable once, so that the
    /// kernel's books come out the same.
    pub fn fill_writable(&self) -> bool {
        // Huge pages are in other books, and cannot be written against their protection.
        self.protection & libc::PROT_WRITE != 0 || self.flags.contains(VmFlags::ACCOUNT) || self.huge_page != 0
    }

    /// The protection while it is filled.
    pub fn first_protection(&self) -> i32 {
        if self.is_shared() || !self.fill_writable() {
            // Memory that may only be executed takes a protection key of the kernel's, which has its time later.
            return if self.protection == libc::PROT_EXEC {
                libc::PROT_READ | libc::PROT_EXEC
            } else {
                self.protection
            };
        }
        // Not executable meanwhile: some security modules forbid both at once.
        self.protection & !libc::PROT_EXEC | libc::PROT_READ | libc::PROT_WRITE
    }

    /// Maps the part `start..end` of it, from descriptor `file` where it shows one; of a segment, that is its id.
    pub fn map(&self, start: u64, end: u64, file: Option<i32>, batch: &mut Batch) {
        const MAP_DROPPABLE: i32 = 8;
        if let Backing::Segment(_) = self.backing {
            return self.attach((start, end), file.unwrap_or(-1), batch);
        }
        if self.backing == Backing::Ring {
            // The kernel makes it when all else is in its place: until then nobody else may have that.
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
            let arguments = arguments![start, end - start, libc::PROT_NONE, flags, -1, 0];
            batch.must(format!("keep {start:x}-{end:x} free"), libc::SYS_mmap, arguments);
            return;
        }
        let mut flags = libc::MAP_FIXED_NOREPLACE;
        flags |= match self.is_shared() {
            true => libc::MAP_SHARED,
            false if self.flags.contains(VmFlags::DROPPABLE) => MAP_DROPPABLE,
            false => libc::MAP_PRIVATE,
        };
        for (flag, value) in [(VmFlags::GROWS_DOWN, libc::MAP_GROWSDOWN), (VmFlags::NO_RESERVE, libc::MAP_NORESERVE)] {
            if self.flags.contains(flag) {
                flags |= value;
            }
        }
        if self.backing == Backing::Anonymous {
            flags |= libc::MAP_ANONYMOUS;
            flags |= if self.huge_page == 0 { 0 } else { huge_pages::of_mapping(self.huge_page) };
        }
        let offset = if file.is_some() { self.offset + (start - self.start) } else { 0 };
        batch.must(
            format!("map {start:x}-{end:x}"),
            libc::SYS_mmap,
            arguments![start, end - start, self.first_protection(), flags, file.unwrap_or(-1), offset],
        );
    }

    /// Attaches the segment, shmat(2), with the part where it begins: all others come along.
    fn attach(&self, (start, end): (u64, u64), segment: i32, batch: &mut Batch) {
        let to_write = self.flags.contains(VmFlags::MAY_WRITE);
        if self.offset + (start - self.start) == 0 {
            let flags = if to_write { 0 } else { libc::SHM_RDONLY };
            let purpose = format!("attach System V shared memory {segment} at {start:x}");
            batch.must(purpose, libc::SYS_shmat, arguments![segment, start, flags]);
        }
        self.protect_attached((start, end), batch);
    }

    fn protect_attached(&self, (start, end): (u64, u64), batch: &mut Batch) {
        let to_write = self.flags.contains(VmFlags::MAY_WRITE);
        let attached = libc::PROT_READ | if to_write { libc::PROT_WRITE } else { 0 };
        if self.first_protection() != attached {
            let arguments = arguments![start, end - start, self.first_protection()];
            batch.must("protect attached memory", libc::SYS_mprotect, arguments);
        }
    }

    /// Maps the part `start..end` of it where the rest of its segment is not around it: from an attachment of the whole at `aside`, where
    /// room for its length must be, and of which nothing stays.
    pub fn bring(&self, (start, end): (u64, u64), (segment, length): (i32, u64), aside: u64, batch: &mut Batch) {
        let flags = if self.flags.contains(VmFlags::MAY_WRITE) { 0 } else { libc::SHM_RDONLY };
        let purpose = format!("attach System V shared memory {segment} at {aside:x}");
        batch.must(purpose, libc::SYS_shmat, arguments![segment, aside, flags]);
        let from = aside + self.offset + (start - self.start);
        let how = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let arguments = arguments![from, end - start, end - start, how, start];
        batch.must("move a part of it to its place", libc::SYS_mremap, arguments);
        batch.must("detach the rest", libc::SYS_munmap, arguments![aside, length]);
        self.protect_attached((start, end), batch);
    }

    /// What is done to it once it is filled and the children have been made: names, advice, protection, locks.
    pub fn finish(&self, keys: &ProtectionKeys, batch: &mut Batch) {
        let length = self.length();
        if let Some(name) = &self.name {
            const PR_SET_VMA: i32 = 0x5356_4d41;
            let name = batch.text(name);
            batch.must("name a mapping", libc::SYS_prctl, arguments![PR_SET_VMA, 0, self.start, length, name]);
        }
        for (flag, advice) in ADVICE {
            if self.flags.contains(flag) {
                batch.must("give advice on a mapping", libc::SYS_madvise, arguments![self.start, length, advice]);
            }
        }
        policy::restore_mapping(self, batch);
        for (page, count) in &self.guards {
            const MADV_GUARD_INSTALL: i32 = 102;
            let arguments = arguments![self.start + page * PAGE, count * PAGE, MADV_GUARD_INSTALL];
            batch.must("guard pages of a mapping", libc::SYS_madvise, arguments);
        }
        self.protect(keys, batch);
        self.lock(batch);
        if self.flags.contains(VmFlags::SEALED) {
            const MSEAL: i64 = 462;
            batch.must("seal a mapping", MSEAL, arguments![self.start, length, 0]);
        }
    }
}

impl Mapping {
    fn lock(&self, batch: &mut Batch) {
        const MLOCK_ONFAULT: i32 = 1;
        if !self.flags.contains(VmFlags::LOCKED) {
            return;
        }
        let how = if self.flags.contains(VmFlags::LOCK_ON_FAULT) { MLOCK_ONFAULT } else { 0 };
        let arguments = arguments![self.start, self.length(), how];
        if self.guards.is_empty() {
            batch.must("lock a mapping in memory", libc::SYS_mlock2, arguments);
        } else {
            // It is locked, and an error all the same: the guarded pages cannot be brought in.
            batch.ask(libc::SYS_mlock2, arguments);
        }
    }

    /// Its final protection.
    pub fn protect(&self, keys: &ProtectionKeys, batch: &mut Batch) {
        if self.protection_key != 0 && !keys.are_the_kernels(self) {
            batch.must(
                "set a protection key",
                libc::SYS_pkey_mprotect,
                arguments![self.start, self.length(), self.protection, self.protection_key],
            );
        } else if self.first_protection() != self.protection {
            batch.must("protect a mapping", libc::SYS_mprotect, arguments![self.start, self.length(), self.protection]);
        }
    }
}

/// Flags that madvise(2) sets.
const ADVICE: [(VmFlags, i32); 8] = [
    (VmFlags::SEQUENTIAL_READ, libc::MADV_SEQUENTIAL),
    (VmFlags::RANDOM_READ, libc::MADV_RANDOM),
    (VmFlags::DONT_COPY, libc::MADV_DONTFORK),
    (VmFlags::DONT_DUMP, libc::MADV_DONTDUMP),
    (VmFlags::WIPE_ON_FORK, libc::MADV_WIPEONFORK),
    (VmFlags::MERGEABLE, libc::MADV_MERGEABLE),
    (VmFlags::HUGE_PAGE, libc::MADV_HUGEPAGE),
    (VmFlags::NO_HUGE_PAGE, libc::MADV_NOHUGEPAGE),
];

/// What of a mapping stands in the way of a freeze.
pub fn judge(found: &DetailedMapping, process: &ProcessName) -> Vec<Problem> {
    let shown = || {
        phrase!(
            "mapping {start}-{end} {what}",
            start = format_args!("{:x}", found.start),
            end = format_args!("{:x}", found.end),
            what = shown_name(&found.name)
        )
    };
    let refuse = |what: Phrase| {
        vec![
            Problem::blocks(ProblemKind::Memory, what)
                .of(process)
                .at(shown())
                .way_out(phrase!("Pause the group instead, or close what uses it in the program")),
        ]
    };
    let kernel_made =
        matches!(found.name, MappingName::Vdso | MappingName::Vvar | MappingName::VvarVclock | MappingName::Vsyscall);
    if kernel_made {
        return if found.flags.contains(VmFlags::SEALED) { vec![sealed(process, shown())] } else { Vec::new() };
    }
    if found.flags.intersects(VmFlags::PFN_MAP | VmFlags::IO) {
        return refuse(phrase!("memory of a device cannot be frozen"));
    }
    if found.flags.intersects(VmFlags::USERFAULT_MISSING | VmFlags::USERFAULT_WRITE_PROTECT | VmFlags::USERFAULT_MINOR)
    {
        return refuse(phrase!("memory whose faults are handled through userfaultfd cannot be frozen"));
    }
    if found.flags.contains(VmFlags::SHADOW_STACK) {
        return refuse(phrase!("shadow stacks cannot be frozen"));
    }
    if found.flags.contains(VmFlags::MIXED_MAP) && !matches!(found.name, MappingName::File(_)) {
        return refuse(phrase!("memory of the kernel cannot be frozen"));
    }
    match &found.name {
        MappingName::Other(_) => refuse(phrase!("mappings of this sort cannot be frozen")),
        MappingName::File(path) if path.starts_with(b"/secretmem") => {
            refuse(phrase!("secret memory (memfd_secret) cannot be read, not even by root"))
        }
        MappingName::File(path) if path.starts_with(b"/memfd:") || path.starts_with(b"/") => Vec::new(),
        MappingName::File(_) => refuse(phrase!("mappings of this sort cannot be frozen")),
        _ if found.unknown_flags.is_empty() => Vec::new(),
        _ => {
            let codes: Vec<_> = found.unknown_flags.iter().map(|code| code.escape_ascii().to_string()).collect();
            refuse(phrase!("it has properties that this version does not know ({codes})", codes = codes.join(" ")))
        }
    }
}

/// What this kernel has sealed in every process no thaw under it could put where the program knows it.
fn sealed(process: &ProcessName, shown: Phrase) -> Problem {
    let what = phrase!(
        "the kernel has sealed what it maps into processes (CONFIG_MSEAL_SYSTEM_MAPPINGS), and could not wake it"
    );
    let problem = Problem::blocks(ProblemKind::Kernel, what).of(process).at(shown);
    problem.way_out(phrase!("Use a kernel that is built without it, or pause the group instead"))
}

/// The name, for a person.
pub fn shown_name(name: &MappingName) -> Phrase {
    match name {
        MappingName::Anonymous => phrase!("of anonymous memory"),
        MappingName::File(path) | MappingName::Other(path) => {
            phrase!("of {path}", path = String::from_utf8_lossy(path).escape_debug())
        }
        MappingName::Heap => phrase!("of the heap"),
        MappingName::Stack => phrase!("of the stack"),
        MappingName::Vdso => phrase!("of the vdso"),
        MappingName::Vvar | MappingName::VvarVclock => phrase!("of the vdso's data"),
        MappingName::Vsyscall => phrase!("of the vsyscall page"),
        MappingName::AnonymousName(name) | MappingName::AnonymousShared(name) => {
            phrase!("named \"{name}\"", name = String::from_utf8_lossy(name).escape_debug())
        }
    }
}
