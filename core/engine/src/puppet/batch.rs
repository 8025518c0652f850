//! A batch: system calls that a puppet makes in one go, with the data they read and write.
//!
//! A traced call by itself costs tens of microseconds, a batched one a fraction of one: so callers collect what they
//! want, run it once, and read the answers.

use std::borrow::Cow;

use crate::kernel::Errno;
use crate::model::RemotePtr;

use super::arch::{self, RECORD, record};

/// One call of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call(pub(super) usize);

/// Bytes of a batch that calls read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub(super) offset: usize,
    pub(super) length: usize,
}

/// An argument of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// This number.
    Value(u64),
    /// The address of these bytes.
    Data(Slot),
    /// What an earlier call has answered.
    Result(Call),
}

macro_rules! from_number {
    ($($number:ty),*) => {$(
        impl From<$number> for Argument {
            fn from(number: $number) -> Self {
                // Signed numbers keep their sign: AT_FDCWD and -1 are arguments too.
                Self::Value(number as i64 as u64)
            }
        }
    )*};
}

from_number!(i32, u32, i64, u64, usize);

impl From<RemotePtr> for Argument {
    fn from(address: RemotePtr) -> Self {
        Self::Value(address.0)
    }
}

impl From<Slot> for Argument {
    fn from(slot: Slot) -> Self {
        Self::Data(slot)
    }
}

impl From<Call> for Argument {
    fn from(call: Call) -> Self {
        Self::Result(call)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) number: i64,
    pub(super) arguments: [Argument; 6],
    pub(super) flags: u32,
    pub(super) purpose: Cow<'static, str>,
    pub(super) result: Option<i64>,
}

/// System calls to be made, their data, and after the run their answers.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) entries: Vec<Entry>,
    pub(super) data: Vec<u8>,
    /// Words of the data that are to hold the address of other data.
    pub(super) pointers: Vec<(usize, Slot)>,
}

/// A call that had to succeed and did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCall {
    /// What it was for, as words that follow "cannot".
    pub purpose: String,
    /// Why it has failed.
    pub errno: Errno,
}

/// `arguments![1, slot, call]`: arguments of a call, of whatever kind each.
#[macro_export]
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => { &[$($crate::puppet::Argument::from($argument)),*] };
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        // Room for what a thread is asked in a freeze.
        Self { entries: Vec::with_capacity(64), data: Vec::with_capacity(2048), pointers: Vec::new() }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A call whose failure is the caller's to look at.
    pub fn ask(&mut self, number: i64, arguments: &[Argument]) -> Call {
        self.push(number, arguments, 0, Cow::Borrowed(""))
    }

    /// A call that must succeed: the batch ends if it does not. `purpose` follows "cannot": "set the nice value".
    pub fn must(&mut self, purpose: impl Into<Cow<'static, str>>, number: i64, arguments: &[Argument]) -> Call {
        self.push(number, arguments, arch::STOP_AT_ERROR, purpose.into())
    }

    /// The same as [`ask`](Self::ask), as 32-bit programs make the call and by its number there. The desk must lie where
    /// such a program could have it.
    pub fn ask_ia32(&mut self, number: i64, arguments: &[Argument]) -> Call {
        self.push(number, arguments, arch::IA32, Cow::Borrowed(""))
    }

    /// The same as [`must`](Self::must), as 32-bit programs make the call.
    pub fn must_ia32(&mut self, purpose: impl Into<Cow<'static, str>>, number: i64, arguments: &[Argument]) -> Call {
        self.push(number, arguments, arch::STOP_AT_ERROR | arch::IA32, purpose.into())
    }

    /// No call: the thread uses AMX tiles and leaves them empty, so that it has room for some.
    pub fn use_tiles(&mut self) {
        let shape = self.bytes(&arch::tile_shape());
        self.push(-1, &[shape.into()], arch::USE_TILES, Cow::Borrowed(""));
    }

    fn push(&mut self, number: i64, given: &[Argument], mut flags: u32, purpose: Cow<'static, str>) -> Call {
        let mut arguments = [Argument::Value(0); 6];
        for (place, argument) in arguments.iter_mut().zip(given) {
            *place = *argument;
        }
        for (index, argument) in arguments.iter().enumerate() {
            if matches!(argument, Argument::Result(_)) {
                flags |= arch::indirect(index);
            }
        }
        self.entries.push(Entry { number, arguments, flags, purpose, result: None });
        Call(self.entries.len() - 1)
    }

    /// Bytes for calls to read (or to change).
    pub fn bytes(&mut self, bytes: &[u8]) -> Slot {
        let slot = self.space(bytes.len());
        self.data[slot.offset..slot.offset + slot.length].copy_from_slice(bytes);
        slot
    }

    /// Bytes with a zero behind them.
    pub fn text(&mut self, text: &[u8]) -> Slot {
        let slot = self.space(text.len() + 1);
        self.data[slot.offset..slot.offset + text.len()].copy_from_slice(text);
        slot
    }

    /// Zeroed bytes for calls to write, aligned to 16.
    pub fn space(&mut self, length: usize) -> Slot {
        let offset = self.data.len().next_multiple_of(16);
        self.data.resize(offset + length, 0);
        Slot { offset, length }
    }

    /// Lets the eight bytes at `at` of `holder` be the address of `target`.
    pub fn point(&mut self, holder: Slot, at: usize, target: Slot) {
        self.pointers.push((holder.offset + at, target));
    }

    /// After the run: what the call has answered.
    pub fn result(&self, call: Call) -> Result<u64, Errno> {
        match self.entries.get(call.0).and_then(|entry| entry.result) {
            Some(value) if (-4095..0).contains(&value) => Err(Errno::from_raw(-value as i32)),
            Some(value) => Ok(value as u64),
            None => Err(Errno::ECANCELED),
        }
    }

    /// After the run: the bytes as the calls left them.
    pub fn read(&self, slot: Slot) -> &[u8] {
        &self.data[slot.offset..slot.offset + slot.length]
    }

    /// After the run: eight of the bytes as a number.
    pub fn read_u64(&self, slot: Slot, at: usize) -> u64 {
        let bytes = &self.read(slot)[at..at + 8];
        bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// After the run: four of the bytes as a number.
    pub fn read_u32(&self, slot: Slot, at: usize) -> u32 {
        let bytes = &self.read(slot)[at..at + 4];
        bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
    }

    /// After the run: the first call that had to succeed and did not.
    pub(super) fn failed(&self) -> Option<FailedCall> {
        let entry = self.entries.iter().find(|entry| {
            entry.flags & arch::STOP_AT_ERROR != 0 && entry.result.is_some_and(|value| (-4095..0).contains(&value))
        })?;
        let errno = Errno::from_raw(-entry.result.unwrap_or(0) as i32);
        Some(FailedCall { purpose: entry.purpose.to_string(), errno })
    }

    /// The bytes of one record, with its data at `data` and the result of call `n` at `result(n)`, if it lies on the
    /// desk too.
    pub(super) fn encode(
        &self,
        index: usize,
        data: impl Fn(Slot) -> u64,
        result: impl Fn(usize) -> Option<u64>,
    ) -> [u8; RECORD] {
        let entry = &self.entries[index];
        let mut flags = entry.flags;
        let mut bytes = [0; RECORD];
        for (place, argument) in entry.arguments.iter().enumerate() {
            let value = match argument {
                Argument::Value(value) => *value,
                Argument::Data(slot) => data(*slot),
                Argument::Result(call) => result(call.0).unwrap_or_else(|| {
                    flags &= !arch::indirect(place);
                    self.entries[call.0].result.unwrap_or(-1) as u64
                }),
            };
            let at = record::ARGUMENTS + place * 8;
            bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        }
        bytes[record::NUMBER..record::NUMBER + 8].copy_from_slice(&entry.number.to_ne_bytes());
        bytes[record::FLAGS..record::FLAGS + 4].copy_from_slice(&flags.to_ne_bytes());
        bytes
    }

    /// Takes the answer out of a record that has been walked.
    pub(super) fn decode(&mut self, index: usize, bytes: &[u8]) {
        let word = |at: usize| bytes[at..at + 8].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        let done = bytes[record::DONE] != 0;
        self.entries[index].result = done.then(|| word(record::RESULT) as i64);
    }
}
