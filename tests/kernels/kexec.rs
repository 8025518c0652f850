//! A kernel upgrade in a machine that is never reset: one kernel starts the next.

use crate::failure::{Outcome, ensure};
use crate::kernel::Series;
use crate::machine::{Machine, RICH};
use crate::system::System;
use crate::upgrade::{SLEEP, WAKE, WAKE_AND_SLEEP, carried_on};

#[test]
fn programs_carry_on_through_kexec_into_a_newer_kernel_and_back() -> Outcome {
    let system = System::ready()?;
    let machine = Machine::new(&system)?;
    let then = |body: &str, series: Series, script: &str| {
        format!("{body}\nnext_kernel {} {script}\n", system.kernel(series).release)
    };
    let first = then(SLEEP, Series::Linux6_12, "second");
    let second = then(WAKE_AND_SLEEP, Series::Linux6_1, "third");
    // One run of the emulator, which ends at a reset.
    let scripts = [("first", first.as_str()), ("second", second.as_str()), ("third", WAKE)];
    let [first, second, third] = machine.boot(Series::Linux6_1, RICH, scripts)?;
    first.ran_under(Series::Linux6_1)?;
    second.ran_under(Series::Linux6_12)?;
    third.ran_under(Series::Linux6_1)?;
    ensure!(first.fact("boot")? != second.fact("boot")?, "the second kernel did not start");
    carried_on(&machine, 3)
}
