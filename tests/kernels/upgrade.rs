//! A kernel upgrade and its way back, with a reboot between.

use crate::evidence::{examine, examine_pipeline};
use crate::failure::{Outcome, ensure};
use crate::kernel::Series;
use crate::machine::{Machine, RICH};
use crate::system::System;

/// Starts the workloads, and puts them to sleep.
pub const SLEEP: &str = "
pids_from 10000
begin_all
carries_on $everything
freeze_all first
";

/// Wakes them, lets them do something, and puts them to sleep again.
pub const WAKE_AND_SLEEP: &str = "
thaw_all first
pids_from 16000
carries_on $everything
freeze_all second
";

/// Wakes them for the last time.
pub const WAKE: &str = "
thaw_all second
pids_from 22000
carries_on $everything
end_pipeline
";

/// Checks that each of the workloads has carried on through its lives, with eight lines in each at least.
pub fn carried_on(machine: &Machine<'_>, lives: usize) -> Outcome {
    for name in ["counter", "python", "java"] {
        let evidence = examine(&machine.read(&format!("work/{name}.log"))?)?;
        let lines = evidence.states.len();
        ensure!(lines >= 8 * lives, "{name} wrote {lines} lines in {lives} lives");
    }
    let count = examine_pipeline(&machine.read("work/pipeline.log")?, &machine.read("work/pipeline.sorted")?)?;
    ensure!(count >= 8 * lives, "the pipeline counted to {count} in {lives} lives");
    Ok(())
}

#[test]
fn programs_carry_on_under_a_newer_kernel_and_back_under_the_older() -> Outcome {
    let system = System::ready()?;
    let machine = Machine::new(&system)?;
    let [first] = machine.boot(Series::Linux6_1, RICH, [("first", SLEEP)])?;
    let [second] = machine.boot(Series::Linux6_12, RICH, [("second", WAKE_AND_SLEEP)])?;
    let [third] = machine.boot(Series::Linux6_1, RICH, [("third", WAKE)])?;
    first.ran_under(Series::Linux6_1)?;
    second.ran_under(Series::Linux6_12)?;
    third.ran_under(Series::Linux6_1)?;
    carried_on(&machine, 3)
}
