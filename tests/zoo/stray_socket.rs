//! A socket of another network namespace than that of any process, which is refused.

use std::net::UdpSocket;

use crate::descriptors::owned;
use crate::kernel::call;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let made = std::thread::spawn(|| {
        // SAFETY: takes a number only. The thread ends afterwards.
        let gone = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        (gone, call(libc::SYS_socket, &[libc::AF_INET as usize, libc::SOCK_DGRAM as usize, 0]))
    });
    let Ok((gone, socket)) = made.join() else { return crate::stage::cannot("the thread has failed") };
    stage.wrong.equal("unshare", gone, 0);
    let socket = UdpSocket::from(owned(socket?));
    // Its loopback device is down.
    stage.keeps(|wrong| wrong.holds("it is alone", socket.connect(("127.0.0.1", 9)).is_err()))
}
