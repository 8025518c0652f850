//! The pages that are a process's own go into the image: found by the page map, read by several threads, zeros left out.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use dormouse_wire::{Pid, Problem, ProblemKind, ProcessName, Progress, phrase};

use crate::image::{CHUNK_PAGES, PAGE, PageBuffer, PageNumber, PageSink};
use crate::kernel::memory::{self, ForcedMemory, RemoteRange};
use crate::kernel::threads;
use crate::model::RemotePtr;

/// Pages of one mapping that are to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The process, an index.
    pub process: usize,
    /// The mapping, an index.
    pub mapping: usize,
    /// Address of the first byte.
    pub start: u64,
    /// How many pages.
    pub pages: u64,
    /// The process itself may not read them.
    pub forced: bool,
}

/// What has become of a piece: runs of pages from its start, stored or all zeros.
pub type Stored = Vec<(u64, Option<PageNumber>)>;

/// Where the pieces of one chunk begin: a piece, and how many of its pages are in chunks before.
type Job = (usize, u64);

/// What has become of a chunk. There is one for every megabyte and every few hundred scattered pages: it is small.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    first: Option<PageNumber>,
    /// A bit for each page: whether it was worth storing.
    used: [u64; CHUNK_PAGES / 64],
}

impl Written {
    fn uses(&self, page: usize) -> bool {
        self.used[page / 64] >> (page % 64) & 1 == 1
    }
}

/// Divides pieces among chunks, none of which stays empty.
fn jobs(pieces: &[Piece]) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut room = 0;
    for (index, piece) in pieces.iter().enumerate() {
        let mut taken = room.min(piece.pages);
        room -= taken;
        while taken < piece.pages {
            jobs.push((index, taken));
            let more = (piece.pages - taken).min(CHUNK_PAGES as u64);
            taken += more;
            room = CHUNK_PAGES as u64 - more;
        }
    }
    jobs
}

/// The pieces of one chunk.
fn pieces_of(pieces: &[Piece], (first, mut skip): Job) -> Vec<Piece> {
    let mut room = CHUNK_PAGES as u64;
    let mut taken = Vec::new();
    for piece in &pieces[first..] {
        if room == 0 {
            break;
        }
        let pages = (piece.pages - skip).min(room);
        taken.push(Piece { start: piece.start + skip * PAGE as u64, pages, ..*piece });
        room -= pages;
        skip = 0;
    }
    taken
}

/// Stores all pieces; tells `found` of each in order, split as it was stored, and of where its pages are.
pub fn store(
    pieces: &[Piece],
    processes: &[ProcessName],
    sink: &PageSink,
    progress: &dyn Progress,
    mut found: impl FnMut(Piece, Stored),
) -> Result<(), Problem> {
    let jobs = jobs(pieces);
    let results: Mutex<Vec<Written>> = Mutex::new(vec![Written::default(); jobs.len()]);
    let failure: Mutex<Option<Problem>> = Mutex::new(None);
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut buffer = PageBuffer::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(number) else { return };
            if failure.lock().is_ok_and(|failure| failure.is_some()) {
                return;
            }
            let pieces = pieces_of(pieces, *job);
            let done = if progress.cancelled() {
                Err(Problem::blocks(ProblemKind::Cancelled, phrase!("the freeze was cancelled")))
            } else {
                chunk(&pieces, processes, sink, &mut buffer)
            };
            match done {
                Ok(written) => {
                    progress.moved(pieces.iter().map(|piece| piece.pages * PAGE as u64).sum());
                    if let Ok(mut results) = results.lock() {
                        results[number] = written;
                    }
                }
                Err(problem) => {
                    if let Ok(mut failure) = failure.lock() {
                        failure.get_or_insert(problem);
                    }
                }
            }
        }
    };
    let workers = (jobs.len() / CHUNKS_A_WORKER).clamp(1, WORKERS);
    threads::together(workers, worker);
    match failure.into_inner() {
        Ok(Some(problem)) => return Err(problem),
        Ok(None) => {}
        Err(_) => return Err(Problem::blocks(ProblemKind::Memory, phrase!("a thread of the engine failed"))),
    }
    for (job, written) in jobs.iter().zip(results.into_inner().unwrap_or_default()) {
        let pieces = pieces_of(pieces, *job);
        pieces.iter().zip(runs(&pieces, &written)).for_each(|(piece, runs)| found(*piece, runs));
    }
    Ok(())
}

/// More than there are processors: some wait for the disk while others read and hash.
const WORKERS: usize = 4;

/// A worker brings a buffer and a compressor, which cost as much as a few chunks: small groups want few of them.
const CHUNKS_A_WORKER: usize = 4;

/// Reads one chunk, leaves out the pages of zeros, writes the rest.
fn chunk(
    pieces: &[Piece],
    processes: &[ProcessName],
    sink: &PageSink,
    buffer: &mut PageBuffer,
) -> Result<Written, Problem> {
    let total: u64 = pieces.iter().map(|piece| piece.pages).sum();
    let space = &mut buffer.space()[..total as usize * PAGE];
    let mut at = 0;
    let mut first = 0;
    // Pieces of one process that lie one behind the other are read in one call.
    while first < pieces.len() {
        let same = |piece: &Piece| piece.process == pieces[first].process && piece.forced == pieces[first].forced;
        let count = pieces[first..].iter().take_while(|piece| same(piece)).count();
        let together = &pieces[first..first + count];
        let length: usize = together.iter().map(|piece| piece.pages as usize * PAGE).sum();
        read(together, &processes[pieces[first].process], &mut space[at..at + length])?;
        at += length;
        first += count;
    }
    let mut written = Written::default();
    let mut kept = 0;
    for page in 0..total as usize {
        if is_zero(&space[page * PAGE..(page + 1) * PAGE]) {
            continue;
        }
        written.used[page / 64] |= 1 << (page % 64);
        if kept != page {
            space.copy_within(page * PAGE..(page + 1) * PAGE, kept * PAGE);
        }
        kept += 1;
    }
    if kept > 0 {
        buffer.set_len(kept);
        written.first = Some(sink.put(buffer).map_err(|error| error.problem())?);
    }
    Ok(written)
}

fn runs(pieces: &[Piece], written: &Written) -> Vec<Stored> {
    let mut answers = Vec::with_capacity(pieces.len());
    let (mut page, mut slot) = (0, 0);
    for piece in pieces {
        let mut runs: Stored = Vec::new();
        for page in page..page + piece.pages as usize {
            let number = written.first.filter(|_| written.uses(page)).map(|first| PageNumber(first.0 + slot));
            slot += u64::from(number.is_some());
            match (runs.last_mut(), number) {
                (Some((count, None)), None) => *count += 1,
                (Some((count, Some(first))), Some(number)) if first.0 + *count == number.0 => *count += 1,
                _ => runs.push((1, number)),
            }
        }
        page += piece.pages as usize;
        answers.push(runs);
    }
    answers
}

fn is_zero(page: &[u8]) -> bool {
    page.as_chunks::<64>().0.iter().all(|block| *block == [0; 64])
}

fn read(pieces: &[Piece], process: &ProcessName, space: &mut [u8]) -> Result<(), Problem> {
    let pid = process.pid;
    let failed = |start: u64, why: &dyn std::fmt::Display| {
        Problem::blocks(
            ProblemKind::Memory,
            phrase!("its memory at {start} cannot be read: {why}", start = format_args!("{start:#x}"), why),
        )
        .of(process)
    };
    if pieces[0].forced {
        return read_forced(pid, pieces, space, &failed);
    }
    // A chunk has fewer pages than one call takes ranges.
    let ranges: Vec<_> = pieces
        .iter()
        .map(|piece| RemoteRange { start: RemotePtr(piece.start), length: piece.pages as usize * PAGE })
        .collect();
    let read = memory::read_ranges(pid, &ranges, space).map_err(|errno| failed(pieces[0].start, &errno.desc()))?;
    if read != space.len() {
        // Some page cannot be read this way, whatever its protection says: the slower way reaches it or tells which.
        return read_forced(pid, pieces, space, &failed);
    }
    Ok(())
}

fn read_forced(
    pid: Pid,
    pieces: &[Piece],
    space: &mut [u8],
    failed: &dyn Fn(u64, &dyn std::fmt::Display) -> Problem,
) -> Result<(), Problem> {
    let memory = ForcedMemory::open(pid).map_err(|error| failed(pieces[0].start, &error))?;
    let mut at = 0;
    for piece in pieces {
        let length = piece.pages as usize * PAGE;
        memory
            .read(RemotePtr(piece.start), &mut space[at..at + length])
            .map_err(|error| failed(piece.start, &error))?;
        at += length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(start: u64, pages: u64) -> Piece {
        Piece { process: 0, mapping: 0, start, pages, forced: false }
    }

    #[test]
    fn chunks_are_filled_and_no_page_is_lost_between_them() {
        let most = CHUNK_PAGES as u64;
        for lengths in
            [vec![1, most, 1], vec![2 * most], vec![most, most], vec![3 * most + 1, 5, most - 7], vec![1; 600], vec![]]
        {
            let mut at = 0;
            let pieces: Vec<Piece> = lengths
                .iter()
                .map(|pages| {
                    at += 1 << 32;
                    piece(at, *pages)
                })
                .collect();
            let chunks: Vec<Vec<Piece>> = jobs(&pieces).into_iter().map(|job| pieces_of(&pieces, job)).collect();
            let total: u64 = lengths.iter().sum();
            assert_eq!(chunks.len() as u64, total.div_ceil(most), "{lengths:?}");
            let pages = |pieces: &[Piece]| -> Vec<u64> {
                let pages = |piece: &Piece| {
                    (0..piece.pages).map(move |page| page * PAGE as u64).zip(std::iter::repeat(piece.start))
                };
                pieces
                    .iter()
                    .flat_map(|piece| pages(piece).map(|(offset, start)| start + offset).collect::<Vec<_>>())
                    .collect()
            };
            assert_eq!(pages(&chunks.concat()), pages(&pieces), "{lengths:?}");
        }
    }

    #[test]
    fn pages_of_zeros_are_told_from_stored_ones() {
        let mut written = Written { first: Some(PageNumber(512)), ..Written::default() };
        written.used[0] = 0b1101;
        let stored = |page: u64| Some(PageNumber(512 + page));
        let runs = runs(&[piece(0, 3), piece(1 << 32, 2)], &written);
        assert_eq!(runs, [vec![(1, stored(0)), (1, None), (1, stored(1))], vec![(1, stored(2)), (1, None)]]);
    }
}
