//! Threads that set up something of their own and look at it when they are asked to.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::stage::Wrong;

/// Threads that wait to be asked whether what each of them has is still so.
#[derive(Debug)]
pub struct Workers(Vec<(Sender<()>, Receiver<bool>)>);

impl Workers {
    /// Starts `count` threads. Each calls `set_up` with its number and later `look`; both say whether all is well.
    pub fn start(
        count: usize,
        set_up: impl Fn(usize) -> bool + Clone + Send + 'static,
        look: impl Fn(usize) -> bool + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let start = |number: usize| {
            let (ask, asked) = channel();
            let (answer, answers) = channel();
            let (set_up, look) = (set_up.clone(), look.clone());
            thread::Builder::new().name(format!("worker {number}")).spawn(move || {
                let well = set_up(number);
                while asked.recv().is_ok() {
                    let _ = answer.send(well && look(number));
                }
            })?;
            Ok((ask, answers))
        };
        (0..count).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Lets every thread look.
    pub fn look(&self, wrong: &mut Wrong, what: &str) {
        for (number, (ask, answers)) in self.0.iter().enumerate() {
            let answer = ask.send(()).is_ok() && answers.recv() == Ok(true);
            wrong.holds(&format!("{what} {number}"), answer);
        }
    }
}
