//! Whose pages are in a chunk of an image.

use std::collections::{BTreeMap, BTreeSet};

use dormouse_engine::image::{CHUNK_PAGES, PageNumber};
use dormouse_engine::resource::group::Group;
use dormouse_engine::resource::memory::mapping::{PAGE, Source};

/// So many ranges of addresses are named for each process; the rest are counted.
const RANGES: usize = 8;

/// For each of these chunks, what the group had in it, in words. The numbers in the records may be any.
pub fn of(group: &Group, chunks: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let mut held: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for process in &group.processes {
        let mut ranges: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
        for mapping in process.alive().iter().flat_map(|alive| &alive.memory.mappings) {
            for run in &mapping.pages {
                let Source::Stored(first) = run.source else { continue };
                for (chunk, from, count) in parts(first, run.count, chunks) {
                    let start = address(mapping.start, run.page.saturating_add(from));
                    add(ranges.entry(chunk).or_default(), (start, address(start, count)));
                }
            }
        }
        for (chunk, ranges) in ranges {
            held.entry(chunk).or_default().push(format!("memory of {} at {}", process.shown(), shown(&ranges)));
        }
    }
    for content in &group.contents {
        let pages = content.pages.iter().flat_map(|stored| parts(stored.first, stored.count, chunks));
        for chunk in pages.map(|(chunk, ..)| chunk).collect::<BTreeSet<_>>() {
            held.entry(chunk).or_default().push(format!("content of {}", content.origin.shown()));
        }
    }
    held.into_iter().map(|(chunk, what)| (chunk, what.join("; "))).collect()
}

/// The parts of a run that lie in these chunks: the chunk, the first page counted from the start of the run, how many.
fn parts(first: PageNumber, count: u64, chunks: &BTreeSet<u64>) -> impl Iterator<Item = (u64, u64, u64)> {
    let end = first.0.saturating_add(count);
    let whole = if count == 0 { None } else { Some(first.chunk()..=PageNumber(end - 1).chunk()) };
    whole.into_iter().flat_map(|whole| chunks.range(whole)).map(move |&chunk| {
        let begins = PageNumber::first_of(chunk).0;
        let (from, to) = (begins.max(first.0), begins.saturating_add(CHUNK_PAGES as u64).min(end));
        (chunk, from - first.0, to - from)
    })
}

fn address(start: u64, pages: u64) -> u64 {
    start.saturating_add(pages.saturating_mul(PAGE))
}

/// Adds a range of addresses; one that goes on where the last one ends becomes one with it.
fn add(ranges: &mut Vec<(u64, u64)>, range: (u64, u64)) {
    match ranges.last_mut() {
        Some(last) if last.1 == range.0 => last.1 = range.1,
        _ => ranges.push(range),
    }
}

fn shown(ranges: &[(u64, u64)]) -> String {
    let named: Vec<String> = ranges.iter().take(RANGES).map(|(start, end)| format!("{start:#x}-{end:#x}")).collect();
    match ranges.len().saturating_sub(RANGES) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dormouse_engine::image::PageNumber;

    use super::{add, parts, shown};

    #[test]
    fn a_run_over_several_chunks_is_cut_at_their_borders() {
        let chunks = BTreeSet::from([0, 1, 3]);
        let found: Vec<_> = parts(PageNumber(250), 600, &chunks).collect();
        assert_eq!(found, [(0, 0, 6), (1, 6, 256), (3, 518, 82)]);
        assert_eq!(parts(PageNumber(5), 0, &chunks).count(), 0);
        // What only an image that lies can say.
        assert_eq!(parts(PageNumber(u64::MAX), u64::MAX, &chunks).count(), 0);
        assert_eq!(parts(PageNumber(0), u64::MAX, &chunks).last(), Some((3, 768, 256)));
    }

    #[test]
    fn ranges_side_by_side_are_one_and_too_many_are_counted() {
        let mut ranges = Vec::new();
        for range in [(0x1000, 0x2000), (0x2000, 0x4000), (0x9000, 0xa000)] {
            add(&mut ranges, range);
        }
        assert_eq!(shown(&ranges), "0x1000-0x4000, 0x9000-0xa000");
        let many: Vec<_> = (0..10).map(|nth| (nth * 16, nth * 16 + 1)).collect();
        assert!(shown(&many).ends_with("0x70-0x71 and 2 more"), "{}", shown(&many));
    }
}
