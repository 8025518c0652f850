//! The machines themselves, without the engine: they boot, the workloads run, and their logs arrive.

use crate::evidence::{examine, examine_pipeline};
use crate::failure::{Outcome, ensure};
use crate::kernel::Series;
use crate::machine::{Machine, PLAIN};
use crate::system::System;

const SCRIPT: &str = "
begin_all
begin counter-static /lib/kernels/counter-static $work/counter-static.log
carries_on $everything counter-static
end_pipeline
for each in clocks clocks-static; do
    begin $each /lib/kernels/$each $work/$each.log
    carries_on $each
    kill -9 $(pid_of $each)
done
dormouse --version || fail 'the command does not start here'
dormouse doctor || fail 'groups cannot be frozen here'
kexec --version
fact clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)
";

#[test]
fn the_workloads_run_on_a_plain_processor() -> Outcome {
    let system = System::ready()?;
    let machine = Machine::new(&system)?;
    let [report] = machine.boot(Series::Linux6_12, PLAIN, [("run", SCRIPT)])?;
    report.ran_under(Series::Linux6_12)?;
    ensure!(report.fact("clock")? == "tsc", "the vdso cannot read the clock {}", report.fact("clock")?);
    for name in ["counter", "counter-static", "python", "java", "clocks", "clocks-static"] {
        let evidence = examine(&machine.read(&format!("work/{name}.log"))?)?;
        ensure!(evidence.states.len() >= 8, "{name} wrote {} lines", evidence.states.len());
        ensure!(
            evidence.turns.is_empty() && evidence.restarted_clocks.is_empty(),
            "{name} was disturbed: {evidence:?}"
        );
    }
    examine_pipeline(&machine.read("work/pipeline.log")?, &machine.read("work/pipeline.sorted")?)?;
    Ok(())
}

#[test]
fn a_script_that_fails_is_told_with_its_words() -> Outcome {
    let system = System::ready()?;
    let machine = Machine::new(&system)?;
    let outcome = machine.boot(Series::Linux6_12, PLAIN, [("run", "fail 'on purpose'")]);
    let words = outcome.err().map(|failure| format!("{failure:?}")).unwrap_or_default();
    ensure!(words.contains("failed: on purpose"), "the failure was told as {words:?}");
    Ok(())
}
