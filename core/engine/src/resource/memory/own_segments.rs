//! Segments that a process has for itself, modify_ldt(2): what brings code of 16 or 32 bits with a memory of its own kind to run has them.

// zoo: segments

use crate::arguments;
use crate::puppet::{Batch, Call, Puppet, PuppetError, Stage};

/// A segment: its number, and how the processor knows it.
pub type OwnSegment = (u32, u64);

/// The most that a process can have.
const MOST: usize = 8192;
/// Bytes of a descriptor.
const LENGTH: usize = 8;
/// The functions of the call: reading, and writing in the present form.
const READ: i32 = 0;
const WRITE: i32 = 0x11;

/// Asks whether there are any.
pub fn ask(batch: &mut Batch) -> Call {
    let some = batch.space(LENGTH);
    batch.ask(libc::SYS_modify_ldt, arguments![READ, some, LENGTH])
}

/// The segments of the process of a puppet, the first of its process; `asked`: what it has answered.
pub fn read(asked: Call, batch: &Batch, puppet: &mut Puppet, stage: &Stage) -> Result<Vec<OwnSegment>, PuppetError> {
    // The answer is an int in a long; a kernel that gives nobody such segments has no such call.
    if !batch.result(asked).is_ok_and(|bytes| bytes as i32 > 0) {
        return Ok(Vec::new());
    }
    let mut batch = Batch::new();
    let table = batch.space(MOST * LENGTH);
    batch.must("read its own segments", libc::SYS_modify_ldt, arguments![READ, table, MOST * LENGTH]);
    puppet.run(&stage.desk(0), &mut batch)?;
    let all = (0..MOST).map(|number| (number as u32, batch.read_u64(table, number * LENGTH)));
    Ok(all.filter(|(_, descriptor)| *descriptor != 0).collect())
}

/// Whether a process can have these.
pub fn are_possible(record: &[OwnSegment]) -> bool {
    record.iter().all(|(number, _)| (*number as usize) < MOST) && record.is_sorted_by(|one, next| one.0 < next.0)
}

/// Gives them back. The kernel makes descriptors of its own of what it is told, so that none can be of harm.
pub fn restore(record: &[OwnSegment], batch: &mut Batch) {
    for segment in record {
        let described = batch.bytes(described(*segment).map(u32::to_ne_bytes).as_flattened());
        batch.must("give it its own segments", libc::SYS_modify_ldt, arguments![WRITE, described, 16]);
    }
}

/// `struct user_desc`: number, base, limit, flags.
fn described((number, descriptor): OwnSegment) -> [u32; 4] {
    let bits = |from: u32, count: u32| (descriptor >> from) as u32 & ((1 << count) - 1);
    let base = bits(16, 16) | bits(32, 8) << 16 | bits(56, 8) << 24;
    let limit = bits(0, 16) | bits(48, 4) << 16;
    let (is_32_bit, contents, may_write) = (bits(54, 1), bits(42, 2), bits(41, 1));
    let (in_pages, present, usable) = (bits(55, 1), bits(47, 1), bits(52, 1));
    let flags = is_32_bit | contents << 1 | (may_write ^ 1) << 3 | in_pages << 4 | (present ^ 1) << 5 | usable << 6;
    [number, base, limit, flags]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_told_as_the_call_takes_it() {
        // 32-bit data that may be written, present, base 0x12345678, limit 0xabcde in pages; Intel's manual, volume 3, 3.4.5.
        assert_eq!(described((7, 0x12ca_f334_5678_bcde)), [7, 0x1234_5678, 0xabcde, 1 | 1 << 4]);
        // 16-bit code that may be read, usable, in bytes.
        assert_eq!(described((0, 0x0010_fb00_0000_ffff)), [0, 0, 0xffff, 2 << 1 | 1 << 6]);
    }

    #[test]
    fn numbers_are_in_their_order_and_not_too_high() {
        assert!(are_possible(&[(0, 1), (8191, 1)]));
        assert!(!are_possible(&[(8192, 1)]) && !are_possible(&[(3, 1), (3, 1)]));
    }
}
