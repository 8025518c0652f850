//! A kernel upgrade and its way back, with a reboot between.

use dormouse_wire::doctor::{Examined, State};

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

/// Looks at the kernel for [`doctor_tells_the_kernels_apart`].
fn doctor(name: &str) -> String {
    format!("dormouse doctor --json > $work/{name}.json || fail 'groups cannot be frozen here'\n")
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
fn programs_carry_on_under_a_newer_kernel_and_back_under_the_older() -> Outcome {
    let system = System::ready()?;
    let machine = Machine::new(&system)?;
    let sleep = format!("{}{SLEEP}", doctor("older"));
    let wake_and_sleep = format!("{}{WAKE_AND_SLEEP}", doctor("newer"));
    let [first] = machine.boot(Series::Linux6_1, RICH, [("first", &sleep)])?;
    let [second] = machine.boot(Series::Linux6_12, RICH, [("second", &wake_and_sleep)])?;
    let [third] = machine.boot(Series::Linux6_1, RICH, [("third", WAKE)])?;
    first.ran_under(Series::Linux6_1)?;
    second.ran_under(Series::Linux6_12)?;
    third.ran_under(Series::Linux6_1)?;
    doctor_tells_the_kernels_apart(&machine.read("work/older.json")?, Series::Linux6_1)?;
    doctor_tells_the_kernels_apart(&machine.read("work/newer.json")?, Series::Linux6_12)?;
    carried_on(&machine, 3)
}
