//! Contexts for asynchronous I/O (io_setup): what is done and not read yet, at the beginning of a ring and across its end,
//! and an eventfd that counts it.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};

use crate::descriptors::owned;
use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage, cannot};

const READ: u16 = 0;
const TEXT: &[u8] = b"what is read while nobody waits for it";

/// A context, known by the address of its ring.
#[derive(Clone, Copy)]
pub struct Context(pub usize);

/// What is done: which request, and how many bytes.
pub type Done = (u64, i64);

impl Context {
    pub fn new(requests: usize) -> std::io::Result<Self> {
        let mut context = 0_usize;
        call(libc::SYS_io_setup, &[requests, into(&mut context)])?;
        Ok(Self(context))
    }

    /// Asks for something of a file; `told`: an eventfd that counts the answer.
    pub fn ask(
        self,
        number: u64,
        operation: u16,
        file: i32,
        (buffer, length): (usize, usize),
        told: Option<i32>,
    ) -> Held {
        let mut request = [0_u64; 8];
        request[0] = number;
        request[2] = u64::from(operation) | u64::from(file as u32) << 32;
        (request[3], request[4]) = (buffer as u64, length as u64);
        request[7] = told.map_or(0, |told| 1 | u64::from(told as u32) << 32);
        let list = [at(&request)];
        call(libc::SYS_io_submit, &[self.0, 1, at(&list)])?;
        Ok(())
    }

    /// Reads that are done at once, numbered from `first`: each of as many bytes as the rest of its number by 16.
    pub fn read(self, file: &File, first: u64, count: u64, told: Option<i32>) -> Held {
        let mut buffer = [0_u8; 16];
        for number in first..first + count {
            let length = number as usize % 16;
            self.ask(number, READ, file.as_raw_fd(), (into(&mut buffer), length), told)?;
        }
        Ok(())
    }

    pub fn take(self, most: usize) -> std::io::Result<Vec<Done>> {
        let mut events = vec![[0_u64; 4]; most];
        let none = [0_u64; 2];
        let taken = call(libc::SYS_io_getevents, &[self.0, 0, most, events.as_mut_ptr() as usize, at(&none)])? as usize;
        Ok(events[..taken].iter().map(|event| (event[0], event[2] as i64)).collect())
    }

    /// The ring as programs read it without a system call: size, head, tail.
    pub fn ring(self) -> [u32; 3] {
        // SAFETY: a ring of the kernel's begins with eight numbers, and is as large as a page at least.
        let header = unsafe { std::ptr::read_volatile(self.0 as *const [u32; 8]) };
        [header[1], header[2], header[3]]
    }
}

pub fn expected(first: u64, count: u64) -> Vec<Done> {
    (first..first + count).map(|number| (number, number as i64 % 16)).collect()
}

pub fn made(requests: usize) -> Result<Context, crate::stage::Trouble> {
    Context::new(requests).or_else(|error| cannot(format!("io_setup: {error}")))
}

pub fn file(stage: &Stage) -> std::io::Result<File> {
    fs::write(stage.path("text"), TEXT)?;
    File::open(stage.path("text"))
}

pub fn counter() -> std::io::Result<OwnedFd> {
    call(libc::SYS_eventfd2, &[0, libc::EFD_NONBLOCK as usize]).map(owned)
}

pub fn hold(stage: &mut Stage) -> Held {
    let file = file(stage)?;
    let counter = counter()?;
    let (begun, turned, idle) = (made(8)?, made(8)?, made(300)?);
    begun.read(&file, 100, 3, Some(counter.as_raw_fd()))?;
    stage.wrong.gives("one is read", begun.take(1), expected(100, 1));
    let slots = u64::from(turned.ring()[0]);
    for number in 0..slots - 2 {
        turned.read(&file, number, 1, None)?;
        stage.wrong.gives("each is read", turned.take(1), expected(number, 1));
    }
    turned.read(&file, 5000, 4, None)?;
    let last = slots as u32;
    stage.keeps(|wrong| {
        wrong.equal("a ring that begins", begun.ring()[1..].to_vec(), vec![1, 3]);
        wrong.equal("a ring across its end", turned.ring(), [last, last - 2, 2]);
        wrong.equal("an idle ring", idle.ring()[1..].to_vec(), vec![0, 0]);
        wrong.gives("nothing in the idle one", idle.take(1), Vec::new());
    })?;
    stage.wrong.gives("what was done before", begun.take(8), expected(101, 2));
    stage.wrong.gives("what was done across the end", turned.take(8), expected(5000, 4));
    let mut count = 0_u64;
    call(libc::SYS_read, &[counter.as_raw_fd() as usize, into(&mut count), 8])?;
    stage.wrong.equal("the counter was told of each", count, 3);
    for context in [begun, turned, idle] {
        context.read(&file, 7000, 60, None)?;
        stage.wrong.gives("what is asked afterwards", context.take(100), expected(7000, 60));
        call(libc::SYS_io_destroy, &[context.0])?;
    }
    Ok(())
}
