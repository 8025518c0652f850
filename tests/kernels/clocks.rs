//! Programs that do nothing but ask the time, through the vdso of the kernel they were started under.

use crate::evidence::examine;
use crate::failure::{Outcome, ensure};
use crate::kernel::Series;
use crate::machine::{Machine, RICH};
use crate::system::System;

// A kernel counts its uptime from zero: a group is frozen late in the life of one kernel and thawed early in that of the
// next, so that a clock which follows the kernel's would jump back.
const SLEEP: &str = "
pids_from 10000
begin clocks /lib/kernels/clocks $work/clocks.log
begin clocks-static /lib/kernels/clocks-static $work/clocks-static.log
carries_on clocks clocks-static
uptime_at_least 14
freeze clocks clocks-first
freeze clocks-static clocks-static-first
";

const WAKE_AND_SLEEP: &str = "
thaw clocks clocks-first
thaw clocks-static clocks-static-first
pids_from 16000
carries_on clocks clocks-static
uptime_at_least 14
freeze clocks clocks-second
freeze clocks-static clocks-static-second
";

const WAKE: &str = "
thaw clocks clocks-second
thaw clocks-static clocks-static-second
carries_on clocks clocks-static
";

#[test]
fn every_clock_is_right_and_never_jumps_back_across_a_change_of_the_kernel() -> Outcome {
    let system = System::ready()?;
    let machine = Machine::new(&system)?;
    let [first] = machine.boot(Series::Linux6_1, RICH, [("first", SLEEP)])?;
    let [second] = machine.boot(Series::Linux6_12, RICH, [("second", WAKE_AND_SLEEP)])?;
    let [third] = machine.boot(Series::Linux6_1, RICH, [("third", WAKE)])?;
    for name in ["clocks", "clocks-static"] {
        for (before, after) in [(&first, &second), (&second, &third)] {
            let frozen = before.number(&format!("uptime-frozen.{name}"))?;
            let thawed = after.number(&format!("uptime-thawed.{name}"))?;
            ensure!(
                thawed < frozen,
                "{name} was thawed at {thawed} s and frozen at {frozen} s: nothing could jump back"
            );
        }
        let evidence = examine(&machine.read(&format!("work/{name}.log"))?)?;
        ensure!(evidence.states.len() >= 24, "{name} wrote {} lines in three lives", evidence.states.len());
        // No kernel can set the CPU time of a process; it begins anew, once a life.
        for clock in ["2", "3"] {
            let restarts = evidence.restarted_clocks.iter().filter(|other| *other == clock).count();
            ensure!(restarts <= 2, "in {name}, the clock {clock} began anew {restarts} times in three lives");
        }
    }
    Ok(())
}
