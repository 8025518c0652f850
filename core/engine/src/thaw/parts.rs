//! System V shared memory of which a process has parts only, or has them apart: shmat(2) knows no parts, so that all of it is
//! attached aside, and what is wanted is moved from there.

use super::objects::Objects;
use super::space::Place;
use crate::puppet::Batch;
use crate::resource::memory::inherit::Range;
use crate::resource::memory::mapping::{Backing, Mapping};
use crate::resource::memory::segment;

/// The mappings of a process, and what of each its parent has left.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The mappings.
    pub mappings: &'a [Mapping],
    /// By mapping.
    pub kept: &'a [Vec<Range>],
    /// Where the kernel's own mappings are.
    pub kernel: &'a [Range],
    /// The engine's pages.
    pub place: Place,
}

impl Parts<'_> {
    /// Whether a mapping is a part of a segment that does not come along with the others.
    pub fn is_one(&self, index: usize, objects: &Objects) -> Option<(i32, u64)> {
        let Backing::Segment(number) = self.mappings[index].backing else { return None };
        let (id, length) = objects.segment(number)?;
        let begin = |mapping: &Mapping| mapping.start.wrapping_sub(mapping.offset);
        let own = begin(&self.mappings[index]);
        let all = || {
            let all = self.mappings.iter().zip(self.kept);
            all.filter(|(mapping, _)| mapping.backing == Backing::Segment(number) && begin(mapping) == own)
        };
        let is_whole = segment::is_whole(all().map(|(mapping, _)| mapping), length);
        (!is_whole || all().any(|(_, kept)| !kept.is_empty())).then_some((id, length))
    }

    /// Maps a part.
    pub fn bring(&self, index: usize, range: Range, (id, length): (i32, u64), batch: &mut Batch) {
        let mapping = &self.mappings[index];
        let aside = self.aside(length, mapping.huge_page);
        mapping.bring((range.start, range.end), (id, length), aside, batch);
    }

    /// An address at which as many bytes are free before and after the process has all its mappings.
    fn aside(&self, length: u64, huge_page: u64) -> u64 {
        const LOWEST: u64 = 1 << 32;
        let alignment = huge_page.max(2 << 20);
        let engine = Range { start: self.place.stage.0, end: self.place.parking.0 + super::space::PARKING };
        let mappings = self.mappings.iter().map(|mapping| Range { start: mapping.start, end: mapping.end });
        let mut used: Vec<Range> = mappings.chain(self.kernel.iter().copied()).chain([engine]).collect();
        used.sort_by_key(|range| range.start);
        let mut at = LOWEST.next_multiple_of(alignment);
        for range in used {
            if range.start >= at.saturating_add(length) {
                break;
            }
            at = at.max(range.end.next_multiple_of(alignment));
        }
        at
    }
}
