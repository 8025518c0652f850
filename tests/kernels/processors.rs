//! A group that moves between processors: to one that can do more it may, to one that lacks something it uses it may not.

use crate::evidence::examine;
use crate::failure::{Outcome, ensure};
use crate::kernel::Series;
use crate::machine::{Machine, PLAIN, RICH};
use crate::system::System;

const SLEEP_ON_RICH: &str = "
pids_from 10000
begin rich /lib/kernels/counter $work/rich.log
begin rich-static /lib/kernels/counter-static $work/rich-static.log
carries_on rich rich-static
freeze rich
freeze rich-static
";

const REFUSE_AND_SLEEP_ON_PLAIN: &str = "
refused rich
refused rich-static
pids_from 16000
begin plain /lib/kernels/counter $work/plain.log
begin plain-python python3 -ISB /lib/kernels/carry_on.py $work/plain-python.log
carries_on plain plain-python
freeze plain
freeze plain-python
";

const WAKE_ON_RICH: &str = "
for each in plain plain-python rich rich-static; do thaw $each; done
carries_on plain plain-python rich rich-static
";

#[test]
fn a_group_moves_to_a_processor_with_more_and_is_refused_with_the_reason_on_one_with_less() -> Outcome {
    let system = System::ready()?;
    let machine = Machine::new(&system)?;
    machine.boot(Series::Linux6_12, RICH, [("first", SLEEP_ON_RICH)])?;
    machine.boot(Series::Linux6_12, PLAIN, [("second", REFUSE_AND_SLEEP_ON_PLAIN)])?;
    for name in ["rich", "rich-static"] {
        let words = machine.read(&format!("work/{name}.refusal"))?.to_lowercase();
        let told = words.contains("avx") && words.contains("processor");
        ensure!(told, "the refusal of {name} names neither the processor nor AVX: {words:?}");
    }
    // The refused images are good: where the processor has it all, they wake beside the ones from the plain processor.
    machine.boot(Series::Linux6_12, RICH, [("third", WAKE_ON_RICH)])?;
    for name in ["rich", "rich-static", "plain", "plain-python"] {
        let lines = examine(&machine.read(&format!("work/{name}.log"))?)?.states.len();
        ensure!(lines >= 16, "{name} wrote {lines} lines in two lives");
    }
    Ok(())
}
