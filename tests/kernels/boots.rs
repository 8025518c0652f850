//! The machines themselves, without the engine: they boot, the workloads run, and their logs arrive.

use dormouse_wire::doctor::{Examined, State};

use crate::evidence::{examine, examine_pipeline};
use crate::failure::{Outcome, ensure};
use crate::kernel::Series;
use crate::machine::{Machine, PLAIN, RICH};
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
dormouse doctor --json > $work/doctor.json || fail 'groups cannot be frozen here'
kexec --version
fact clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)
";

fn workloads_run_under(series: Series, processor: &str) -> Outcome {
    let system = System::ready()?;
    let machine = Machine::new(&system)?;
    let [report] = machine.boot(series, processor, [("run", SCRIPT)])?;
    report.ran_under(series)?;
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
    doctor_tells_the_kernels_apart(&machine.read("work/doctor.json")?, series)
}

/// What came with kernels between the two, and what is in neither.
fn doctor_tells_the_kernels_apart(said: &str, series: Series) -> Outcome {
    let examined: Examined = serde_json::from_str(said)?;
    let newer = series == Series::Linux6_12;
    for (name, works) in
        [("page-scan", newer), ("dispatch", newer), ("barriers", newer), ("seals", newer), ("timer-ids", false)]
    {
        let found = examined.abilities.iter().find(|ability| ability.name == name);
        let expected = if works { State::Works } else { State::Missing };
        let state = found.map(|ability| ability.state);
        ensure!(state == Some(expected), "{name} is {state:?} under {}", examined.kernel);
    }
    Ok(())
}

#[test]
fn the_workloads_run_under_linux_6_1() -> Outcome {
    workloads_run_under(Series::Linux6_1, RICH)
}

#[test]
fn the_workloads_run_under_linux_6_12() -> Outcome {
    workloads_run_under(Series::Linux6_12, RICH)
}

#[test]
fn the_workloads_run_on_a_plain_processor() -> Outcome {
    workloads_run_under(Series::Linux6_12, PLAIN)
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
