//! One-shot watches that are used up: a watch gets there only by telling, so what it watches must be ready for a moment.

// zoo: no kind

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, fcntl};

use crate::kernel::{Answer, anonymous, files};
use crate::resource::fd::{FileFacts, OpenFile, kind_of, own_path};

/// All that poll(2) can tell of.
pub const ANYTHING: i16 = libc::POLLIN
    | libc::POLLPRI
    | libc::POLLOUT
    | libc::POLLRDNORM
    | libc::POLLRDBAND
    | libc::POLLWRNORM
    | libc::POLLWRBAND
    | libc::POLLRDHUP;

/// Whether what is watched can be made ready, or is.
pub fn can_be_told(facts: &FileFacts) -> bool {
    matches!(kind_of(facts).name(), "pipe" | "fifo" | "epoll" | "eventfd" | "timerfd") || is_ready(&facts.file)
}

/// Whether it is ready for anything.
pub fn is_ready(file: &impl AsFd) -> bool {
    anonymous::poll(file, ANYTHING).is_ok_and(|ready| ready != 0)
}

/// Something that is ready only as long as this lives.
#[derive(Debug)]
pub enum Roused {
    /// A pipe that has a byte in it.
    Filled(OwnedFd),
    /// A pipe that is larger than this, its size.
    Widened(OwnedFd, i32),
    /// A set that watches this, which is ready; closed, it leaves the set.
    Watching(#[expect(dead_code, reason = "held open")] OwnedFd),
}

impl Roused {
    /// Makes something ready that is not; none where that cannot be.
    pub fn begin(file: &OpenFile, made: BorrowedFd<'_>) -> Answer<Option<Self>> {
        Ok(match file.kind.as_str() {
            "pipe" | "fifo" => {
                let pipe = files::open(own_path(&made).as_ref(), libc::O_RDWR | libc::O_NONBLOCK)?;
                Some(if file.flags & libc::O_ACCMODE == libc::O_WRONLY {
                    let size = fcntl(&pipe, FcntlArg::F_GETPIPE_SZ)?;
                    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(size.saturating_mul(2)))?;
                    Self::Widened(pipe, size)
                } else {
                    nix::unistd::write(&pipe, b"!")?;
                    Self::Filled(pipe)
                })
            }
            "epoll" => {
                // An event counter at zero can be written.
                let ready = anonymous::eventfd(false)?;
                anonymous::watch(&made, &ready, libc::EPOLLOUT as u32)?;
                Some(Self::Watching(ready))
            }
            _ => None,
        })
    }
}

impl Drop for Roused {
    fn drop(&mut self) {
        let calmed = match self {
            Self::Filled(pipe) => nix::unistd::read(&*pipe, &mut [0]).map(drop),
            Self::Widened(pipe, size) => fcntl(&*pipe, FcntlArg::F_SETPIPE_SZ(*size)).map(drop),
            Self::Watching(_) => Ok(()),
        };
        if let Err(error) = calmed {
            tracing::error!(%error, "a pipe could not be left as it was");
        }
    }
}
