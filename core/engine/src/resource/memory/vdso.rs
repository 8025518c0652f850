//! The kernel's own code and data in a process, vdso(7).
//!
//! Under the same vdso they are moved to where they were: programs keep pointers into it. Under another one the old code
//! stays as ordinary memory, and each of its functions begins with a jump to the running kernel's, or is a plain system
//! call where that has no such function. Where the data was there are pages of zeros then: to the old code they say that
//! there is no clock it could read, so that a thread which was just in there asks the kernel.

// zoo: vdso

use dormouse_wire::Pid;
use serde::{Deserialize, Serialize};

use super::mapping::{Backing, Mapping};
use crate::model::RemotePtr;
use crate::proc::maps::{MappingName, VmFlags, parse_maps};
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

impl Vdso {
    /// The running kernel's, as it lies in this process.
    pub fn of_this_process() -> Option<Self> {
        let own = Pid(std::process::id() as i32);
        let mappings = crate::proc::parsed(own, "maps", parse_maps).ok()?;
        let found = mappings.iter().find(|mapping| mapping.name == MappingName::Vdso)?;
        let mut code = vec![0; (found.end - found.start) as usize];
        crate::kernel::memory::read(own, RemotePtr(found.start), &mut code).ok()?;
        Some(Self { code })
    }

    /// Its functions, by the symbols of elf(5); none where it is no such file.
    pub fn functions(&self) -> Option<Vec<Function>> {
        const SECTION_OF_SYMBOLS: u32 = 11;
        const FUNCTION: u8 = 2;
        let code = &self.code;
        if !code.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let sections = word(code, 0x28)?;
        let (size, count) = (half(code, 0x3a)?, half(code, 0x3c)?);
        let section = |index: usize| sections.checked_add(index.checked_mul(size)?);
        let table = (0..count).filter_map(section).find(|at| long(code, at + 4) == Some(SECTION_OF_SYMBOLS))?;
        let (symbols, bytes) = (word(code, table + 0x18)?, word(code, table + 0x20)?);
        let names = word(code, section(long(code, table + 0x28)? as usize)?.checked_add(0x18)?)?;
        let mut functions = Vec::new();
        for at in (symbols..symbols.checked_add(bytes)?.min(code.len())).step_by(24) {
            let (name, kind) = (long(code, at)? as usize, *code.get(at + 4)? & 0xf);
            let name = code.get(names.checked_add(name)?..)?.split(|byte| *byte == 0).next()?;
            let (offset, size) = (word(code, at + 8)?, word(code, at + 16)?);
            if kind == FUNCTION && offset != 0 && offset < code.len() {
                functions.push(Function { name: name.to_vec(), offset, size });
            }
        }
        Some(functions)
    }

    /// Its bytes with jumps to the functions of `new`, which lies at `place`. None: it cannot be done.
    pub fn leading_to(&self, new: &Self, place: u64) -> Option<Vec<u8>> {
        let (old, new) = (self.functions()?, new.functions()?);
        let mut code = self.code.clone();
        for function in &old {
            let entry = match new.iter().find(|other| other.name == function.name) {
                Some(other) => arch::jump(place.checked_add(other.offset as u64)?).to_vec(),
                None => match system_call(&function.name) {
                    Some(number) => arch::plain_call(number).to_vec(),
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
        let code = vdso.leading_to(&vdso, 0x7000_0000).unwrap_or_default();
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
        let code = old.leading_to(&new, 0x7000_0000).unwrap_or_default();
        let time = old.functions().into_iter().flatten().find(|function| function.name == b"__vdso_time");
        let offset = time.map_or(0, |time| time.offset);
        assert_eq!(&code[offset..offset + 8], &arch::plain_call(libc::SYS_time));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at: usize, byte: u8, cut: usize) {
            let mut vdso = own();
            let length = vdso.code.len();
            vdso.code[at % length] = byte;
            vdso.code[(at / 7) % 64] ^= byte & 0x11;
            let _ = vdso.leading_to(&own(), u64::MAX);
            vdso.code.truncate(cut % length);
            let _ = vdso.leading_to(&own(), 0);
        }
    }
}
