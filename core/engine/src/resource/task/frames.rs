//! The frames of signals that a thread handles: what it was interrupted at lies on its stack, and the kernel takes it from there when the
//! handler returns, sigreturn(2). The extended registers among it are laid out as the processor has them. Of an area that is longer than
//! its own a kernel takes x87 and SSE and forgets the rest without a word, and components that lie elsewhere it takes for others: so where
//! the processor here has another layout the areas are made anew, in their place.

// zoo: signal_frame

use std::collections::BTreeSet;

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, phrase};

use super::registers::{self, Places};
use crate::kernel::memory;
use crate::model::RemotePtr;
use crate::resource::group::Alive;
use crate::resource::memory::Mapping;

/// What the kernel writes into the area of FXSAVE where programs may have something, `struct _fpx_sw_bytes` of `asm/sigcontext.h`: a word
/// to know it by, how long all is, the components, and how long the area is. Behind the area is another word.
const SOFTWARE: usize = 464;
const WORDS: [u32; 2] = [0x4650_5853, 0x4650_5845];
/// A 32-bit frame has what FSAVE stores before it.
const FSAVE: usize = 112;
/// What FXSAVE stores, and the header.
const LEAST: usize = 576;
/// No processor's is longer.
const MOST: usize = 64 << 10;
/// The processor wants the area so.
const ALIGNMENT: usize = 64;

/// So much of a stack is looked at at once.
const PIECE: usize = 256 << 10;
/// As far above the thread's place on a stack frames are looked for.
const REACH: u64 = 64 << 20;

/// Before the area is the frame that leads to it by a pointer, and eight words before that is where the stack was, `struct sigcontext_64`.
const FRAME: u64 = 1024;
const STACK: usize = 64;

/// An area in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    /// Its length, without the word behind it.
    length: usize,
    /// How much longer all is, with what lies before and behind it.
    around: usize,
    /// The components that it has room for.
    features: u64,
}

impl Area {
    /// The one that begins here, if one does.
    fn at(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        if word(SOFTWARE)? != WORDS[0] {
            return None;
        }
        let (all, length) = (word(SOFTWARE + 4)? as usize, word(SOFTWARE + 16)? as usize);
        let features = u64::from(word(SOFTWARE + 8)?) | u64::from(word(SOFTWARE + 12)?) << 32;
        let is_one = (LEAST..=MOST).contains(&length)
            && (all == length + 4 || all == length + 4 + FSAVE)
            && word(length)? == WORDS[1];
        is_one.then(|| Self { length, around: all - length, features })
    }
}

/// Moves the areas of all frames of a process whose memory is there again to where the processor here has its registers.
pub fn restore(pid: Pid, alive: &Alive, places: &Places<'_>) -> Result<(), Problem> {
    if places.are_alike() {
        return Ok(());
    }
    let stacks = alive.threads.iter().filter(|thread| thread.exited.is_none());
    let stacks = stacks.map(|thread| thread.registers.general.rsp).collect();
    Looking { pid, alive, places, stacks, looked: Vec::new(), moved: BTreeSet::new() }.go_on()
}

struct Looking<'a> {
    pid: Pid,
    alive: &'a Alive,
    places: &'a Places<'a>,
    /// Where threads are on stacks that have not been looked at.
    stacks: Vec<u64>,
    /// What has been: the first address, and the one behind the last.
    looked: Vec<(u64, u64)>,
    /// The frames that have been moved.
    moved: BTreeSet<u64>,
}

impl Looking<'_> {
    fn go_on(&mut self) -> Result<(), Problem> {
        while let Some(stack) = self.stacks.pop() {
            let mapping = self.alive.memory.mappings.iter().find(|one| (one.start..one.end).contains(&stack));
            let is_new = |_: &&Mapping| !self.looked.iter().any(|(first, end)| (*first..*end).contains(&stack));
            let Some(mapping) = mapping.filter(is_new) else { continue };
            // Many threads may have their stacks in one mapping.
            let known = self.looked.iter().map(|(first, _)| *first).filter(|first| *first > stack).min();
            let end = mapping.end.min(stack.saturating_add(REACH));
            let last = known.unwrap_or(end).min(end);
            self.look(stack, (last, end))?;
            self.looked.push((stack, last));
        }
        Ok(())
    }

    /// Looks from where a thread is on its stack for frames that begin before `last`.
    fn look(&mut self, stack: u64, (last, end): (u64, u64)) -> Result<(), Problem> {
        let mut buffer = vec![0; PIECE + MOST + 4];
        let mut at = stack.next_multiple_of(ALIGNMENT as u64);
        while at < last {
            let wanted = buffer.len().min((end - at) as usize);
            let range = memory::RemoteRange { start: RemotePtr(at), length: wanted };
            // It ends where something lies that cannot be read.
            let Ok(read) = memory::read_ranges(self.pid, &[range], &mut buffer[..wanted]) else { return Ok(()) };
            for place in (0..PIECE.min(read).min((last - at) as usize)).step_by(ALIGNMENT) {
                if let Some(area) = Area::at(&buffer[place..read]) {
                    let bytes = &buffer[place..place + area.length];
                    self.found(at + place as u64, area, bytes)?;
                }
            }
            at += PIECE as u64;
        }
        Ok(())
    }

    fn found(&mut self, place: u64, area: Area, bytes: &[u8]) -> Result<(), Problem> {
        if !self.moved.insert(place) {
            return Ok(());
        }
        self.stacks.extend(self.interrupted_at(place));
        let failed = |what: Phrase, kind| {
            let way_out = phrase!("Thaw it on a machine with a processor like the one it was frozen on");
            Problem::blocks(kind, what)
                .at(phrase!("the frame of a signal at {place}", place = RemotePtr(place)))
                .way_out(way_out)
        };
        let moved = moved(area, bytes, self.places).map_err(|what| failed(what, ProblemKind::Processor))?;
        let written = moved.map_or(Ok(()), |moved| memory::write(self.pid, RemotePtr(place), &moved));
        written.map_err(|errno| {
            let what =
                phrase!("the registers that a handler is to return to cannot be moved: {why}", why = errno.desc());
            failed(what, ProblemKind::Memory)
        })
    }

    /// Where the thread was on its stack when the signal came: a handler may have a stack of its own.
    fn interrupted_at(&self, place: u64) -> Option<u64> {
        let mut before = vec![0; FRAME as usize];
        memory::read(self.pid, RemotePtr(place.checked_sub(FRAME)?), &mut before).ok()?;
        let words = before.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        let words: Vec<u64> = words.collect();
        let pointer = words.iter().rposition(|word| *word == place)?;
        words.get(pointer.checked_sub(STACK / 8)?).copied()
    }
}

/// An area as it is to be here, with the word behind it; none: it is none that the processor there has written. It must not become longer.
fn moved(area: Area, bytes: &[u8], places: &Places<'_>) -> Result<Option<Vec<u8>>, Phrase> {
    let used = registers::used(bytes);
    if !places.tell(used) {
        return Ok(None);
    }
    let missing = places.missing_of(used);
    if !missing.is_empty() {
        return Err(phrase!(
            "a handler is to return to registers that the processor here lacks: {missing}",
            missing = missing.join(", ")
        ));
    }
    // Where all do not fit, what is as in a new program can be left out: the kernel gives that by itself.
    let features = [area.features, registers::needed(used) & area.features];
    let fitting = features.into_iter().map(|features| places.shared(features));
    let Some((features, length)) = fitting.into_iter().find(|(_, length)| *length <= area.length) else {
        return Err(phrase!(
            "a handler is to return to registers for which the processor here takes more room than there is in its place"
        ));
    };
    let mut moved = places.area(bytes, used & features, length);
    let software = [WORDS[0], (length + area.around) as u32, features as u32, (features >> 32) as u32, length as u32];
    for (at, word) in software.into_iter().enumerate() {
        moved[SOFTWARE + at * 4..][..4].copy_from_slice(&word.to_le_bytes());
    }
    moved.extend_from_slice(&WORDS[1].to_le_bytes());
    Ok(Some(moved))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::processor::Component;

    const AVX: Component = Component { number: 2, offset: 576, size: 256 };
    const MASKS: u32 = 5;

    fn masks(offset: u32) -> Component {
        Component { number: MASKS, offset, size: 64 }
    }

    fn keys(offset: u32) -> Component {
        Component { number: 9, offset, size: 8 }
    }

    /// An area as a kernel writes it that knows these components, of which the first `used` are in use, and the word behind it.
    fn area(components: &[Component], used: usize) -> Vec<u8> {
        let length = components.iter().map(|one| (one.offset + one.size) as usize).max().unwrap_or(LEAST);
        let bits = |some: &[Component]| some.iter().fold(0b11_u64, |bits, one| bits | 1 << one.number);
        let mut bytes = vec![0; length];
        bytes[..SOFTWARE].fill(0x11);
        let features = bits(components);
        for (at, word) in
            [WORDS[0], length as u32 + 4, features as u32, (features >> 32) as u32, length as u32].iter().enumerate()
        {
            bytes[SOFTWARE + at * 4..][..4].copy_from_slice(&word.to_le_bytes());
        }
        bytes[512..520].copy_from_slice(&bits(&components[..used]).to_le_bytes());
        for one in &components[..used] {
            bytes[one.offset as usize..][..one.size as usize].fill(one.number as u8);
        }
        bytes.extend_from_slice(&WORDS[1].to_le_bytes());
        bytes
    }

    fn moves(there: &[Component], here: &[Component], used: usize) -> Result<Option<Vec<u8>>, Phrase> {
        let bytes = area(there, used);
        let found = Area::at(&bytes).expect("it is one");
        moved(found, &bytes[..found.length], &Places::between(there, here))
    }

    #[test]
    fn components_move_to_where_a_kernel_looks_for_them_here() {
        let (there, here) = ([AVX, masks(1088), keys(2688)], [AVX, masks(832), keys(2432)]);
        assert!(!Places::between(&there, &here).are_alike());
        let moved = moves(&there, &here, 3).expect("there is room").expect("it is one");
        assert_eq!(moved, area(&here, 3));
        let found = Area::at(&moved).expect("it is one");
        assert_eq!((found.length, found.features), (2440, 0b10_0010_0111));
        // What the processor here has beyond that is given by the kernel.
        assert!(
            Places::between(&there, &[AVX, masks(1088), keys(2688), Component { number: 17, offset: 2752, size: 64 }])
                .are_alike()
        );
    }

    #[test]
    fn what_is_not_here_goes_where_it_is_at_rest_or_keys_and_else_is_told() {
        let there = [AVX, masks(832), keys(896)];
        assert_eq!(moves(&there, &[AVX], 1), Ok(Some(area(&[AVX], 1))));
        let told = moves(&there, &[AVX], 2).expect_err("the masks are in use");
        assert!(told.to_string().contains("AVX-512 masks"), "{told}");
        let keys_alone = moves(&[AVX, keys(832)], &[AVX], 2).expect("keys matter to who has some");
        assert_eq!(keys_alone, Some(area(&[AVX], 1)));
    }

    #[test]
    fn what_takes_more_room_here_is_told_unless_that_is_at_rest() {
        let (there, here) = ([AVX, masks(832)], [AVX, masks(1088)]);
        let told = moves(&there, &here, 2).expect_err("there is no room");
        assert!(told.to_string().contains("more room"), "{told}");
        assert_eq!(moves(&there, &here, 1), Ok(Some(area(&[AVX], 1))));
    }

    #[test]
    fn what_is_no_area_stays() {
        let good = area(&[AVX], 1);
        for at in [SOFTWARE, SOFTWARE + 5, SOFTWARE + 17, good.len() - 1] {
            let mut odd = good.clone();
            odd[at] ^= 0x40;
            assert_eq!(Area::at(&odd), None, "{at}");
        }
        assert_eq!(Area::at(&good[..good.len() - 1]), None);
        // Components that the image does not place.
        let mut odd = good.clone();
        odd[519] = 0x20;
        let found = Area::at(&odd).expect("it looks like one");
        assert_eq!(moved(found, &odd[..found.length], &Places::between(&[AVX], &[])), Ok(None));
    }
}
