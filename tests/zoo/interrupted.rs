//! Threads that stand in a system call while the group is frozen. The call must end as if nothing had been: with its
//! own result, never with EINTR, and not before its time.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::kernel::stands_in;
use crate::stage::{Stage, Trouble};

/// How long a call with a time limit waits. Long enough that it is still waiting when the freeze comes.
pub const LIMIT: Duration = Duration::from_secs(5);

/// What a call came to, and after how long.
type End = (Result<i64, String>, Duration);

/// A call that a thread of its own stands in.
#[derive(Debug)]
pub struct Call {
    name: &'static str,
    end: Receiver<End>,
    limit: Option<Duration>,
    expected: i64,
}

impl Call {
    /// A thread makes the call; returns when it stands in system call `number`. `limit` is when it ends by itself.
    pub fn start(
        name: &'static str,
        number: i64,
        limit: Option<Duration>,
        expected: i64,
        call: impl FnOnce() -> Result<i64, String> + Send + 'static,
    ) -> Result<Self, Trouble> {
        let (say_tid, tid) = channel();
        let (say_end, end) = channel();
        thread::Builder::new().name(name.chars().take(15).collect()).spawn(move || {
            let _ = say_tid.send(crate::kernel::tid());
            let begin = Instant::now();
            let result = call();
            let _ = say_end.send((result, begin.elapsed()));
            // The thread stays, so that the group looks the same whether the call has ended by now or not.
            loop {
                thread::park();
            }
        })?;
        let tid = tid.recv()?;
        if !stands_in(tid, number) {
            return Err(Trouble::Failed(format!("{name}: the thread does not come to stand in system call {number}")));
        }
        Ok(Self { name, end, limit, expected })
    }

    /// Whether the call still waits: a call that ended before the freeze tests nothing.
    pub fn still_waits(&self, stage: &mut Stage) {
        if let Ok((result, after)) = self.end.try_recv() {
            stage.wrong.say(format!("{}: ended too early, after {after:?}, with {result:?}", self.name));
        }
    }

    /// Waits for the call's end and judges it.
    pub fn judge(self, stage: &mut Stage) {
        let Ok((result, after)) = self.end.recv_timeout(Duration::from_secs(40)) else {
            return stage.wrong.say(format!("{}: does not end", self.name));
        };
        stage.wrong.equal(self.name, result, Ok(self.expected));
        if let Some(limit) = self.limit
            && after < limit
        {
            stage.wrong.say(format!("{}: ended after {after:?}, and must last {limit:?}", self.name));
        }
    }
}

/// The result of a call as these programs compare it: the number, or the error's words.
pub fn result(number: i64) -> Result<i64, String> {
    if number < 0 { Err(std::io::Error::last_os_error().to_string()) } else { Ok(number) }
}

/// The usual course: ready, wait, let the endless ones end by `finish`, judge all.
pub fn course(
    stage: &mut Stage,
    calls: Vec<Call>,
    finish: impl FnOnce() -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    for call in &calls {
        call.still_waits(stage);
    }
    stage.ready_and_wait()?;
    for call in calls.iter().filter(|call| call.limit.is_none()) {
        call.still_waits(stage);
    }
    finish()?;
    for call in calls {
        call.judge(stage);
    }
    Ok(())
}
