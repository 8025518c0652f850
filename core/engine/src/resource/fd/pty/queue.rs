//! What is on its way in a pseudo-terminal: typed and not read yet, printed and not shown yet.
//!
//! The kernel lets nobody look at it without taking it out. So it is taken out and put back at once, while the group
//! stands still; the thaw puts it into the new pair in the same way. Meanwhile the line discipline is set so that it
//! changes nothing.

// zoo: terminal_queues

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::PollFlags;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::kernel::terminal::{self, Settings};
use crate::kernel::{Answer, Errno, files};

/// What the line discipline has room for; a master's writes beyond that wait unprocessed.
const ROOM: usize = 4095;
/// More than the kernel lets wait in either direction.
const MOST: usize = 1 << 18;

/// What is on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Whole lines, where input is read line by line.
    lines: Vec<Line>,
    /// The line that is not finished; or all input, where it is read as it comes.
    input: ByteBuf,
    /// What was typed and has found no room: it has not been looked at for ^C and its like.
    unprocessed: ByteBuf,
    /// What was printed and not read from the master, as the master will read it.
    output: ByteBuf,
    /// Whether output is stopped.
    stopped: Stop,
}

/// A line of input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The bytes.
    bytes: ByteBuf,
    /// It ends with an end-of-file mark, which is not read, and not with its last byte.
    mark: bool,
}

/// Whether and how output is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// It is not.
    #[default]
    No,
    /// By ^S: any program or person can let it go on with ^Q.
    Key,
    /// By tcflow(3): only that lets it go on.
    Flow,
}

impl Queue {
    /// Whether an image's queue can have been in a kernel.
    pub fn is_possible(&self) -> bool {
        let lines: usize = self.lines.iter().map(|line| line.bytes.len() + usize::from(line.mark)).sum();
        lines + self.input.len() <= ROOM + 1 && self.unprocessed.len() <= MOST && self.output.len() <= MOST
    }

    /// Takes out what is on its way and puts it back.
    pub fn look(master: &File, slave: &OwnedFd) -> Answer<Self> {
        // What the kernel's worker has not handed over yet is handed over for this.
        terminal::events(slave, PollFlags::POLLIN, Duration::ZERO)?;
        let _packets = NoPackets::begin(master)?;
        let settings = terminal::settings(master)?;
        terminal::set_settings(master, &settings.quiet())?;
        let mut queue = Self::default();
        let taken = queue.take(master, slave, &settings);
        let put_back = queue.put(master, slave, &settings);
        taken.and(put_back).map(|()| queue)
    }

    fn take(&mut self, master: &File, slave: &OwnedFd, settings: &Settings) -> Answer<()> {
        drain(master, &mut self.output)?;
        if !terminal::events(slave, PollFlags::POLLOUT, Duration::ZERO)?.contains(PollFlags::POLLOUT) {
            terminal::flow(slave, libc::TCOON)?;
            let goes_on = terminal::events(slave, PollFlags::POLLOUT, Duration::ZERO)?.contains(PollFlags::POLLOUT);
            self.stopped = if goes_on { Stop::Flow } else { Stop::Key };
        }
        if settings.is_canonical() {
            let mut buffer = vec![0; ROOM + 1];
            while terminal::events(slave, PollFlags::POLLIN, Duration::ZERO)?.contains(PollFlags::POLLIN) {
                let count = nix::unistd::read(slave, &mut buffer)?;
                let bytes = ByteBuf::from(&buffer[..count]);
                self.lines.push(Line { mark: bytes.last() != Some(&b'\n'), bytes });
            }
            terminal::set_settings(master, &settings.quiet().raw())?;
            drain(slave, &mut self.input)?;
            self.split();
            return Ok(());
        }
        let processed = files::bytes_waiting(slave)?;
        drain(slave, &mut self.input)?;
        let processed = processed.min(self.input.len());
        self.unprocessed = ByteBuf::from(self.input.split_off(processed));
        Ok(())
    }

    /// Lines beyond the room came in while the others were taken out: they were not processed before.
    fn split(&mut self) {
        let mut left = ROOM;
        let fits = |line: &Line| {
            left = left.saturating_sub(line.bytes.len() + usize::from(line.mark));
            left > 0
        };
        let kept = self.lines.iter().map(fits).take_while(|fits| *fits).count();
        let used: usize = self.lines[..kept].iter().map(|line| line.bytes.len() + usize::from(line.mark)).sum();
        let beyond: Vec<u8> = self.lines.drain(kept..).flat_map(|line| line.bytes.into_vec()).collect();
        let mut rest = [beyond, self.input.to_vec()].concat();
        self.unprocessed = ByteBuf::from(rest.split_off(rest.len().min(ROOM - used)));
        self.input = ByteBuf::from(rest);
    }

    /// Puts it into a pair in which nothing is on its way, and sets the terminal. `slave` must not wait.
    pub fn put(&self, master: &impl AsFd, slave: &OwnedFd, settings: &Settings) -> Answer<()> {
        let quiet = settings.quiet();
        if self.stopped == Stop::Key {
            terminal::set_settings(
                master,
                &quiet.with_character(libc::VSTART, START).with_character(libc::VSTOP, STOP),
            )?;
            terminal::type_in(slave, START)?;
        }
        terminal::set_settings(master, &quiet)?;
        // Before the input, which may leave no room for a key.
        write_all(slave, &self.output)?;
        match self.stopped {
            Stop::No => {}
            Stop::Key => {
                terminal::set_settings(master, &quiet.with_character(libc::VSTOP, STOP))?;
                terminal::type_in(slave, STOP)?;
                terminal::set_settings(master, &quiet)?;
            }
            Stop::Flow => terminal::flow(slave, libc::TCOOFF)?,
        }
        for line in &self.lines {
            type_all(slave, &line.bytes)?;
            if line.mark {
                terminal::set_settings(master, &quiet.with_character(libc::VEOF, MARK))?;
                terminal::type_in(slave, MARK)?;
                terminal::set_settings(master, &quiet)?;
            }
        }
        type_all(slave, &self.input)?;
        if !self.unprocessed.is_empty() {
            write_all(master, &self.unprocessed)?;
        }
        terminal::set_settings(master, settings)
    }
}

const START: u8 = 0o21;
const STOP: u8 = 0o23;
const MARK: u8 = 4;

/// While this lives, the master is read without the bytes of packet mode.
struct NoPackets<'a>(Option<&'a File>);

impl<'a> NoPackets<'a> {
    fn begin(master: &'a File) -> Answer<Self> {
        let on = terminal::has_packets(master)?;
        if on {
            terminal::set_packets(master, false)?;
        }
        Ok(Self(on.then_some(master)))
    }
}

impl Drop for NoPackets<'_> {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.map(|master| terminal::set_packets(master, true)) {
            tracing::error!(%error, "a terminal could not be put back into packet mode");
        }
    }
}

/// Reads all that is there.
fn drain(file: &impl AsFd, into: &mut ByteBuf) -> Answer<()> {
    let mut buffer = vec![0; 1 << 16];
    while terminal::events(file, PollFlags::POLLIN, Duration::ZERO)?.contains(PollFlags::POLLIN) {
        let count = nix::unistd::read(file, &mut buffer)?;
        into.extend_from_slice(&buffer[..count]);
        if count == 0 {
            break;
        }
        if into.len() > MOST {
            return Err(Errno::EOVERFLOW);
        }
    }
    Ok(())
}

fn type_all(slave: &OwnedFd, bytes: &[u8]) -> Answer<()> {
    bytes.iter().try_for_each(|byte| terminal::type_in(slave, *byte))
}

/// Writes all of it; the kernel's worker may have to make room.
fn write_all(file: &impl AsFd, mut bytes: &[u8]) -> Answer<()> {
    while !bytes.is_empty() {
        let ready = terminal::events(file, PollFlags::POLLOUT, Duration::from_secs(1))?;
        if !ready.contains(PollFlags::POLLOUT) {
            return Err(Errno::ENOSPC);
        }
        // Small parts, so that a master that waits does not.
        let part = &bytes[..bytes.len().min(256)];
        match nix::unistd::write(file, part) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EAGAIN) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Result<(File, OwnedFd), Errno> {
        let master = terminal::look(std::path::Path::new("/dev/ptmx"))?;
        terminal::set_locked(&master, false)?;
        let slave = terminal::peer(&master, libc::O_RDWR | libc::O_NONBLOCK)?;
        Ok((master, slave))
    }

    fn line(bytes: &[u8], mark: bool) -> Line {
        Line { bytes: ByteBuf::from(bytes), mark }
    }

    #[test]
    fn what_is_on_its_way_is_put_in_and_found_again() -> Result<(), Box<dyn std::error::Error>> {
        if !crate::kernel::identity::has_capability(21) {
            return Ok(());
        }
        let canonical = Queue {
            lines: vec![line(b"one\n", false), line(b"", true), line(b"two\x03\0\x13", true), line(b"\n", false)],
            input: ByteBuf::from(b"half \x04"),
            output: ByteBuf::from(vec![b'x'; 6000]),
            ..Queue::default()
        };
        let raw = Queue {
            input: ByteBuf::from(vec![3; ROOM]),
            unprocessed: ByteBuf::from(vec![b'\r'; 3000]),
            output: ByteBuf::from(b"a\nb"),
            ..Queue::default()
        };
        for (queue, canonical) in [(canonical, true), (raw, false)] {
            for stopped in [Stop::No, Stop::Key, Stop::Flow] {
                let queue = Queue { stopped, ..queue.clone() };
                let (master, slave) = pair()?;
                let settings = terminal::settings(&master)?;
                let settings = if canonical { settings } else { settings.raw() };
                queue.put(&master, &slave, &settings)?;
                assert_eq!(Queue::look(&master, &slave)?, queue);
                assert_eq!(Queue::look(&master, &slave)?, queue, "looking changes nothing");
                assert_eq!(terminal::settings(&master)?, settings);
            }
        }
        Ok(())
    }
}
