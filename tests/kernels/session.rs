//! A whole session over a change of the kernel, by `dormouse reboot` from within the machine: it starts the other kernel by itself.

use crate::evidence::{examine, examine_pipeline};
use crate::failure::{Outcome, ensure};
use crate::kernel::Series;
use crate::machine::{Machine, RICH};
use crate::system::System;

/// The workloads and a server with its client; a freeze of the session that is killed in its middle, and what it leaves.
const BEGIN: &str = "
pids_from 10000
begin_all
begin server python3 -ISB /lib/kernels/server.py $work/server
until [ -S $work/server.socket ]; do usleep 50000; done
begin client python3 -ISB /lib/kernels/client.py $work/server $work/client.log
all=\"$everything client\"
carries_on $all
images=/var/lib/dormouse

# Killed as soon as somebody sleeps.
dormouse session freeze --user root &
freeze=$!
until ls $images/*.dormouse > /dev/null 2>&1; do usleep 10000; done
kill -9 $freeze
wait $freeze || :
while pidof dormouse > /dev/null; do usleep 100000; done
asleep=$(ls $images | grep -c 'dormouse$') || :
fact interrupted $asleep
[ $asleep -ge 1 ] || fail 'nobody sleeps'
dormouse session status
dormouse session thaw || fail 'what slept does not wake'
[ -z \"$(ls $images | grep 'dormouse$')\" ] || fail 'an image is left'
carries_on $all
";

/// Written before the machine restarts, for it does not come back to this script.
fn leaves(name: &str, series: Series, next: &str, system: &System) -> String {
    let release = &system.kernel(series).release;
    format!(
        "pids_from 20000
line=$(sed 's/dormouse\\.run=[^ ]*/dormouse.run={next}/' /proc/cmdline)
echo 0 > /disk/results/{name}.status
dormouse reboot --user root --kernel {release} --append \"$line\"
echo 1 > /disk/results/{name}.status
fail \"dormouse reboot ended with $?\"
"
    )
}

const WAKE: &str = "
all=\"$everything client\"
images=/var/lib/dormouse
fact images $(ls $images | grep -c 'dormouse$')
pids_from 30000
dormouse session thaw --if-chosen || fail 'the session does not wake'
[ -z \"$(ls $images | grep 'dormouse$')\" ] || fail 'an image is left'
carries_on $all
";

#[test]
fn a_session_carries_on_through_dormouse_reboot_into_a_newer_kernel_and_back() -> Outcome {
    let system = System::ready()?;
    let machine = Machine::new(&system)?;
    let first = format!("{BEGIN}{}", leaves("first", Series::Linux6_12, "second", &system));
    let second = format!("{WAKE}{}", leaves("second", Series::Linux6_1, "third", &system));
    let third = format!("{WAKE}end_pipeline\n");
    let scripts = [("first", first.as_str()), ("second", second.as_str()), ("third", third.as_str())];
    let [first, second, third] = machine.boot(Series::Linux6_1, RICH, scripts)?;
    first.ran_under(Series::Linux6_1)?;
    second.ran_under(Series::Linux6_12)?;
    third.ran_under(Series::Linux6_1)?;
    ensure!(first.fact("boot")? != second.fact("boot")?, "the second kernel did not start");
    // Server and client sleep in one image; the others in one each.
    for report in [&second, &third] {
        ensure!(report.fact("images")? == "5", "{} images slept over the restart", report.fact("images")?);
    }
    for name in ["counter", "python", "java"] {
        let lines = examine(&machine.read(&format!("work/{name}.log"))?)?.states.len();
        ensure!(lines >= 24, "{name} wrote {lines} lines in three lives");
    }
    let count = examine_pipeline(&machine.read("work/pipeline.log")?, &machine.read("work/pipeline.sorted")?)?;
    ensure!(count >= 24, "the pipeline counted to {count} in three lives");
    let answers = machine.read("work/client.log")?;
    let numbers = answers.lines().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    ensure!(
        numbers.len() >= 24 && numbers.iter().copied().eq(1..=numbers.len() as u64),
        "the client was answered {answers}"
    );
    Ok(())
}
