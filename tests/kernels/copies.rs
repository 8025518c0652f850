//! One image on two machines.

use std::thread;

use crate::evidence::examine;
use crate::failure::{Failure, Outcome, ensure};
use crate::kernel::Series;
use crate::machine::{Machine, RICH};
use crate::system::System;

const SLEEP: &str = "
pids_from 10000
begin counter /lib/kernels/counter $work/counter.log
begin python python3 -ISB /lib/kernels/carry_on.py $work/python.log
carries_on counter python
freeze counter
freeze python
fact lines $(lines counter)
";

const GO_ON: &str = "
thaw counter
thaw python
carries_on counter python
";

const TURN: &str = "
thaw counter
thaw python
kill -USR1 $(pid_of counter)
carries_on counter python
";

#[test]
fn copies_of_one_image_thaw_on_two_machines_at_once_and_each_goes_its_own_way() -> Outcome {
    let system = System::ready()?;
    let left = Machine::new(&system)?;
    let [slept] = left.boot(Series::Linux6_1, RICH, [("sleep", SLEEP)])?;
    let right = left.copy()?;
    thread::scope(|scope| {
        let other = scope.spawn(|| right.boot(Series::Linux6_12, RICH, [("turn", TURN)]).map(drop));
        left.boot(Series::Linux6_1, RICH, [("go-on", GO_ON)])?;
        other.join().map_err(|_| Failure::new("the right machine's thread panicked"))?
    })?;

    let straight = examine(&left.read("work/counter.log")?)?;
    let turned = examine(&right.read("work/counter.log")?)?;
    // The head of the log is a line of its own.
    let common = slept.number("lines")? as usize - 1;
    ensure!(straight.states[..common] == turned.states[..common], "the two do not have the same past");
    ensure!(straight.turns.is_empty(), "the left one has turned");
    ensure!(turned.turns.len() == 1 && turned.turns[0] >= common, "the right one turned at {:?}", turned.turns);
    ensure!(straight.states.len() >= common + 8 && turned.states.len() >= common + 8, "one of them stands still");
    ensure!(straight.states.last() != turned.states.last(), "both went the same way");
    for machine in [&left, &right] {
        ensure!(examine(&machine.read("work/python.log")?)?.states.len() >= 16, "python stands still");
    }
    Ok(())
}
