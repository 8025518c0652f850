//! Sockets on their way in sockets, with something on its way in them; a ring of two that carry each other; and bytes
//! around them, which keep their place.

use std::io::{IoSlice, IoSliceMut, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::descriptors::owned;
use crate::sockets::{pair, receive, send};
use crate::stage::{Held, Stage};

fn pass(through: &OwnedFd, bytes: &[u8], sockets: &[&OwnedFd]) -> Result<usize, nix::Error> {
    let numbers: Vec<i32> = sockets.iter().map(|socket| socket.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    sendmsg::<()>(through.as_raw_fd(), &[IoSlice::new(bytes)], &rights, MsgFlags::empty(), None)
}

fn take(from: &OwnedFd, most: usize) -> Result<(Vec<u8>, Vec<OwnedFd>), nix::Error> {
    let mut space = nix::cmsg_space!([i32; 8]);
    let mut bytes = vec![0; most];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(from.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
    let numbers = message.cmsgs()?.flat_map(|one| match one {
        ControlMessageOwned::ScmRights(numbers) => numbers,
        _ => Vec::new(),
    });
    let files = numbers.map(|number| owned(i64::from(number))).collect();
    let length = message.bytes;
    bytes.truncate(length);
    Ok((bytes, files))
}

pub fn hold(stage: &mut Stage) -> Held {
    let (outer, far) = pair(libc::SOCK_STREAM)?;
    let (inner, inner_far) = pair(libc::SOCK_SEQPACKET)?;
    let (reading, mut writing) = std::io::pipe()?;
    writing.write_all(b"in the pipe")?;
    pass(&inner_far, b"deeper", &[&OwnedFd::from(reading)])?;
    send(&outer, b"before")?;
    pass(&outer, b"with", &[&inner, &inner_far])?;
    send(&outer, b"after")?;
    drop((inner, inner_far));
    let (one, one_far) = pair(libc::SOCK_DGRAM)?;
    let (other, other_far) = pair(libc::SOCK_DGRAM)?;
    pass(&one_far, b"the other", &[&other])?;
    pass(&other_far, b"the one", &[&one_far])?;
    drop((other, one_far));
    stage.ready_and_wait()?;
    let (bytes, files) = take(&far, 6)?;
    stage.wrong.equal("before", (bytes.as_slice(), files.len()), (b"before".as_slice(), 0));
    let (bytes, mut files) = take(&far, 100)?;
    stage.wrong.equal("with", (bytes.as_slice(), files.len()), (b"with".as_slice(), 2));
    let (inner_far, inner) = (files.pop(), files.pop());
    let (Some(inner), Some(inner_far)) = (inner, inner_far) else {
        stage.wrong.say("the sockets do not come");
        return Ok(());
    };
    let (bytes, files) = take(&inner, 100)?;
    stage.wrong.equal("deeper", (bytes.as_slice(), files.len()), (b"deeper".as_slice(), 1));
    for pipe in &files {
        stage.wrong.gives("the pipe", crate::descriptors::read(pipe, 100), b"in the pipe".to_vec());
    }
    send(&inner, b"back")?;
    stage.wrong.gives("the inner ones are a pair", receive(&inner_far, 0), b"back".to_vec());
    stage.wrong.gives("after", receive(&far, 0), b"after".to_vec());
    let (_, other) = take(&one, 100)?;
    for other in &other {
        let (bytes, one_far) = take(other, 100)?;
        stage.wrong.equal("the ring", (bytes.as_slice(), one_far.len()), (b"the one".as_slice(), 1));
        for one_far in &one_far {
            send(one_far, b"round")?;
        }
    }
    stage.wrong.gives("all the way round", receive(&one, 0), b"round".to_vec());
    stage.wrong.gives("the last end", send(&other_far, b"x"), 1);
    Ok(())
}
