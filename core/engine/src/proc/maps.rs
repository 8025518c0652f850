//! The mappings of a process: `/proc/PID/maps` and `/proc/PID/smaps`. See proc_pid_maps(5), proc_pid_smaps(5) and
//! Documentation/filesystems/proc.rst.
//!
//! `smaps` walks the page tables of the whole process and is slow where that is large; `maps` is not. Read either of a
//! stopped process only: the kernel does not hold the list still between two reads.

use std::fmt;
use std::ops::Deref;

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use super::text::{self, Unreadable};

/// One mapping of memory, a line of `maps`.
#[expect(clippy::struct_excessive_bools, reason = "four letters of the line, each one or the other")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// The first address.
    pub start: u64,
    /// The first address behind it.
    pub end: u64,
    /// Whether it may be read now.
    pub read: bool,
    /// Whether it may be written now.
    pub write: bool,
    /// Whether it may be executed now.
    pub execute: bool,
    /// `MAP_SHARED`: `s`, not `p` (which is a private one, copied on write).
    pub shared: bool,
    /// Where in the file it begins, in bytes; 0 where there is no file.
    pub offset: u64,
    /// Major and minor number of the file's device; 0, 0 where there is no file. On btrfs and overlayfs it is not what
    /// stat(2) says.
    pub device: (u32, u32),
    /// The file's inode number; 0 where there is no file.
    pub inode: u64,
    /// What the last column says.
    pub name: MappingName,
}

/// What a mapping is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MappingName {
    /// Nothing: private anonymous memory.
    Anonymous,
    /// A file, with ` (deleted)` behind its path if it has no name any more ([`super::strip_deleted`]). Shared anonymous
    /// memory without a name is `/dev/zero (deleted)`, a memfd `/memfd:NAME (deleted)`, System V shared memory
    /// `/SYSVKEY (deleted)`; some files of the kernel have no path, such as `anon_inode:[perf_event]`.
    ///
    /// The kernel escapes a line feed as `\012`, but not the backslash: both names come out as the same bytes. Where it
    /// matters the link `/proc/PID/map_files/START-END` has the plain path.
    File(#[serde(with = "serde_bytes")] Vec<u8>),
    /// `[heap]`: what brk(2) moves. The kernel hides the name of an anonymous mapping behind this one.
    Heap,
    /// `[stack]`: the stack of the first thread.
    Stack,
    /// `[vdso]`: the kernel's code in user space, vdso(7).
    Vdso,
    /// `[vvar]`: the data of the vdso.
    Vvar,
    /// `[vvar_vclock]`: the clock pages of a hypervisor, apart from `[vvar]` since 6.13.
    VvarVclock,
    /// `[vsyscall]`: the one page at the end of the address space, the same in every process.
    Vsyscall,
    /// `[anon:NAME]`: private anonymous memory with a name given by `PR_SET_VMA_ANON_NAME` (5.17).
    AnonymousName(#[serde(with = "serde_bytes")] Vec<u8>),
    /// `[anon_shmem:NAME]`: shared anonymous memory with a name given by `PR_SET_VMA_ANON_NAME` (6.2).
    AnonymousShared(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Anything else, such as `[uprobes]`.
    Other(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// One mapping with its numbers: an entry of `smaps`. Dereferences to its [`Mapping`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetailedMapping {
    /// The line that `maps` has too.
    pub mapping: Mapping,
    /// `VmFlags`.
    pub flags: VmFlags,
    /// Codes in `VmFlags` that this version does not know.
    pub unknown_flags: Vec<[u8; 2]>,
    /// `ProtectionKey`, pkeys(7); `None` where the processor or the kernel has none.
    pub protection_key: Option<u32>,
    /// `Rss`: how much of it is in memory, in bytes.
    pub resident: u64,
    /// `Anonymous`: how much of it belongs to no file (any more), in bytes.
    pub anonymous: u64,
    /// `Swap`: how much of it is in swap space, in bytes. Shared memory counts too.
    pub swap: u64,
    /// `Locked`: this process's share of what mlock(2) holds, in bytes.
    pub locked: u64,
    /// `AnonHugePages`, in bytes.
    pub anonymous_huge_pages: u64,
    /// `KernelPageSize`, in bytes: larger than a page for hugetlb mappings.
    pub kernel_page_size: u64,
    /// `THPeligible`: whether transparent huge pages may back it (5.0).
    pub huge_page_eligible: bool,
}

impl Deref for DetailedMapping {
    type Target = Mapping;

    fn deref(&self) -> &Mapping {
        &self.mapping
    }
}

/// What the kernel knows about a mapping beyond its protection. The bits are Dormouse's own, in the order of the list.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VmFlags(u64);

impl fmt::Debug for VmFlags {
    /// The names, such as `VmFlags(READ | MAY_READ)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VmFlags(")?;
        bitflags::parser::to_writer(self, &mut *f)?;
        f.write_str(")")
    }
}

/// One table makes the flags and their two-letter codes.
macro_rules! vm_flags {
    ($($(#[$($doc:tt)*])* $name:ident = $bit:literal, $code:literal;)*) => {
        bitflags! {
            impl VmFlags: u64 {
                $($(#[$($doc)*])* const $name = 1 << $bit;)*
            }
        }

        impl VmFlags {
            /// The flag that a two-letter code stands for.
            pub fn from_code(code: [u8; 2]) -> Option<Self> {
                match &code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

vm_flags! {
    /// May be read.
    READ = 0, b"rd";
    /// May be written.
    WRITE = 1, b"wr";
    /// May be executed.
    EXECUTE = 2, b"ex";
    /// Shared.
    SHARED = 3, b"sh";
    /// mprotect(2) may make it readable.
    MAY_READ = 4, b"mr";
    /// mprotect(2) may make it writable.
    MAY_WRITE = 5, b"mw";
    /// mprotect(2) may make it executable.
    MAY_EXECUTE = 6, b"me";
    /// Made with `MAP_SHARED`; without [`Self::SHARED`] the file was opened for reading only.
    MAY_SHARE = 7, b"ms";
    /// `MAP_GROWSDOWN`.
    GROWS_DOWN = 8, b"gd";
    /// Page frames without a struct page: a device.
    PFN_MAP = 9, b"pf";
    /// The file's writers were locked out (before 5.15).
    DENY_WRITE = 10, b"dw";
    /// mlock(2).
    LOCKED = 11, b"lo";
    /// Memory of a device.
    IO = 12, b"io";
    /// `MADV_SEQUENTIAL`.
    SEQUENTIAL_READ = 13, b"sr";
    /// `MADV_RANDOM`.
    RANDOM_READ = 14, b"rr";
    /// `MADV_DONTFORK`.
    DONT_COPY = 15, b"dc";
    /// mremap(2) may not make it larger.
    DONT_EXPAND = 16, b"de";
    /// Counts against the commit limit.
    ACCOUNT = 17, b"ac";
    /// `MAP_NORESERVE`.
    NO_RESERVE = 18, b"nr";
    /// `MAP_HUGETLB`.
    HUGETLB = 19, b"ht";
    /// `MAP_SYNC`.
    SYNC = 20, b"sf";
    /// Of the architecture: `VM_PAT` on x86 and its like.
    ARCHITECTURE = 21, b"ar";
    /// `remap_file_pages` (before 4.0).
    NONLINEAR = 22, b"nl";
    /// `MADV_WIPEONFORK`.
    WIPE_ON_FORK = 23, b"wf";
    /// `MADV_DONTDUMP`.
    DONT_DUMP = 24, b"dd";
    /// Soft-dirty as a whole: mapped since `clear_refs`.
    SOFT_DIRTY = 25, b"sd";
    /// Some pages with a struct page, some without.
    MIXED_MAP = 26, b"mm";
    /// `MADV_HUGEPAGE`.
    HUGE_PAGE = 27, b"hg";
    /// `MADV_NOHUGEPAGE`.
    NO_HUGE_PAGE = 28, b"nh";
    /// `MADV_MERGEABLE`.
    MERGEABLE = 29, b"mg";
    /// userfaultfd(2): missing pages.
    USERFAULT_MISSING = 30, b"um";
    /// userfaultfd(2): write protection.
    USERFAULT_WRITE_PROTECT = 31, b"uw";
    /// userfaultfd(2): minor faults (5.13).
    USERFAULT_MINOR = 32, b"ui";
    /// A shadow stack (6.6).
    SHADOW_STACK = 33, b"ss";
    /// mseal(2) (6.10).
    SEALED = 34, b"sl";
    /// `MLOCK_ONFAULT`.
    LOCK_ON_FAULT = 35, b"lf";
    /// `MAP_DROPPABLE` (6.11).
    DROPPABLE = 36, b"dp";
    /// May have guard regions, `MADV_GUARD_INSTALL` (6.13; shown since 6.19).
    MAYBE_GUARD = 37, b"gu";
    /// Branch target identification, arm64.
    BTI = 38, b"bt";
    /// Memory tagging, arm64.
    MTE = 39, b"mt";
    /// Memory protection extensions, x86 (before 5.6).
    MPX = 40, b"mp";
}

/// The value of `/proc/PID/maps`.
pub fn parse_maps(bytes: &[u8]) -> Result<Vec<Mapping>, Unreadable> {
    text::lines(bytes).map(parse_line).collect()
}

/// The value of `/proc/PID/smaps`.
pub fn parse_smaps(bytes: &[u8]) -> Result<Vec<DetailedMapping>, Unreadable> {
    let mut mappings = Vec::new();
    text::lines(bytes).try_for_each(|line| parse_smaps_line(line, &mut mappings))?;
    Ok(mappings)
}

/// Takes the next line of `smaps`: a mapping of its own, or more about the last one.
pub fn parse_smaps_line(line: &[u8], mappings: &mut Vec<DetailedMapping>) -> Result<(), Unreadable> {
    // A number's name begins with a capital letter, an address with a small one or a digit.
    if line.first().is_some_and(u8::is_ascii_uppercase) {
        let mapping = mappings.last_mut().ok_or_else(|| Unreadable::line(line))?;
        parse_detail(line, mapping).ok_or_else(|| Unreadable::line(line))
    } else {
        mappings.push(DetailedMapping::of(parse_line(line)?));
        Ok(())
    }
}

impl DetailedMapping {
    fn of(mapping: Mapping) -> Self {
        Self {
            mapping,
            flags: VmFlags::empty(),
            unknown_flags: Vec::new(),
            protection_key: None,
            resident: 0,
            anonymous: 0,
            swap: 0,
            locked: 0,
            anonymous_huge_pages: 0,
            kernel_page_size: 0,
            huge_page_eligible: false,
        }
    }
}

fn parse_line(line: &[u8]) -> Result<Mapping, Unreadable> {
    mapping(line).ok_or_else(|| Unreadable::line(line))
}

/// `START-END PERMISSIONS OFFSET MAJOR:MINOR INODE    NAME`
fn mapping(line: &[u8]) -> Option<Mapping> {
    let mut rest = line;
    let (start, end) = text::split_once(text::take_word(&mut rest)?, b'-')?;
    let (start, end) = (text::hexadecimal(start)?, text::hexadecimal(end)?);
    let permissions: [u8; 4] = text::take_word(&mut rest)?.try_into().ok()?;
    let offset = text::hexadecimal(text::take_word(&mut rest)?)?;
    let device = text::device(text::take_word(&mut rest)?)?;
    let inode = text::decimal(text::take_word(&mut rest)?)?;
    let name = mapping_name(rest.trim_ascii_start(), inode);
    let [read, write, execute, sharing] = permissions;
    let valid = start <= end
        && matches!(read, b'r' | b'-')
        && matches!(write, b'w' | b'-')
        && matches!(execute, b'x' | b'-')
        && matches!(sharing, b's' | b'p');
    valid.then_some(Mapping {
        start,
        end,
        read: read == b'r',
        write: write == b'w',
        execute: execute == b'x',
        shared: sharing == b's',
        offset,
        device,
        inode,
        name,
    })
}

/// Tells the kernel's own names from paths: those begin with a slash, or belong to an inode.
fn mapping_name(name: &[u8], inode: u64) -> MappingName {
    let within = |prefix: &[u8]| Some(name.strip_prefix(prefix)?.strip_suffix(b"]")?.to_vec());
    if name.starts_with(b"/") {
        return MappingName::File(text::unescape_octal(name, |byte| byte == b'\n'));
    }
    if let Some(name) = within(b"[anon_shmem:") {
        return MappingName::AnonymousShared(name);
    }
    if inode != 0 {
        return MappingName::File(text::unescape_octal(name, |byte| byte == b'\n'));
    }
    if let Some(name) = within(b"[anon:") {
        return MappingName::AnonymousName(name);
    }
    match name {
        b"" => MappingName::Anonymous,
        b"[heap]" => MappingName::Heap,
        b"[stack]" => MappingName::Stack,
        b"[vdso]" => MappingName::Vdso,
        b"[vvar]" => MappingName::Vvar,
        b"[vvar_vclock]" => MappingName::VvarVclock,
        b"[vsyscall]" => MappingName::Vsyscall,
        other => MappingName::Other(other.to_vec()),
    }
}

/// `Key:   VALUE kB`, or what `VmFlags`, `THPeligible` and `ProtectionKey` have instead. Other keys are passed over.
fn parse_detail(line: &[u8], mapping: &mut DetailedMapping) -> Option<()> {
    let (key, value) = text::split_once(line, b':')?;
    match key {
        b"Rss" => mapping.resident = text::kibibytes(value)?,
        b"Anonymous" => mapping.anonymous = text::kibibytes(value)?,
        b"Swap" => mapping.swap = text::kibibytes(value)?,
        b"Locked" => mapping.locked = text::kibibytes(value)?,
        b"AnonHugePages" => mapping.anonymous_huge_pages = text::kibibytes(value)?,
        b"KernelPageSize" => mapping.kernel_page_size = text::kibibytes(value)?,
        b"THPeligible" => mapping.huge_page_eligible = text::decimal::<u32>(value.trim_ascii())? != 0,
        b"ProtectionKey" => mapping.protection_key = Some(text::decimal(value.trim_ascii())?),
        b"VmFlags" => {
            for word in text::words(value) {
                let code = word.try_into().ok()?;
                match VmFlags::from_code(code) {
                    Some(flag) => mapping.flags |= flag,
                    None => mapping.unknown_flags.push(code),
                }
            }
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::{self, ProcError};

    fn name_of(line: &[u8]) -> Option<MappingName> {
        mapping(line).map(|mapping| mapping.name)
    }

    #[test]
    fn a_line_of_maps_is_read() {
        let line = b"558705a0f000-558705a10000 r-xs 00002000 fe:1f 18504                      /usr/bin/a b (deleted) ";
        let expected = Mapping {
            start: 0x5587_05a0_f000,
            end: 0x5587_05a1_0000,
            read: true,
            write: false,
            execute: true,
            shared: true,
            offset: 0x2000,
            device: (0xfe, 0x1f),
            inode: 18504,
            name: MappingName::File(b"/usr/bin/a b (deleted) ".to_vec()),
        };
        assert_eq!(parse_maps(line), Ok(vec![expected]));
    }

    #[test]
    fn the_last_page_of_the_address_space_is_read() {
        let line = b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]";
        assert_eq!(name_of(line), Some(MappingName::Vsyscall));
    }

    #[test]
    fn names_of_the_kernel_are_told_from_paths() {
        let anonymous = |name: &[u8]| name_of(&[b"1000-2000 rw-p 00000000 00:00 0 ", name].concat());
        assert_eq!(anonymous(b""), Some(MappingName::Anonymous));
        assert_eq!(anonymous(b"[heap]"), Some(MappingName::Heap));
        assert_eq!(anonymous(b"[vvar_vclock]"), Some(MappingName::VvarVclock));
        assert_eq!(anonymous(b"[anon:a b: c]"), Some(MappingName::AnonymousName(b"a b: c".to_vec())));
        assert_eq!(anonymous(b"[anon:]"), Some(MappingName::AnonymousName(Vec::new())));
        assert_eq!(anonymous(b"[uprobes]"), Some(MappingName::Other(b"[uprobes]".to_vec())));
        let inode = |name: &[u8]| name_of(&[b"1000-2000 rw-s 00000000 00:01 7 ", name].concat());
        assert_eq!(inode(b"[anon_shmem:x]"), Some(MappingName::AnonymousShared(b"x".to_vec())));
        assert_eq!(inode(b"/dev/zero (deleted)"), Some(MappingName::File(b"/dev/zero (deleted)".to_vec())));
        let device = b"anon_inode:[perf_event]";
        assert_eq!(inode(device), Some(MappingName::File(device.to_vec())));
        assert_eq!(inode(br"/a\012b\134\xff"), Some(MappingName::File(b"/a\nb\\134\\xff".to_vec())));
        assert_eq!(inode(b"/\xff[heap]"), Some(MappingName::File(b"/\xff[heap]".to_vec())));
    }

    #[test]
    fn numbers_and_flags_of_smaps_are_read() -> Result<(), Unreadable> {
        let text = b"1000-5000 rw-p 00000000 00:00 0 \nSize:  16 kB\nKernelPageSize:   4 kB\nRss:   8 kB\n\
            Anonymous:    4 kB\nAnonHugePages:    0 kB\nSwap:   12 kB\nLocked:    8 kB\nTHPeligible:           1\n\
            ProtectionKey:         2\nVmFlags: rd wr mr mw me zz ac lf \n5000-6000 ---p 00000000 00:00 0 \nVmFlags: gu \n";
        let mappings = parse_smaps(text)?;
        let [first, second] = &mappings[..] else {
            return Err(Unreadable::line(b"not two mappings"));
        };
        assert_eq!((first.start, first.end, first.name.clone()), (0x1000, 0x5000, MappingName::Anonymous));
        assert_eq!((first.resident, first.anonymous, first.swap, first.locked), (8192, 4096, 12288, 8192));
        assert_eq!((first.huge_page_eligible, first.protection_key, first.kernel_page_size), (true, Some(2), 4096));
        assert!(
            first.flags.contains(VmFlags::READ | VmFlags::LOCK_ON_FAULT) && !first.flags.contains(VmFlags::EXECUTE)
        );
        assert_eq!(first.unknown_flags, [*b"zz"]);
        assert_eq!(format!("{:?}", second.flags), "VmFlags(MAYBE_GUARD)");
        assert_eq!((second.flags, second.protection_key), (VmFlags::MAYBE_GUARD, None));
        Ok(())
    }

    #[test]
    fn a_mapping_outlives_an_image() -> Result<(), Box<dyn std::error::Error>> {
        let text = b"1000-5000 rw-s 00000000 00:01 9 /a\\012\xff\nProtectionKey: 3\nVmFlags: rd lf yy \n";
        let mappings = parse_smaps(text)?;
        let mut image = Vec::new();
        ciborium::into_writer(&mappings, &mut image)?;
        assert_eq!(ciborium::from_reader::<Vec<DetailedMapping>, _>(&image[..])?, mappings);
        Ok(())
    }

    #[test]
    fn lines_that_the_kernel_does_not_write_are_refused() {
        for line in ["Rss: 4 kB", "1000 rw-p 0 0:0 0", "2000-1000 rw-p 0 0:0 0", "1000-2000 rwzp 0 0:0 0", "x"] {
            assert!(parse_smaps(line.as_bytes()).is_err(), "{line}");
        }
        assert!(parse_smaps(b"1000-2000 rw-p 0 0:0 0\nRss: 4 MB").is_err());
    }

    #[test]
    fn every_live_process_can_be_read() -> Result<(), ProcError> {
        for pid in proc::list_pids()? {
            match proc::parsed(pid, "smaps", parse_smaps) {
                Ok(mappings) => assert!(mappings.iter().all(|mapping| mapping.unknown_flags.is_empty())),
                Err(ProcError::Gone | ProcError::Denied { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let me = dormouse_wire::Pid(std::process::id() as i32);
        let mappings = proc::parsed(me, "maps", parse_maps)?;
        assert!(mappings.iter().any(|mapping| mapping.name == MappingName::Stack));
        assert!(mappings.iter().any(|mapping| mapping.name == MappingName::Vdso));
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[0-9a-fA-Z: kBrwxp\\-\n/\\[\\]]{0,200}") {
            let _ = (parse_maps(&bytes), parse_smaps(&bytes), parse_smaps(text.as_bytes()));
        }
    }
}
