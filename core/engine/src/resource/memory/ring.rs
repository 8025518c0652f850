//! Contexts for asynchronous I/O, io_setup(2): each is known by the address of its ring, a mapping in which the kernel
//! tells what is done.
//!
//! The kernel keeps where it writes next for itself, and how many requests there may still be: neither can be read nor
//! set. Both follow from what is asked for and read. So the engine asks for reads that fail at once: they take the
//! kernel to any place in the ring, and as many as fit tell whether others are still under way.

// zoo: asynchronous_io

use std::ops::Range;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::mapping::{Backing, Mapping, PAGE};
use crate::arguments;
use crate::kernel::{Errno, memory};
use crate::model::RemotePtr;
use crate::proc::maps::{DetailedMapping, MappingName};
use crate::puppet::kernel;
use crate::puppet::stage::Desk;
use crate::puppet::{Batch, Call, Puppet, PuppetError, Slot, Stage};
use crate::resource::task::scheduling;
use dormouse_wire::{Pid, Problem, ProblemKind, phrase};

/// What a context holds besides its mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// Where its mapping begins, which is its id.
    pub start: u64,
    /// Where in the ring its owner reads next.
    pub head: u32,
    /// What is done and not read yet, `struct io_event` one after the other.
    pub events: ByteBuf,
}

/// Bytes of `struct io_event`.
const EVENT: usize = 32;

/// The most pages that are believed to be a ring: as many requests as `fs.aio-max-nr` allows on any machine.
const MOST_PAGES: u64 = 1 << 16;

/// Whether a mapping shows a ring.
pub fn is_one(found: &DetailedMapping) -> bool {
    matches!(&found.name, MappingName::File(path) if path.starts_with(b"/[aio]"))
}

/// How many events fit in a ring of so many bytes, as the kernel counts (aio_setup_ring of fs/aio.c).
fn slots(length: u64) -> u32 {
    u32::try_from((length / EVENT as u64).saturating_sub(1)).unwrap_or(0)
}

/// The least number of requests for which the kernel makes a ring of so many pages: it takes twice as many and two.
fn requests(pages: u64) -> u64 {
    if pages < 2 { 1 } else { 64 * (pages - 1) - 1 }
}

/// Asks of each ring whether the process has a context behind it.
pub fn ask<'a>(found: impl Iterator<Item = &'a DetailedMapping>, batch: &mut Batch) -> Vec<(u64, Call)> {
    found
        .filter(|found| is_one(found))
        .map(|found| (found.start, batch.ask(libc::SYS_io_getevents, arguments![found.start, 0, 0, 0, 0])))
        .collect()
}

/// Rings that are no contexts: a child has its parent's mapping, and nothing behind it.
pub fn judge(asked: &[(u64, Call)], batch: &Batch) -> Vec<Problem> {
    let dead = asked.iter().filter(|(_, call)| batch.result(*call).is_err());
    dead.map(|(start, _)| {
        let what =
            phrase!("it has the ring of a context for asynchronous I/O (io_setup) that is not its own or is damaged");
        Problem::blocks(ProblemKind::Memory, what)
            .at(phrase!("mapping {start} of /[aio]", start = format_args!("{start:x}")))
            .way_out(phrase!("Pause the group instead, or close what uses it in the program"))
    })
    .collect()
}

/// Whether the rings of a process and its mappings fit together.
pub fn are_possible(rings: &[Ring], mappings: &[Mapping]) -> bool {
    let mut shown: Vec<_> = mappings.iter().filter(|mapping| mapping.backing == Backing::Ring).collect();
    let all = rings.iter().all(|ring| {
        let Some(at) = shown.iter().position(|mapping| mapping.start == ring.start) else { return false };
        let mapping = shown.swap_remove(at);
        let slots = slots(mapping.length()) as usize;
        mapping.length() <= MOST_PAGES * PAGE
            && mapping.is_shared()
            && (mapping.offset, mapping.pages.len(), mapping.guards.len()) == (0, 0, 0)
            && (ring.head as usize) < slots
            && ring.events.len().is_multiple_of(EVENT)
            && ring.events.len() / EVENT < slots
    });
    all && shown.is_empty()
}

/// What has become of a look at a context.
#[derive(Debug)]
pub enum Settled {
    /// Nothing is under way.
    Quiet(Ring),
    /// Requests were still under way.
    Busy,
    /// Its mapping is not what the kernel made.
    Odd,
}

/// Waits until nothing is under way in a context, and tells what it holds. It is left as it was found.
pub fn settle(
    puppet: &mut Puppet,
    stage: &Stage,
    (start, end): (u64, u64),
    patience: Duration,
) -> Result<Settled, PuppetError> {
    let slots = slots(end - start);
    let header = Header::read(puppet, start)?;
    if !header.is_of(slots) || end - start > MOST_PAGES * PAGE {
        return Ok(Settled::Odd);
    }
    let head = header.head % slots;
    let mut work = Work::begin(puppet, stage, start, slots)?;
    let processors = scheduling::all_processors().map_err(kernel("learn which processors there are"))?;
    let possible: u32 = processors.iter().map(|byte| byte.count_ones()).sum();
    work.use_up(possible)?;
    let begin = Instant::now();
    let mut busy = work.under_way(possible)?;
    while busy != Some(0) && busy.is_some() && begin.elapsed() < patience {
        std::thread::sleep(Duration::from_millis(2));
        busy = work.under_way(possible)?;
    }
    let mut events = work.take()?;
    work.go_to(head, &mut events)?;
    work.lay(events.clone())?;
    work.end()?;
    Ok(match busy {
        Some(0) => Settled::Quiet(Ring { start, head, events: ByteBuf::from(events.concat()) }),
        Some(_) => Settled::Busy,
        None => Settled::Odd,
    })
}

/// Makes a context again, where `mapping` keeps its place. False: this kernel makes it larger than it was.
pub fn restore(ring: &Ring, mapping: &Mapping, puppet: &mut Puppet, stage: &Stage) -> Result<bool, PuppetError> {
    let (length, slots) = (mapping.length(), slots(mapping.length()));
    let mut batch = Batch::new();
    let id = batch.space(8);
    let purpose =
        "make a context for asynchronous I/O again (sysctl fs.aio-max-nr says how many requests there may be)";
    batch.must(purpose, libc::SYS_io_setup, arguments![requests(length / PAGE), id]);
    puppet.run(&stage.desk(0), &mut batch)?;
    let made = batch.read_u64(id, 0);
    if !Header::read(puppet, made)?.is_of(slots) {
        // The least ring is larger where there are more processors.
        return Ok(false);
    }
    let mut batch = Batch::new();
    let how = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    batch.must(
        "move a context for asynchronous I/O to its place",
        libc::SYS_mremap,
        arguments![made, length, length, how, ring.start],
    );
    puppet.run(&stage.desk(0), &mut batch)?;
    if ring.head == 0 && ring.events.is_empty() {
        return Ok(true);
    }
    let mut work = Work::begin(puppet, stage, ring.start, slots)?;
    work.go_to(ring.head, &mut Vec::new())?;
    work.lay(ring.events.as_chunks::<EVENT>().0.to_vec())?;
    work.end()?;
    Ok(true)
}

/// The beginning of a ring, `struct aio_ring`.
#[derive(Clone, Copy, Debug)]
struct Header {
    slots: u32,
    head: u32,
    tail: u32,
    magic: u32,
}

impl Header {
    const HEAD: u64 = 8;

    fn read(puppet: &Puppet, start: u64) -> Result<Self, PuppetError> {
        let mut bytes = [0; 32];
        memory::read(Pid(puppet.tid.0), RemotePtr(start), &mut bytes)
            .map_err(kernel("read a ring of asynchronous I/O"))?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Ok(Self { slots: word(4), head: word(8), tail: word(12), magic: word(16) })
    }

    fn is_of(&self, slots: u32) -> bool {
        const MAGIC: u32 = 0xa10a_10a1;
        slots > 0 && self.slots == slots && self.magic == MAGIC && self.tail < slots
    }
}

type Event = [u8; EVENT];

/// Work in one context.
struct Work<'a> {
    puppet: &'a mut Puppet,
    desk: Desk,
    /// Where the engine's own requests lie.
    ours: Range<u64>,
    start: u64,
    slots: u32,
    /// A descriptor that fails to be read.
    file: i32,
    affinity: Vec<u8>,
}

impl<'a> Work<'a> {
    /// Requests in one call.
    const AT_ONCE: u32 = 1024;
    /// Calls without success after which something is wrong.
    const TRIES: u32 = 100;
    /// Bytes of a mask of processors: more than any kernel has.
    const MASK: usize = 1024;

    fn begin(puppet: &'a mut Puppet, stage: &Stage, start: u64, slots: u32) -> Result<Self, PuppetError> {
        let base = stage.base().0;
        let ours = base..base + Stage::length(1);
        let desk = stage.desk(0);
        let mut batch = Batch::new();
        let mask = batch.space(Self::MASK);
        let length = batch.must("ask where it may run", libc::SYS_sched_getaffinity, arguments![0, Self::MASK, mask]);
        let flags = libc::EFD_NONBLOCK | libc::EFD_CLOEXEC;
        let file = batch.must("open one descriptor more for a moment", libc::SYS_eventfd2, arguments![0, flags]);
        puppet.run(&desk, &mut batch)?;
        let length = batch.result(length).map_or(0, |length| length as usize);
        let affinity = batch.read(mask)[..length.min(Self::MASK)].to_vec();
        let file = batch.result(file).map_err(kernel("open one descriptor more for a moment"))? as i32;
        Ok(Self { puppet, desk, ours, start, slots, file, affinity })
    }

    fn end(self) -> Result<(), PuppetError> {
        let mut batch = Batch::new();
        let mask = batch.bytes(&self.affinity);
        let arguments = arguments![0, self.affinity.len(), mask];
        batch.must("let it run where it may", libc::SYS_sched_setaffinity, arguments);
        batch.must("close the engine's descriptor", libc::SYS_close, arguments![self.file]);
        self.puppet.run(&self.desk, &mut batch)
    }

    fn header(&self) -> Result<Header, PuppetError> {
        Header::read(self.puppet, self.start)
    }

    /// So many pointers to one request, which fails as soon as it is made: nobody reads nothing of a counter.
    fn requests(&self, count: u32, batch: &mut Batch) -> Slot {
        let mut request = [0; 64];
        request[20..24].copy_from_slice(&self.file.to_le_bytes());
        let request = batch.bytes(&request);
        let array = batch.space(count as usize * 8);
        for place in 0..count as usize {
            batch.point(array, place * 8, request);
        }
        array
    }

    /// Makes requests on each processor until there is no room for any: each keeps some room for itself.
    fn use_up(&mut self, processors: u32) -> Result<(), PuppetError> {
        for processor in 0..processors as usize {
            let mut batch = Batch::new();
            let mut mask = vec![0; self.affinity.len().max(processor / 64 * 8 + 8)];
            mask[processor / 8] |= 1 << (processor % 8);
            let (length, mask) = (mask.len(), batch.bytes(&mask));
            // One that is away, or that it may not use, has no room of it.
            batch.ask(libc::SYS_sched_setaffinity, arguments![0, length, mask]);
            let array = self.requests(Self::AT_ONCE, &mut batch);
            for _ in 0..self.slots / Self::AT_ONCE + 2 {
                batch.ask(libc::SYS_io_submit, arguments![self.start, Self::AT_ONCE, array]);
            }
            self.puppet.run(&self.desk, &mut batch)?;
        }
        Ok(())
    }

    /// How many requests are under way, all room having been used up. The kernel hands out room by the batch, and what is
    /// left over of that nobody gets (ioctx_alloc of fs/aio.c). None: it has handed out more.
    fn under_way(&self, processors: u32) -> Result<Option<u32>, PuppetError> {
        let room = self.slots - 1;
        let batch = (room / (processors * 4).max(1)).max(1);
        Ok((room - room % batch).checked_sub(self.unread(self.header()?)))
    }

    fn unread(&self, header: Header) -> u32 {
        (header.tail % self.slots + self.slots - header.head % self.slots) % self.slots
    }

    fn place(&self, slot: u32) -> RemotePtr {
        RemotePtr(self.start + EVENT as u64 * (1 + u64::from(slot % self.slots)))
    }

    /// What is done and unread, without the engine's own, and how many those are.
    fn events(&self, header: Header) -> Result<(Vec<Event>, u32), PuppetError> {
        let (pid, mut all) = (Pid(self.puppet.tid.0), vec![[0; EVENT]; self.slots as usize]);
        memory::read(pid, self.place(0), all.as_flattened_mut()).map_err(kernel("read a ring of asynchronous I/O"))?;
        let unread = self.unread(header);
        let events: Vec<Event> =
            (0..unread).map(|place| all[((header.head % self.slots + place) % self.slots) as usize]).collect();
        let others: Vec<Event> = events.into_iter().filter(|event| !self.is_ours(event)).collect();
        let ours = unread - others.len() as u32;
        Ok((others, ours))
    }

    fn is_ours(&self, event: &Event) -> bool {
        let mut object = [0; 8];
        object.copy_from_slice(&event[8..16]);
        self.ours.contains(&u64::from_le_bytes(object))
    }

    /// Reads all that is done, and answers what is not the engine's own.
    fn take(&mut self) -> Result<Vec<Event>, PuppetError> {
        let header = self.header()?;
        let (others, _) = self.events(header)?;
        memory::write(Pid(self.puppet.tid.0), RemotePtr(self.start + Header::HEAD), &header.tail.to_le_bytes())
            .map_err(kernel("write into a ring of asynchronous I/O"))?;
        Ok(others)
    }

    fn submit(&mut self, count: u32) -> Result<(), PuppetError> {
        let mut batch = Batch::new();
        let count = count.min(Self::AT_ONCE);
        let array = self.requests(count, &mut batch);
        batch.ask(libc::SYS_io_submit, arguments![self.start, count, array]);
        self.puppet.run(&self.desk, &mut batch)
    }

    /// Lets the kernel come to write at `place` next, all before it having been read; what is done meanwhile is added to
    /// `found`.
    fn go_to(&mut self, place: u32, found: &mut Vec<Event>) -> Result<(), PuppetError> {
        for _ in 0..Self::TRIES + 2 * self.slots / Self::AT_ONCE {
            found.extend(self.take()?);
            let tail = self.header()?.head % self.slots;
            match (place + self.slots - tail) % self.slots {
                0 => return Ok(()),
                left => self.submit(left)?,
            }
        }
        Err(kernel("take a ring of asynchronous I/O to its place")(Errno::EAGAIN))
    }

    /// Lays these into the ring as done and unread, with what was done meanwhile behind them.
    fn lay(&mut self, mut events: Vec<Event>) -> Result<(), PuppetError> {
        let wanted = events.len() as u32;
        for _ in 0..Self::TRIES + self.slots / Self::AT_ONCE {
            let header = self.header()?;
            let (others, ours) = self.events(header)?;
            if ours < wanted {
                self.submit(wanted - ours)?;
                continue;
            }
            events.extend(others);
            for (slot, event) in (header.head..).zip(&events) {
                memory::write(Pid(self.puppet.tid.0), self.place(slot), event)
                    .map_err(kernel("write into a ring of asynchronous I/O"))?;
            }
            return Ok(());
        }
        Err(kernel("fill a ring of asynchronous I/O")(Errno::EAGAIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_of_the_same_size_is_asked_for() {
        for pages in [1, 2, 3, 17, 500] {
            let bytes = 32 + 32 * (2 * requests(pages) + 2);
            assert_eq!(bytes.div_ceil(PAGE), pages);
            assert_eq!(u64::from(slots(pages * PAGE)), 128 * pages - 1);
        }
    }
}
