//! The kernel's own code and data in a process, vdso(7).
//!
//! Under the same vdso they are moved to where they were: programs keep pointers into it. Under another one the old code
//! stays as ordinary memory, and each of its functions begins with a jump to the running kernel's, or is a plain system
//! call where that has no such function. Where the data was there are pages of zeros then: to the old code they say that
//! there is no clock it could read, so that a thread which was just in there asks the kernel.
//!
//! 32-bit programs have another one. By that, where there is one, a process is known to be such a program. The kernel comes back from
//! `sysenter` to the vdso that it has mapped, wherever that lies.

// zoo: vdso ia32

use dormouse_wire::Pid;
use serde::{Deserialize, Serialize};

use super::mapping::{Backing, Mapping};
use crate::kernel::ia32::Bearer;
use crate::kernel::{Answer, Errno};
use crate::model::RemotePtr;
use crate::proc;
use crate::proc::maps::{self, MappingName, VmFlags, parse_maps};
use crate::puppet::arch;

/// A vdso as the image knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vdso {
    /// Its bytes.
    #[serde(with = "serde_bytes")]
    pub code: Vec<u8>,
}

/// No vdso is as large.
pub const MOST_BYTES: usize = 1 << 20;

/// A function of a vdso: its name, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Such as `__vdso_clock_gettime`.
    pub name: Vec<u8>,
    /// Counted from the vdso's first byte.
    pub offset: usize,
    /// In bytes; 0 if it is not told.
    pub size: usize,
}

/// What sort of program a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// One of 64 bits.
    Native,
    /// One of 32 bits (i386).
    Ia32,
    /// One of another kind: x32, which has short addresses in 64-bit code.
    Other,
}

impl Sort {
    /// Bytes at the beginning of a file that tell its sort, elf(5).
    pub const HEADER: usize = 20;

    /// That of a program or a vdso which begins so.
    pub fn of(header: &[u8]) -> Self {
        const EM_386: usize = 3;
        match (header.starts_with(b"\x7fELF\x01"), half(header, 0x12)) {
            (true, Some(EM_386)) => Self::Ia32,
            (true, _) => Self::Other,
            (false, _) => Self::Native,
        }
    }
}

/// What the running kernel maps into a process of a sort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelMappings {
    /// Its vdso.
    pub vdso: Vdso,
    /// How long each of its mappings is; they lie one behind the other, the vdso last.
    pub lengths: Vec<u64>,
}

impl KernelMappings {
    /// Into this process.
    pub fn own() -> Answer<Self> {
        let own = Pid(std::process::id() as i32);
        Self::of(own, own)
    }

    /// Into 32-bit programs. ENOSYS: this kernel runs none.
    pub fn narrow() -> Answer<Self> {
        let own: Vec<_> = mapped(Pid(std::process::id() as i32))?.map(|found| (found.start, found.end)).collect();
        let bearer = Bearer::new(&own)?;
        Self::of(bearer.pid(), bearer.called()).and_then(|found| {
            // What could not work in there could not clear up either.
            found.instruction().map(|_| found).ok_or(Errno::ENOSYS)
        })
    }

    /// `called`: what it is in proc(5).
    fn of(pid: Pid, called: Pid) -> Answer<Self> {
        let all: Vec<_> = mapped(called)?.collect();
        let vdso = all.last().filter(|found| found.name == MappingName::Vdso).ok_or(Errno::ENOENT)?;
        let mut code = vec![0; (vdso.end - vdso.start) as usize];
        crate::kernel::memory::read(pid, RemotePtr(vdso.start), &mut code)?;
        Ok(Self { vdso: Vdso { code }, lengths: all.iter().map(|found| found.end - found.start).collect() })
    }

    /// How far behind the first of them the vdso begins.
    pub fn behind_data(&self) -> u64 {
        self.lengths.iter().rev().skip(1).sum()
    }

    /// How far behind the first of them an instruction stands that makes 64-bit system calls.
    pub fn instruction(&self) -> Option<u64> {
        let wanted = arch::SYSCALL_INSTRUCTION;
        let at = self.vdso.code.windows(wanted.len()).position(|window| window == wanted)?;
        Some(self.behind_data() + at as u64)
    }
}

/// What the kernel has mapped into a process.
fn mapped(pid: Pid) -> Answer<impl Iterator<Item = maps::Mapping>> {
    let mappings = proc::parsed(pid, "maps", parse_maps).map_err(|_| Errno::ESRCH)?;
    let kernels = |name: &MappingName| matches!(name, MappingName::Vdso | MappingName::Vvar | MappingName::VvarVclock);
    Ok(mappings.into_iter().filter(move |found| kernels(&found.name)))
}

/// How the parts of a file are laid out, elf(5): where the words are in its header, a section's and a symbol's.
#[derive(Clone, Copy)]
struct Shape {
    wide: bool,
    sections: usize,
    section_size: usize,
    section_count: usize,
    offset: usize,
    length: usize,
    link: usize,
    symbol: usize,
    kind: usize,
    value: usize,
    size: usize,
}

const WIDE: Shape = Shape {
    wide: true,
    sections: 0x28,
    section_size: 0x3a,
    section_count: 0x3c,
    offset: 0x18,
    length: 0x20,
    link: 0x28,
    symbol: 24,
    kind: 4,
    value: 8,
    size: 16,
};

const NARROW: Shape = Shape {
    wide: false,
    sections: 0x20,
    section_size: 0x2e,
    section_count: 0x30,
    offset: 0x10,
    length: 0x14,
    link: 0x18,
    symbol: 16,
    kind: 12,
    value: 4,
    size: 8,
};

impl Shape {
    fn of(code: &[u8]) -> Option<Self> {
        match code.get(..6)? {
            b"\x7fELF\x02\x01" => Some(WIDE),
            b"\x7fELF\x01\x01" => Some(NARROW),
            _ => None,
        }
    }

    fn word(self, code: &[u8], at: usize) -> Option<usize> {
        if self.wide { word(code, at) } else { long(code, at).map(|word| word as usize) }
    }
}

impl Vdso {
    /// The running kernel's, as it lies in this process.
    pub fn of_this_process() -> Option<Self> {
        KernelMappings::own().ok().map(|own| own.vdso)
    }

    /// Whether it is that of 32-bit programs.
    pub fn is_narrow(&self) -> bool {
        Sort::of(&self.code) != Sort::Native
    }

    /// Its functions, by the symbols of elf(5); none where it is no such file.
    pub fn functions(&self) -> Option<Vec<Function>> {
        const SECTION_OF_SYMBOLS: u32 = 11;
        const FUNCTION: u8 = 2;
        let code = &self.code;
        let shape = Shape::of(code)?;
        let sections = shape.word(code, shape.sections)?;
        let (size, count) = (half(code, shape.section_size)?, half(code, shape.section_count)?);
        let section = |index: usize| sections.checked_add(index.checked_mul(size)?);
        let table = (0..count)
            .filter_map(section)
            .find(|at| at.checked_add(4).and_then(|at| long(code, at)) == Some(SECTION_OF_SYMBOLS))?;
        let (symbols, bytes) = (shape.word(code, table + shape.offset)?, shape.word(code, table + shape.length)?);
        let names = section(long(code, table + shape.link)? as usize)?.checked_add(shape.offset)?;
        let names = shape.word(code, names)?;
        let mut functions = Vec::new();
        for at in (symbols..symbols.checked_add(bytes)?.min(code.len())).step_by(shape.symbol) {
            let (name, kind) = (long(code, at)? as usize, *code.get(at + shape.kind)? & 0xf);
            let name = code.get(names.checked_add(name)?..)?.split(|byte| *byte == 0).next()?;
            let (offset, size) = (shape.word(code, at + shape.value)?, shape.word(code, at + shape.size)?);
            if kind == FUNCTION && offset != 0 && offset < code.len() {
                functions.push(Function { name: name.to_vec(), offset, size });
            }
        }
        Some(functions)
    }

    /// Its bytes, at `own`, with jumps to the functions of `new`, which lies at `place`. None: it cannot be done.
    pub fn leading_to(&self, new: &Self, own: u64, place: u64) -> Option<Vec<u8>> {
        let (old, new_functions) = (self.functions()?, new.functions()?);
        if self.is_narrow() != new.is_narrow() {
            return None;
        }
        let mut code = self.code.clone();
        for function in old.iter().filter(|function| !is_return(&function.name)) {
            let entry = match new_functions.iter().find(|other| other.name == function.name) {
                Some(other) => {
                    let target = place.checked_add(other.offset as u64)?;
                    self.jump(own.checked_add(function.offset as u64)?, target)
                }
                None => match self.plain(&function.name) {
                    Some(call) => call,
                    // What has no counterpart needs none of the kernel's data.
                    None => continue,
                },
            };
            // Two functions that stand too close together cannot both begin with a jump.
            let room = old.iter().map(|other| other.offset).filter(|offset| *offset > function.offset).min();
            if room.is_some_and(|next| next - function.offset < entry.len()) {
                return None;
            }
            code.get_mut(function.offset..function.offset.checked_add(entry.len())?)?.copy_from_slice(&entry);
        }
        Some(code)
    }

    fn jump(&self, from: u64, target: u64) -> Vec<u8> {
        if self.is_narrow() { arch::narrow_jump(from, target).to_vec() } else { arch::jump(target).to_vec() }
    }

    /// A function that is a mere system call.
    fn plain(&self, name: &[u8]) -> Option<Vec<u8>> {
        match (self.is_narrow(), name) {
            (false, name) => system_call(name).map(|number| arch::plain_call(number).to_vec()),
            (true, b"__kernel_vsyscall") => Some([&arch::Abi::Ia32.instruction()[..], &[0xc3]].concat()),
            (true, name) => narrow_system_call(name).map(|number| arch::narrow_plain_call(number).to_vec()),
        }
    }
}

/// Whether a function is where handlers of signals return to: a mere system call, which debuggers know by its bytes.
fn is_return(name: &[u8]) -> bool {
    matches!(name, b"__kernel_sigreturn" | b"__kernel_rt_sigreturn")
}

/// The system call that does the same as a function.
fn system_call(name: &[u8]) -> Option<i64> {
    let name = name.strip_prefix(b"__vdso_").unwrap_or(name);
    Some(match name {
        b"clock_gettime" => libc::SYS_clock_gettime,
        b"gettimeofday" => libc::SYS_gettimeofday,
        b"time" => libc::SYS_time,
        b"clock_getres" => libc::SYS_clock_getres,
        b"getcpu" => libc::SYS_getcpu,
        b"getrandom" => libc::SYS_getrandom,
        _ => return None,
    })
}

/// The same for 32-bit programs, by its number there.
fn narrow_system_call(name: &[u8]) -> Option<i64> {
    Some(match name.strip_prefix(b"__vdso_")? {
        b"clock_gettime" => 265,
        b"clock_gettime64" => 403,
        b"gettimeofday" => 78,
        b"time" => 13,
        b"clock_getres" => 266,
        b"clock_getres_time64" => 406,
        b"getcpu" => 318,
        _ => return None,
    })
}

/// Makes ordinary memory of the record of a mapping of the kernel's.
pub fn make_ordinary(mapping: &mut Mapping) {
    mapping.flags &= VmFlags::READ | VmFlags::EXECUTE | VmFlags::MAY_READ | VmFlags::MAY_WRITE | VmFlags::MAY_EXECUTE;
    mapping.backing = Backing::Anonymous;
    mapping.offset = 0;
}

fn bytes<const LENGTH: usize>(code: &[u8], at: usize) -> Option<[u8; LENGTH]> {
    code.get(at..at.checked_add(LENGTH)?)?.try_into().ok()
}

fn word(code: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes(code, at)?)).ok()
}

fn long(code: &[u8], at: usize) -> Option<u32> {
    bytes(code, at).map(u32::from_le_bytes)
}

fn half(code: &[u8], at: usize) -> Option<usize> {
    bytes(code, at).map(u16::from_le_bytes).map(usize::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn own() -> Vdso {
        Vdso::of_this_process().unwrap_or_else(|| Vdso { code: Vec::new() })
    }

    #[test]
    fn the_running_kernels_functions_are_found() {
        let functions = own().functions().unwrap_or_default();
        for name in ["__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time", "__vdso_getcpu"] {
            assert!(functions.iter().any(|function| function.name == name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn each_function_begins_with_a_jump_to_its_like() {
        let vdso = own();
        let code = vdso.leading_to(&vdso, 0, 0x7000_0000).unwrap_or_default();
        for function in vdso.functions().unwrap_or_default() {
            let jump = arch::jump(0x7000_0000 + function.offset as u64);
            assert_eq!(code.get(function.offset..function.offset + jump.len()), Some(&jump[..]));
        }
    }

    #[test]
    fn what_the_new_kernel_lacks_becomes_a_system_call() {
        let old = own();
        let mut new = old.clone();
        let name = b"__vdso_time\0";
        let at = new.code.windows(name.len()).position(|window| window == name).unwrap_or(0);
        new.code[at + 7] = b'x';
        let code = old.leading_to(&new, 0, 0x7000_0000).unwrap_or_default();
        let time = old.functions().into_iter().flatten().find(|function| function.name == b"__vdso_time");
        let offset = time.map_or(0, |time| time.offset);
        assert_eq!(&code[offset..offset + 8], &arch::plain_call(libc::SYS_time));
    }

    #[test]
    fn a_program_is_known_by_its_header() {
        let header = |class: u8, machine: u8| {
            let mut header = [0; Sort::HEADER];
            header[..5].copy_from_slice(&[0x7f, b'E', b'L', b'F', class]);
            header[18] = machine;
            Sort::of(&header)
        };
        assert_eq!((header(2, 62), header(1, 3), header(1, 62)), (Sort::Native, Sort::Ia32, Sort::Other));
        assert_eq!(Sort::of(b"#!/bin/sh"), Sort::Native);
    }

    #[test]
    fn that_of_32_bit_programs_leads_to_its_like() {
        let Ok(KernelMappings { vdso, .. }) = KernelMappings::narrow() else { return };
        assert!(vdso.is_narrow() && Sort::of(&vdso.code) == Sort::Ia32);
        let functions = vdso.functions().unwrap_or_default();
        assert!(functions.iter().any(|function| function.name == b"__kernel_vsyscall"));
        let code = vdso.leading_to(&vdso, 0x1000_0000, 0x7000_0000).unwrap_or_default();
        for Function { name, offset, size } in functions {
            let found = code.get(offset..offset + arch::NARROW_JUMP);
            if is_return(&name) {
                assert_eq!(code.get(offset..offset + size), vdso.code.get(offset..offset + size));
            } else {
                // From its end on it is as far as the two vdsos are apart.
                assert_eq!(found, Some(&[&[0xe9][..], &(0x6000_0000_u32 - 5).to_le_bytes()].concat()[..]));
            }
        }
        assert_eq!(vdso.leading_to(&own(), 0, 0), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at: usize, byte: u8, cut: usize) {
            let mut vdso = own();
            let length = vdso.code.len();
            vdso.code[at % length] = byte;
            vdso.code[(at / 7) % 64] ^= byte & 0x11;
            let _ = vdso.leading_to(&own(), 0, u64::MAX);
            vdso.code.truncate(cut % length);
            let _ = vdso.leading_to(&own(), 0, 0);
        }
    }
}
