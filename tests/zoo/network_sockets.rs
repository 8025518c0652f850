//! Sockets of the network, which are refused: the refusal names their addresses.

use std::net::{TcpListener, UdpSocket};

use crate::stage::{Held, Stage};

pub fn hold(stage: &mut Stage) -> Held {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let datagrams = UdpSocket::bind("[::1]:0")?;
    stage.keeps(|wrong| {
        wrong.holds("it listens", listener.local_addr().is_ok_and(|address| address.port() > 0));
        wrong.holds("it has an address", datagrams.local_addr().is_ok_and(|address| address.port() > 0));
    })
}
