//! Which addresses a child can have from its parent as fork(2) leaves them: the same backing at the same address. Both
//! the freeze (which pages need not be stored again) and the thaw (what need not be mapped again) ask this.

// zoo: copy_on_write

use super::mapping::{Backing, Mapping};
use crate::proc::maps::VmFlags;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
}

/// What of a child's mapping can be had from its parent's mappings (by address).
pub fn inherited(child: &Mapping, parent: &[Mapping]) -> Vec<Range> {
    let first = parent.partition_point(|mapping| mapping.end <= child.start);
    parent[first..]
        .iter()
        .take_while(|mapping| mapping.start < child.end)
        .filter(|mapping| same(child, mapping))
        .map(|mapping| Range { start: child.start.max(mapping.start), end: child.end.min(mapping.end) })
        .collect()
}

/// Whether two mappings show the same where they overlap.
fn same(one: &Mapping, other: &Mapping) -> bool {
    const FIXED: VmFlags = VmFlags::MAY_SHARE.union(VmFlags::GROWS_DOWN).union(VmFlags::NO_RESERVE);
    one.backing == other.backing
        && one.huge_page == other.huge_page
        && one.flags & FIXED == other.flags & FIXED
        && one.flags.contains(VmFlags::MAY_WRITE) == other.flags.contains(VmFlags::MAY_WRITE)
        && (one.backing == Backing::Anonymous
            || one.offset.wrapping_sub(one.start) == other.offset.wrapping_sub(other.start))
}

/// What of `whole` is not in `parts` (by address, apart from each other).
pub fn without(whole: Range, parts: &[Range]) -> Vec<Range> {
    let mut left = Vec::new();
    let mut from = whole.start;
    for part in parts.iter().filter(|part| part.start < whole.end && part.end > whole.start) {
        if from < part.start {
            left.push(Range { start: from, end: part.start });
        }
        from = from.max(part.end);
    }
    if from < whole.end {
        left.push(Range { start: from, end: whole.end });
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(start: u64, end: u64, backing: Backing, offset: u64) -> Mapping {
        Mapping {
            start,
            end,
            protection: 3,
            flags: VmFlags::empty(),
            backing,
            offset,
            name: None,
            protection_key: 0,
            policy: None,
            pages: Vec::new(),
            guards: Vec::new(),
            huge_page: 0,
        }
    }

    #[test]
    fn a_heap_that_has_grown_is_inherited_as_far_as_the_parents_reaches() {
        let parent = [mapping(0x1000, 0x3000, Backing::Anonymous, 0), mapping(0x5000, 0x6000, Backing::File(1), 0)];
        let child = mapping(0x1000, 0x5000, Backing::Anonymous, 0);
        assert_eq!(inherited(&child, &parent), [Range { start: 0x1000, end: 0x3000 }]);
    }

    #[test]
    fn another_part_of_a_file_is_not_inherited() {
        let parent = [mapping(0x1000, 0x3000, Backing::File(1), 0)];
        assert!(inherited(&mapping(0x1000, 0x3000, Backing::File(1), 0x1000), &parent).is_empty());
        assert_eq!(inherited(&mapping(0x2000, 0x3000, Backing::File(1), 0x1000), &parent).len(), 1);
    }

    #[test]
    fn what_remains_lies_between_the_parts() {
        let whole = Range { start: 0, end: 10 };
        let parts = [Range { start: 2, end: 4 }, Range { start: 4, end: 5 }, Range { start: 8, end: 12 }];
        assert_eq!(without(whole, &parts), [Range { start: 0, end: 2 }, Range { start: 5, end: 8 }]);
    }
}
