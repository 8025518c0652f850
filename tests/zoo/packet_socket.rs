//! A packet socket, which is refused.

use crate::descriptors::owned;
use crate::kernel::call;
use crate::sockets::get;
use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let socket = owned(call(libc::SYS_socket, &[libc::AF_PACKET as usize, libc::SOCK_DGRAM as usize, 0])?);
    stage.keeps(|wrong| {
        wrong.gives("the family", get(&socket, libc::SOL_SOCKET, libc::SO_DOMAIN), libc::AF_PACKET);
    })
}
