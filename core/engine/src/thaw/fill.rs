//! Page data from the image into the memory of processes being built.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, ProcessName, Progress, phrase};

use crate::image::{CHUNK_PAGES, PAGE, PageBuffer, Reader};
use crate::kernel::memory::{self, ForcedMemory, RemoteRange};
use crate::kernel::threads;
use crate::model::RemotePtr;
use crate::resource::group::{Alive, Group, Process};
use crate::resource::memory::mapping::{Backing, Mapping, Source};

/// Pages of one chunk that go to one place.
#[derive(Clone, Copy, Debug)]
struct Piece {
    chunk: u64,
    slot: usize,
    pages: usize,
    to: u64,
    forced: bool,
}

/// Fills processes, one after the other; remembers the last chunk, which the next small process may need too.
#[derive(Debug)]
pub struct Fill {
    buffer: PageBuffer,
    held: Option<u64>,
}

/// How many chunks are worth a thread: each brings a buffer, which costs as much as a few chunks.
const CHUNKS_A_WORKER: usize = 4;
/// More than there are processors: some wait for the disk while others check and copy.
const WORKERS: usize = 4;

/// How much page data a group has.
pub fn bytes(group: &Group) -> u64 {
    let mappings =
        group.processes.iter().filter_map(|process| process.alive()).flat_map(|alive| &alive.memory.mappings);
    let runs = mappings.flat_map(|mapping| &mapping.pages);
    runs.filter(|run| matches!(run.source, Source::Stored(_))).map(|run| run.count * PAGE as u64).sum()
}

/// How many bytes of memory the group has for itself as soon as it is built; pages shared with a parent take none.
pub fn resident(group: &Group) -> u64 {
    let mappings =
        group.processes.iter().filter_map(|process| process.alive()).flat_map(|alive| &alive.memory.mappings);
    let pages = |mapping: &Mapping| {
        let own = mapping.pages.iter().filter(|run| match run.source {
            Source::Stored(_) => true,
            Source::Zero => mapping.backing != Backing::Anonymous,
            Source::Inherited => false,
        });
        own.map(|run| run.count).fold(0, u64::saturating_add)
    };
    // Huge pages are set aside from all other memory.
    let mappings = mappings.filter(|mapping| mapping.huge_page == 0);
    let contents = group.contents.iter().filter(|content| content.huge_page == 0);
    let contents = contents.flat_map(|content| &content.pages).map(|stored| stored.count);
    mappings.map(pages).chain(contents).fold(0, u64::saturating_add).saturating_mul(PAGE as u64)
}

impl Fill {
    /// A filler.
    pub fn new() -> Self {
        Self { buffer: PageBuffer::new(), held: None }
    }

    /// Fills one process.
    pub fn pages(
        &mut self,
        process: &Process,
        alive: &Alive,
        reader: &Reader,
        progress: &dyn Progress,
    ) -> Result<(), Problem> {
        let shown = process.shown();
        for mapping in &alive.memory.mappings {
            zero_over_files(mapping, &shown)?;
        }
        let mut pieces: Vec<Piece> = alive.memory.mappings.iter().flat_map(pieces_of).collect();
        pieces.sort_by_key(|piece| (piece.chunk, piece.slot));
        let jobs: Vec<&[Piece]> = pieces.chunk_by(|one, other| one.chunk == other.chunk).collect();
        if jobs.len() >= 2 * CHUNKS_A_WORKER {
            return fill_together(&jobs, &shown, reader, progress);
        }
        for job in jobs {
            let chunk = job[0].chunk;
            if self.held != Some(chunk) {
                self.held = None;
                reader.read_chunk(chunk, &mut self.buffer).map_err(|error| error.problem())?;
                self.held = Some(chunk);
            }
            deliver(job, self.buffer.data(), &shown, progress)?;
        }
        Ok(())
    }
}

fn pieces_of(mapping: &Mapping) -> Vec<Piece> {
    let forced = !mapping.fill_writable();
    let mut pieces = Vec::new();
    for run in &mapping.pages {
        let Source::Stored(mut first) = run.source else { continue };
        let mut to = mapping.start + run.page * PAGE as u64;
        let mut left = run.count as usize;
        while left > 0 {
            let pages = left.min(CHUNK_PAGES - first.slot());
            pieces.push(Piece { chunk: first.chunk(), slot: first.slot(), pages, to, forced });
            first.0 += pages as u64;
            to += (pages * PAGE) as u64;
            left -= pages;
        }
    }
    pieces
}

/// Pages of zeros that the process has written over a file.
fn zero_over_files(mapping: &Mapping, process: &ProcessName) -> Result<(), Problem> {
    if mapping.backing == Backing::Anonymous {
        return Ok(());
    }
    for run in mapping.pages.iter().filter(|run| run.source == Source::Zero) {
        let zeros = vec![0; PAGE];
        for page in run.page..run.page + run.count {
            let to = mapping.start + page * PAGE as u64;
            write(process, &[(to, PAGE)], &zeros, !mapping.fill_writable())?;
        }
    }
    Ok(())
}

fn fill_together(
    jobs: &[&[Piece]],
    process: &ProcessName,
    reader: &Reader,
    progress: &dyn Progress,
) -> Result<(), Problem> {
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<Problem>> = Mutex::new(None);
    let workers = (jobs.len() / CHUNKS_A_WORKER).min(WORKERS);
    let worker = || {
        let mut buffer = PageBuffer::for_reading();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failure.lock().is_ok_and(|failure| failure.is_some()) {
                return;
            }
            let done = if progress.cancelled() {
                Err(Problem::blocks(ProblemKind::Cancelled, phrase!("the thaw was cancelled")))
            } else {
                let data = reader.read_chunk(job[0].chunk, &mut buffer).map_err(|error| error.problem());
                data.and_then(|data| deliver(job, data, process, progress))
            };
            if let (Err(problem), Ok(mut failure)) = (done, failure.lock()) {
                failure.get_or_insert(problem);
            }
        }
    };
    threads::together(workers, worker);
    match failure.into_inner() {
        Ok(None) => Ok(()),
        Ok(Some(problem)) => Err(problem),
        Err(_) => Err(Problem::blocks(ProblemKind::Memory, phrase!("a thread of the engine failed"))),
    }
}

fn deliver(job: &[Piece], data: &[u8], process: &ProcessName, progress: &dyn Progress) -> Result<(), Problem> {
    // Pieces that follow each other in the chunk go in one call, wherever they go to.
    for together in job.chunk_by(|one, other| one.slot + one.pages == other.slot && one.forced == other.forced) {
        let begin = together[0].slot * PAGE;
        let ranges: Vec<(u64, usize)> = together.iter().map(|piece| (piece.to, piece.pages * PAGE)).collect();
        let length: usize = ranges.iter().map(|(_, length)| length).sum();
        let bytes = data
            .get(begin..begin + length)
            .ok_or_else(|| Problem::blocks(ProblemKind::Image, phrase!("pages are missing from a chunk")))?;
        write(process, &ranges, bytes, together[0].forced)?;
        progress.moved(length as u64);
    }
    Ok(())
}

fn write(process: &ProcessName, ranges: &[(u64, usize)], bytes: &[u8], forced: bool) -> Result<(), Problem> {
    let pid: Pid = process.pid;
    let failed = |at: u64, why: Phrase| {
        Problem::blocks(
            ProblemKind::Memory,
            phrase!("its memory at {at} cannot be filled: {why}", at = format_args!("{at:#x}"), why),
        )
        .of(process)
    };
    if forced {
        let memory = ForcedMemory::open(pid).map_err(|error| failed(ranges[0].0, error.to_string().into()))?;
        let mut from = 0;
        for (to, length) in ranges {
            memory
                .write(RemotePtr(*to), &bytes[from..from + length])
                .map_err(|error| failed(*to, error.to_string().into()))?;
            from += length;
        }
        return Ok(());
    }
    let remote: Vec<_> =
        ranges.iter().map(|(to, length)| RemoteRange { start: RemotePtr(*to), length: *length }).collect();
    let written =
        memory::write_ranges(pid, &remote, bytes).map_err(|errno| failed(ranges[0].0, errno.desc().into()))?;
    if written == bytes.len() { Ok(()) } else { Err(failed(ranges[0].0, phrase!("it ends too early"))) }
}
