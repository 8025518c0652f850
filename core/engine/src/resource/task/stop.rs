//! A process that a signal has stopped, and the news of a stop, or of its end, that the parent can wait for: WUNTRACED and
//! WCONTINUED, wait(2).

// zoo: wait_for_stopped

use dormouse_wire::Pid;
use serde::{Deserialize, Serialize};

use crate::arguments;
use crate::puppet::{Batch, Call, Slot};

/// Whether a process is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The signal that has stopped it, if it is stopped.
    pub by: Option<i32>,
    /// Its parent can still wait for the news: that it was stopped; where it runs, that it was continued.
    pub news: bool,
}

impl Stop {
    /// Whether there is nothing to be done about it.
    pub fn is_nothing(&self) -> bool {
        self.by.is_none() && !self.news
    }

    /// Whether a signal of the record stops a process at all.
    pub fn is_possible(&self) -> bool {
        self.by.is_none_or(|signal| [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal))
    }
}

/// A child, and what its parent calls it.
type Child = (Pid, Pid);

/// What a parent was asked: which children were continued, and the news were not waited for.
#[derive(Debug, Default)]
pub struct AskedContinued(Vec<(Child, Call, Slot)>);

/// Asks a parent about its children, and what it calls them. Nothing is taken away.
pub fn ask_continued(children: &[Child], batch: &mut Batch) -> AskedContinued {
    const OPTIONS: i32 = libc::WCONTINUED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    let asked = children.iter().map(|(child, called)| {
        let info = batch.space(128);
        let call = batch.ask(libc::SYS_waitid, arguments![libc::P_PID, called.0, info, OPTIONS, 0]);
        ((*child, *called), call, info)
    });
    AskedContinued(asked.collect())
}

/// The children of which there are news.
pub fn answer_continued(asked: &AskedContinued, batch: &Batch) -> Vec<Pid> {
    const SI_PID: usize = 16;
    let has_news = |((_, called), call, info): &&(Child, Call, Slot)| {
        batch.result(*call).is_ok() && batch.read_u32(*info, SI_PID) == called.0 as u32
    };
    asked.0.iter().filter(has_news).map(|((child, _), ..)| *child).collect()
}

/// Takes the news of a stopped child away, for the parent has had them.
pub fn take_news(child: Pid, batch: &mut Batch) {
    const OPTIONS: i32 = libc::WUNTRACED | libc::WNOHANG | libc::__WALL;
    batch.must("take the news of a stopped child", libc::SYS_wait4, arguments![child.0, 0, OPTIONS, 0]);
}
