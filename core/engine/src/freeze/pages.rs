//! The pages that are a process's own go into the image: found by the page map, read by several threads, zeros left out.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use dormouse_wire::{Pid, Problem, ProblemKind, ProcessName, Progress};

use crate::image::{CHUNK_PAGES, PAGE, PageBuffer, PageNumber, PageSink};
use crate::kernel::memory::{self, ForcedMemory, RemoteRange};
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

/// A chunk's worth of pieces.
type Job = std::ops::Range<usize>;

/// Splits pieces so that each chunk takes whole ones.
fn split(pieces: Vec<Piece>) -> (Vec<Piece>, Vec<Job>) {
    let (mut split, mut jobs) = (Vec::with_capacity(pieces.len()), Vec::new());
    let (mut begin, mut room) = (0, CHUNK_PAGES as u64);
    for mut piece in pieces {
        while piece.pages > 0 {
            let taken = piece.pages.min(room);
            split.push(Piece { pages: taken, ..piece });
            piece.start += taken * PAGE as u64;
            piece.pages -= taken;
            room -= taken;
            if room == 0 {
                jobs.push(begin..split.len());
                (begin, room) = (split.len(), CHUNK_PAGES as u64);
            }
        }
    }
    if begin < split.len() {
        jobs.push(begin..split.len());
    }
    (split, jobs)
}

/// Stores all pieces; answers each, split as it was stored, with where its pages are.
pub fn store(
    pieces: Vec<Piece>,
    processes: &[ProcessName],
    sink: &PageSink,
    progress: &dyn Progress,
) -> Result<Vec<(Piece, Stored)>, Problem> {
    let (pieces, jobs) = split(pieces);
    let results: Mutex<Vec<Stored>> = Mutex::new(vec![Vec::new(); pieces.len()]);
    let failure: Mutex<Option<Problem>> = Mutex::new(None);
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut buffer = PageBuffer::new();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let stopped = failure.lock().is_ok_and(|failure| failure.is_some());
            if stopped {
                return;
            }
            let done = if progress.cancelled() {
                Err(Problem::blocks(ProblemKind::Cancelled, "the freeze was cancelled"))
            } else {
                chunk(&pieces[job.clone()], processes, sink, &mut buffer)
            };
            match done {
                Ok(stored) => {
                    let pages: u64 = pieces[job.clone()].iter().map(|piece| piece.pages).sum();
                    progress.moved(pages * PAGE as u64);
                    if let Ok(mut results) = results.lock() {
                        for (place, stored) in results[job.clone()].iter_mut().zip(stored) {
                            *place = stored;
                        }
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
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(worker);
        }
        worker();
    });
    match failure.into_inner() {
        Ok(Some(problem)) => return Err(problem),
        Ok(None) => {}
        Err(_) => return Err(Problem::blocks(ProblemKind::Memory, "a thread of the engine failed")),
    }
    let results = results.into_inner().unwrap_or_default();
    Ok(pieces.into_iter().zip(results).collect())
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
) -> Result<Vec<Stored>, Problem> {
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
    let used: Vec<bool> = space.chunks(PAGE).map(|page| !is_zero(page)).collect();
    let mut kept = 0;
    for (page, used) in used.iter().enumerate() {
        if *used {
            if kept != page {
                space.copy_within(page * PAGE..(page + 1) * PAGE, kept * PAGE);
            }
            kept += 1;
        }
    }
    let stored = if kept == 0 {
        None
    } else {
        buffer.set_len(kept);
        Some(sink.put(buffer).map_err(|error| error.problem())?)
    };
    Ok(runs(pieces, &used, stored))
}

fn runs(pieces: &[Piece], used: &[bool], stored: Option<PageNumber>) -> Vec<Stored> {
    let mut answers = Vec::with_capacity(pieces.len());
    let (mut page, mut slot) = (0, 0);
    for piece in pieces {
        let mut runs: Stored = Vec::new();
        for used in &used[page..page + piece.pages as usize] {
            let number = stored.filter(|_| *used).map(|first| PageNumber(first.0 + slot));
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
        Problem::blocks(ProblemKind::Memory, format!("its memory at {start:#x} cannot be read: {why}")).of(process)
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
        memory.read(RemotePtr(piece.start), &mut space[at..at + length]).map_err(|error| failed(piece.start, &error))?;
        at += length;
    }
    Ok(())
}
