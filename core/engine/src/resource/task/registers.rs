//! The registers of a thread: general ones, and the extended state (x87, SSE, AVX, AMX, protection keys) in the standard
//! XSAVE format of whatever size.
//!
//! The format is the processor's: where a component lies differs between makers, and how long the area is depends on the
//! kernel too. So the group keeps the places with it, and the thaw moves each component to where it belongs here.

// zoo: registers ia32

use serde::{Deserialize, Serialize};

use dormouse_wire::Tid;

use super::attributes::TILES;
use crate::kernel::processor::{self, Component};
use crate::kernel::ptrace::{self, FXSAVE, GeneralRegisters, SEGMENTS, Segment};
use crate::kernel::{Answer, Errno};

/// Length of the area up to the first component: what FXSAVE stores, and the header, which begins with the bits of the
/// components in use.
const HEADER_END: usize = FXSAVE + 64;

/// x87 and SSE, which every area has.
const LEGACY: u64 = 0b11;

/// PKRU, what a thread's protection keys forbid.
const KEYS: u32 = 9;

/// What the kernel gives a new program in PKRU: nothing is allowed but key 0.
const KEYS_AT_FIRST: u32 = 0x5555_5554;

/// A thread's registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// General registers, with the number and answer of a call that the freeze interrupted.
    pub general: GeneralRegisters,
    /// The XSAVE area, without the zeros at its end; where the processor has no XSAVE, what FXSAVE stores.
    #[serde(with = "serde_bytes")]
    pub extended: Vec<u8>,
    /// Length of the area in bytes.
    pub extended_length: usize,
    /// Segments of its own, `struct user_desc`, set_thread_area(2): a 32-bit program has its thread-local storage in one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Segment>,
}

/// Reads the extended ones; the general ones were read when the thread stopped.
pub fn capture(thread: Tid, general: &GeneralRegisters) -> Answer<Registers> {
    let mut extended = ptrace::extended_registers(thread)?;
    let extended_length = extended.len();
    let used = extended.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    extended.truncate(used);
    extended.shrink_to_fit();
    Ok(Registers { general: *general, extended, extended_length, segments: segments(thread)? })
}

/// Those that are not empty. A kernel that knows no 32-bit programs has none.
fn segments(thread: Tid) -> Answer<Vec<Segment>> {
    /// The flags of an empty one: read_exec_only and seg_not_present.
    const EMPTY: u32 = 1 << 3 | 1 << 5;
    let mut segments = Vec::new();
    for number in SEGMENTS {
        match ptrace::segment(thread, number) {
            Ok([_, 0, 0, EMPTY]) | Err(Errno::EIO) => {}
            found => segments.push(found?),
        }
    }
    Ok(segments)
}

/// Where components lie in the image, and where here.
#[derive(Debug)]
pub struct Places<'a> {
    there: &'a [Component],
    here: Vec<Component>,
}

impl<'a> Places<'a> {
    /// For a group that has them there.
    pub fn of(there: &'a [Component]) -> Self {
        Self { there, here: processor::components() }
    }

    /// From one processor to another.
    #[cfg(test)]
    pub fn between(there: &'a [Component], here: &[Component]) -> Self {
        Self { there, here: here.to_vec() }
    }

    /// Whether this processor, under this kernel, has a component.
    pub fn have(&self, number: u32) -> bool {
        place(&self.here, number).is_some()
    }

    /// Whether it has protection keys.
    pub fn have_keys(&self) -> bool {
        self.have(KEYS)
    }

    /// The names of the components that the thread uses and that are not here.
    pub fn missing(&self, record: &Registers) -> Vec<String> {
        self.missing_of(record.used())
    }

    /// The same for these.
    pub fn missing_of(&self, used: u64) -> Vec<String> {
        let missing = numbers(used & !LEGACY).filter(|number| {
            // Keys matter to who has some; a process that has is looked at by itself.
            *number != KEYS && !self.have(*number)
        });
        missing.map(name).collect()
    }

    /// Whether the image tells where all that the thread uses lies.
    pub fn are_told(&self, record: &Registers) -> bool {
        self.tell(record.used())
    }

    /// Whether all components that were there lie where they lie here.
    pub fn are_alike(&self) -> bool {
        self.there.iter().all(|component| place(&self.here, component.number) == Some(component))
    }

    /// Whether the image tells where all of these lie.
    pub fn tell(&self, used: u64) -> bool {
        numbers(used & !LEGACY).all(|number| place(self.there, number).is_some())
    }

    /// Of these the ones that were there and are here, and how long an area with them is.
    pub fn shared(&self, features: u64) -> (u64, usize) {
        let mut shared = (features & LEGACY, HEADER_END);
        for component in self.here.iter().filter(|component| features >> component.number & 1 != 0) {
            if place(self.there, component.number).is_some() {
                let end = component.offset as usize + component.size as usize;
                shared = (shared.0 | 1 << component.number, shared.1.max(end));
            }
        }
        shared
    }

    /// An area with these components as it is here, `length` bytes.
    pub fn area(&self, extended: &[u8], used: u64, length: usize) -> Vec<u8> {
        let mut area = vec![0; length];
        copy(extended, 0, &mut area, 0, FXSAVE);
        if length < HEADER_END {
            return area;
        }
        let mut kept = used & LEGACY;
        for component in self.here.iter().filter(|component| used >> component.number & 1 != 0) {
            if let Some(from) = place(self.there, component.number) {
                let size = from.size.min(component.size) as usize;
                copy(extended, from.offset as usize, &mut area, component.offset as usize, size);
                kept |= 1 << component.number;
            }
        }
        area[FXSAVE..FXSAVE + 8].copy_from_slice(&kept.to_le_bytes());
        area
    }

    /// The area of a record as it is here, `length` bytes.
    fn moved(&self, record: &Registers, length: usize) -> Vec<u8> {
        let mut area = self.area(&record.extended, record.used(), length);
        if let (None, Some(keys)) = (place(self.there, KEYS), place(&self.here, KEYS).filter(|_| length >= HEADER_END))
        {
            copy(&KEYS_AT_FIRST.to_le_bytes(), 0, &mut area, keys.offset as usize, 4);
            // Its bit in the second byte of the header.
            area[FXSAVE + 1] |= 1 << (KEYS - 8);
        }
        area
    }
}

impl Registers {
    /// The components that are not as in a new program, a bit each.
    fn used(&self) -> u64 {
        if self.extended_length < HEADER_END {
            return LEGACY;
        }
        used(&self.extended)
    }

    /// Whether AMX tiles have content.
    pub fn holds_tiles(&self) -> bool {
        self.used() >> TILES & 1 != 0
    }
}

/// The components that are in use in an area with a header, a bit each.
pub fn used(area: &[u8]) -> u64 {
    let mut word = [0; 8];
    copy(area, FXSAVE, &mut word, 0, 8);
    u64::from_le_bytes(word)
}

/// Of these components those that an area must have room for: protection keys that are all zeros are others than none.
pub fn needed(used: u64) -> u64 {
    used | LEGACY | 1 << KEYS
}

/// Sets both; `general` are those of the record, as the thaw has made them fit.
pub fn restore(record: &Registers, general: &GeneralRegisters, thread: Tid, places: &Places<'_>) -> Answer<()> {
    // Before the registers, which refer to them.
    record.segments.iter().try_for_each(|segment| ptrace::set_segment(thread, segment))?;
    let length = ptrace::extended_registers(thread)?.len();
    ptrace::set_extended_registers(thread, &places.moved(record, length))?;
    ptrace::set_general_registers(thread, general)
}

/// What a person calls a component.
pub fn name(number: u32) -> String {
    let name = match number {
        0 => "x87",
        1 => "SSE",
        2 => "AVX",
        3 | 4 => "MPX bounds",
        5 => "AVX-512 masks",
        6 => "upper halves of AVX-512",
        7 => "AVX-512 registers 16 to 31",
        KEYS => "protection keys",
        17 => "AMX tile shapes",
        TILES => "AMX tiles",
        19 => "APX",
        _ => return format!("component {number} of XSAVE"),
    };
    name.to_owned()
}

fn numbers(bits: u64) -> impl Iterator<Item = u32> {
    (0..u64::BITS).filter(move |number| bits >> number & 1 != 0)
}

fn place(components: &[Component], number: u32) -> Option<&Component> {
    components.iter().find(|component| component.number == number)
}

/// Copies what there is on both sides.
fn copy(from: &[u8], at: usize, to: &mut [u8], target: usize, length: usize) {
    let (from, to) = (from.get(at..).unwrap_or_default(), to.get_mut(target..).unwrap_or_default());
    let length = length.min(from.len()).min(to.len());
    to[..length].copy_from_slice(&from[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVX: Component = Component { number: 2, offset: 576, size: 256 };

    fn keys(offset: u32) -> Component {
        Component { number: KEYS, offset, size: 8 }
    }

    /// An area with these components in use, each filled with its number, and 0x11 in what FXSAVE stores.
    fn area(components: &[Component], length: usize) -> Registers {
        let mut extended = vec![0; length];
        extended[..FXSAVE].fill(0x11);
        let mut used = LEGACY;
        for component in components {
            extended[component.offset as usize..][..component.size as usize].fill(component.number as u8);
            used |= 1 << component.number;
        }
        extended[FXSAVE..FXSAVE + 8].copy_from_slice(&used.to_le_bytes());
        Registers { general: GeneralRegisters::default(), extended, extended_length: length, segments: Vec::new() }
    }

    #[test]
    fn components_move_to_where_they_are_here() {
        let (there, here) = ([AVX, keys(2688)], vec![AVX, keys(832)]);
        let moved = Places { there: &there, here: here.clone() }.moved(&area(&there, 2696), 840);
        assert_eq!(moved, area(&here, 840).extended);
        let back = Places { there: &here, here: there.to_vec() }.moved(&area(&here, 840), 2696);
        assert_eq!(back, area(&there, 2696).extended);
    }

    #[test]
    fn zeros_that_were_left_out_come_back() {
        let mut record = area(&[AVX], 832);
        record.extended.truncate(600);
        let moved = Places { there: &[AVX], here: vec![AVX] }.moved(&record, 832);
        assert_eq!(moved[..600], record.extended[..]);
        assert!(moved[600..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_is_in_use_and_not_here_is_named() {
        let masks = Component { number: 5, offset: 832, size: 64 };
        let tiles = Component { number: TILES, offset: 2816, size: 8192 };
        let places = Places { there: &[AVX, masks, tiles, keys(896)], here: vec![AVX] };
        assert_eq!(places.missing(&area(&[AVX, masks, tiles, keys(896)], 11008)), ["AVX-512 masks", "AMX tiles"]);
        assert!(places.missing(&area(&[AVX, keys(896)], 11008)).is_empty());
        assert!(!places.have_keys());
        // What is not used is not asked for, and its bit is not set.
        assert_eq!(places.moved(&area(&[AVX, keys(896)], 11008), 832), area(&[AVX], 832).extended);
    }

    #[test]
    fn keys_that_are_new_here_forbid_what_they_forbid_to_a_new_program() {
        let moved = Places { there: &[AVX], here: vec![AVX, keys(832)] }.moved(&area(&[AVX], 832), 840);
        assert_eq!(moved[832..836], KEYS_AT_FIRST.to_le_bytes());
        assert_eq!(moved[FXSAVE..FXSAVE + 8], (0b111_u64 | 1 << KEYS).to_le_bytes());
        // Where there were keys, all zeros are what the thread has chosen.
        let (there, here) = ([AVX, keys(832)], vec![AVX, keys(832)]);
        let moved = Places { there: &there, here }.moved(&area(&[AVX], 840), 840);
        assert_eq!(moved, area(&[AVX], 840).extended);
    }

    #[test]
    fn areas_without_a_header_have_x87_and_sse() {
        let old = Registers { extended: vec![0x11; FXSAVE], extended_length: FXSAVE, ..area(&[], HEADER_END) };
        let moved = Places { there: &[], here: vec![AVX] }.moved(&old, 832);
        assert_eq!(moved, area(&[], 832).extended);
        let back = Places { there: &[AVX], here: Vec::new() }.moved(&area(&[AVX], 832), FXSAVE);
        assert_eq!(back, vec![0x11; FXSAVE]);
    }

    #[test]
    fn lies_move_nothing_beyond_the_area() {
        let lie = Component { number: 2, offset: u32::MAX, size: u32::MAX };
        let record = area(&[AVX], 832);
        for (there, here) in [(lie, AVX), (AVX, lie), (lie, lie)] {
            let moved = Places { there: &[there], here: vec![here] }.moved(&record, 832);
            assert_eq!(moved[HEADER_END..], [0; 256]);
        }
        assert!(!Places { there: &[], here: vec![AVX] }.are_told(&record));
    }
}
