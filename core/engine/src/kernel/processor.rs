//! What programs can use of the processor, by cpuid: x86-64. A port brings a table of its own.
//!
//! cpuid is asked and not /proc/cpuinfo, which names what this kernel has a name for.

use std::arch::x86_64::{_xgetbv, CpuidResult};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// A part of the extended registers, and where it lies in the standard XSAVE format of a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Its bit in XCR0.
    pub number: u32,
    /// Where it begins in the area.
    pub offset: u32,
    /// Its length in bytes.
    pub size: u32,
}

/// Where cpuid tells of a feature.
#[derive(Clone, Copy, Debug)]
struct Feature {
    /// Its name in /proc/cpuinfo.
    name: &'static str,
    bit: u32,
}

/// A register of a leaf of cpuid, its features, and what must be switched on in XCR0 for them.
#[derive(Clone, Copy, Debug)]
struct Leaf {
    number: u32,
    part: u32,
    register: Register,
    needs: u64,
    features: &'static [Feature],
}

#[derive(Clone, Copy, Debug)]
enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}
use Register::{Eax, Ebx, Ecx, Edx};

const BASE: u64 = 0;
const XSAVE: u64 = 0b1;
const AVX: u64 = 0b110;
const AVX512: u64 = 0b1110_0110;
const TILES: u64 = 0b11 << 17;
const APX: u64 = 1 << 19;

macro_rules! features {
    ($($number:literal / $part:literal $register:ident $needs:ident => $($bit:literal $name:literal),*;)*) => {
        &[$(Leaf {
            number: $number, part: $part, register: $register, needs: $needs,
            features: &[$(Feature { name: $name, bit: $bit }),*],
        }),*]
    };
}

/// All that adds an instruction for programs, or changes what one does. Not here: what only kernels use (vmx, smep), what
/// makes the same instructions faster (erms), what does nothing where it is not known (cldemote), and protection keys, which
/// a process asks the kernel for and which are looked at by themselves.
const USER_VISIBLE: &[Leaf] = features! {
    1/0 Edx BASE => 0 "fpu", 4 "tsc", 8 "cx8", 15 "cmov", 19 "clflush", 23 "mmx", 24 "fxsr", 25 "sse", 26 "sse2";
    1/0 Ecx BASE => 0 "pni", 1 "pclmulqdq", 9 "ssse3", 13 "cx16", 19 "sse4_1", 20 "sse4_2", 22 "movbe", 23 "popcnt", 25 "aes",
        27 "xsave", 30 "rdrand";
    1/0 Ecx AVX => 12 "fma", 28 "avx", 29 "f16c";
    7/0 Ebx BASE => 0 "fsgsbase", 3 "bmi1", 8 "bmi2", 11 "rtm", 18 "rdseed", 19 "adx", 23 "clflushopt", 24 "clwb", 29 "sha_ni";
    7/0 Ebx AVX => 5 "avx2";
    7/0 Ebx AVX512 => 16 "avx512f", 17 "avx512dq", 21 "avx512ifma", 26 "avx512pf", 27 "avx512er", 28 "avx512cd",
        30 "avx512bw", 31 "avx512vl";
    7/0 Ecx BASE => 5 "waitpkg", 8 "gfni", 22 "rdpid", 27 "movdiri", 28 "movdir64b";
    7/0 Ecx AVX => 9 "vaes", 10 "vpclmulqdq";
    7/0 Ecx AVX512 => 1 "avx512vbmi", 6 "avx512_vbmi2", 11 "avx512_vnni", 12 "avx512_bitalg", 14 "avx512_vpopcntdq";
    7/0 Edx BASE => 14 "serialize", 16 "tsxldtrk";
    7/0 Edx AVX512 => 2 "avx512_4vnniw", 3 "avx512_4fmaps", 8 "avx512_vp2intersect", 23 "avx512_fp16";
    7/0 Edx TILES => 22 "amx_bf16", 24 "amx_tile", 25 "amx_int8";
    7/1 Eax BASE => 3 "raoint", 7 "cmpccxadd";
    7/1 Eax AVX => 0 "sha512", 1 "sm3", 2 "sm4", 4 "avx_vnni", 23 "avx_ifma";
    7/1 Eax AVX512 => 5 "avx512_bf16";
    7/1 Eax TILES => 21 "amx_fp16";
    7/1 Edx AVX => 4 "avx_vnni_int8", 5 "avx_ne_convert", 10 "avx_vnni_int16";
    7/1 Edx TILES => 8 "amx_complex";
    7/1 Edx APX => 21 "apx";
    0xd/1 Eax XSAVE => 0 "xsaveopt", 1 "xsavec", 2 "xgetbv1";
    0x8000_0001/0 Ecx BASE => 0 "lahf_lm", 5 "abm", 6 "sse4a", 7 "misalignsse", 8 "3dnowprefetch", 21 "tbm", 29 "mwaitx";
    0x8000_0001/0 Ecx AVX => 11 "xop", 16 "fma4";
    0x8000_0001/0 Edx BASE => 27 "rdtscp", 30 "3dnowext", 31 "3dnow";
    0x8000_0008/0 Ebx BASE => 0 "clzero", 4 "rdpru";
};

/// The features that programs can use here, by their names in /proc/cpuinfo.
pub fn features() -> Vec<String> {
    let enabled = enabled();
    let mut names = Vec::new();
    for leaf in USER_VISIBLE {
        let answer = ask(leaf.number, leaf.part);
        let word = match leaf.register {
            Eax => answer.eax,
            Ebx => answer.ebx,
            Ecx => answer.ecx,
            Edx => answer.edx,
        };
        let usable = enabled & leaf.needs == leaf.needs;
        let there = leaf.features.iter().filter(|feature| usable && word >> feature.bit & 1 != 0);
        names.extend(there.map(|feature| feature.name.to_owned()));
    }
    names
}

/// Where the parts of the extended registers lie here, behind those of FXSAVE and the header.
pub fn components() -> Vec<Component> {
    let enabled = enabled();
    let part = |number: u32| {
        let found = ask(0xd, number);
        Component { number, offset: found.ebx, size: found.eax }
    };
    (2..63).filter(|number| enabled >> number & 1 != 0).map(part).filter(|component| component.size != 0).collect()
}

/// XCR0: which registers the kernel has switched on; x87 and SSE always are.
fn enabled() -> u64 {
    const OSXSAVE: u32 = 1 << 27;
    if ask(1, 0).ecx & OSXSAVE == 0 {
        return 0;
    }
    // SAFETY: OSXSAVE says that the kernel lets programs read XCR0, register 0.
    unsafe { _xgetbv(0) }
}

/// Nothing, where the processor has no such leaf.
fn ask(leaf: u32, part: u32) -> CpuidResult {
    let none = CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    // In a virtual machine every question takes as long as a dozen system calls.
    static LAST: LazyLock<[u32; 3]> = LazyLock::new(|| [0, 0x8000_0000, 7].map(|leaf| cpuid(leaf, 0).eax));
    let [basic, extended, parts] = *LAST;
    let last = if leaf < 0x8000_0000 { basic } else { extended };
    if leaf > last || leaf == 7 && part > parts { none } else { cpuid(leaf, part) }
}

fn cpuid(leaf: u32, part: u32) -> CpuidResult {
    std::arch::x86_64::__cpuid_count(leaf, part)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{components, features};

    #[test]
    fn the_kernel_names_the_same_features_and_only_those_for_programs_are_told() {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = text.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        let flags: HashSet<_> = flags.split_whitespace().collect();
        let told = features();
        for name in ["fpu", "sse2", "fxsr", "cx8"] {
            assert!(told.iter().any(|told| told == name), "{name} is missing");
        }
        for name in
            ["aes", "avx", "avx2", "avx512f", "bmi1", "fma", "popcnt", "rdtscp", "xsave", "xsavec", "clzero", "abm"]
        {
            assert_eq!(flags.contains(name), told.iter().any(|told| told == name), "{name}");
        }
        for name in ["vmx", "svm", "pti", "ibrs", "smep", "smap", "xsaves", "hypervisor", "pku", "ospke"] {
            assert!(!told.iter().any(|told| told == name), "{name} is nothing for programs");
        }
    }

    #[test]
    fn components_lie_behind_the_header_and_apart() {
        let mut all = components();
        all.sort_by_key(|component| component.offset);
        let mut end = 576;
        for component in all {
            assert!(component.offset >= end, "{component:?} begins before {end}");
            end = component.offset + component.size;
        }
    }
}
