//! What ties the processes of this machine together, looked at from outside: nobody is stopped or asked.
//!
//! [`holdings`] reads what each process holds ([`devices`] knows what a device is), [`ties`] makes edges of it, [`sockets`]
//! those of sockets ([`unix`], [`tcp`]), whose ends know each other only by the kernel's lists, [`sharing`] those of
//! what is shared as a whole, [`system_v`] those of semaphores and message queues, [`fuse`] those of filesystems that a
//! process serves; [`served`] tells memory of a service and its client from what ties a group. What may not be read leaves no
//! edge, and [`Connections::unseen`] counts it.

pub mod devices;
pub mod fuse;
pub mod holdings;
mod served;
mod sharing;
mod sockets;
mod system_v;
mod tcp;
mod ties;
mod unix;

use dormouse_wire::{Graph, Pid};

use crate::kernel::threads;
use crate::proc;
use holdings::Holdings;

/// The ties of all processes that may be looked at.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// Processes, things and the ties between them.
    pub graph: Graph,
    /// How many processes may not be looked into: their ties are not known.
    pub unseen: usize,
    /// What each process holds.
    pub holdings: Vec<Holdings>,
}

impl Connections {
    /// Looks at all processes but this one.
    pub fn look() -> Self {
        let own = Pid(std::process::id() as i32);
        let mut pids = proc::list_pids().unwrap_or_default();
        pids.retain(|pid| *pid != own);
        // Whoever ends meanwhile holds nothing any more.
        let holdings: Vec<Holdings> = threads::each(&pids, |pid| Holdings::of(*pid)).into_iter().flatten().collect();
        let unseen = holdings.iter().filter(|holdings| holdings.closed).count();
        Self { graph: ties::graph(&holdings), unseen, holdings }
    }
}
