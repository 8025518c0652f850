//! A bundle on a machine that lacks what is in it.

use crate::evidence::examine;
use crate::failure::{Outcome, ensure};
use crate::kernel::Series;
use crate::machine::{Machine, RICH};
use crate::system::System;

const PACK: &str = "
pids_from 10000
begin python python3 -ISB /lib/kernels/carry_on.py $work/python.log
begin counter /lib/kernels/counter $work/counter.log
knows passwd anna:x:1000:1000::/:/bin/sh
knows group anna:x:1000:
touch $work/hers.log
chown 1000:1000 $work/hers.log
begin hers sh -c \"chmod a+w $work/hers.err; exec su anna -c 'exec python3 -ISB /lib/kernels/carry_on.py $work/hers.log'\"
carries_on python counter hers
[ \"$(stat -c %u /proc/$(pid_of hers))\" = 1000 ] || fail 'she is somebody else'
for each in python counter hers; do
    freeze $each
    dormouse export $images/$each.dormouse -o /disk/$each.dormouse-bundle || fail \"$each cannot be packed\"
    rm $images/$each.dormouse
done
rm -r /var/lib/dormouse
fact lines $(lines python)
";

/// Neither Python nor the library of C are what they were: their places are hidden by others; and Anna has another number, her own being Eve's.
const WAKE: &str = "
python=/usr/bin/$(basename $(readlink -f /usr/bin/python3))
mount -o bind /usr/bin/busybox $python
for library in /usr/lib/python3*; do mount -t tmpfs none $library; done
mount -o bind /usr/bin/busybox /lib/kernels/counter
for each in python counter; do
    pid=$(pid_of $each)
    timeout 90 dormouse thaw --background /disk/$each.dormouse-bundle || fail \"the bundle of $each ended with $?\"
    [ -e /proc/$pid ] || fail \"$each is not there after the thaw\"
done
[ \"$(readlink /proc/$(pid_of python)/exe)\" = $python ] || fail \"python runs $(readlink /proc/$(pid_of python)/exe)\"
! python3 -c 1 2> /dev/null || fail 'this machine has a python'
knows passwd eve:x:1000:1000::/:/bin/sh anna:x:1001:1001::/:/bin/sh
knows group anna:x:1001:
chown 1001:1001 $work/hers.log
pid=$(pid_of hers)
! dormouse thaw --background /disk/hers.dormouse-bundle 2> $work/hers.refusal || fail 'she became eve'
tr -s '[:space:]' ' ' < $work/hers.refusal | grep -q 'anna is user 1001 here' || fail \"$(cat $work/hers.refusal)\"
dormouse thaw --background --users by-name /disk/hers.dormouse-bundle || fail \"the bundle of hers ended with $?\"
[ \"$(stat -c %u:%g /proc/$pid)\" = 1001:1001 ] || fail \"she is $(stat -c %u:%g /proc/$pid)\"
carries_on python counter hers
";

#[test]
fn a_bundle_carries_on_under_another_kernel_where_its_programs_are_not() -> Outcome {
    let system = System::ready()?;
    let machine = Machine::new(&system)?;
    let [packed] = machine.boot(Series::Linux6_1, RICH, [("pack", PACK)])?;
    let [woken] = machine.boot(Series::Linux6_12, RICH, [("wake", WAKE)])?;
    packed.ran_under(Series::Linux6_1)?;
    woken.ran_under(Series::Linux6_12)?;
    let before = packed.number("lines")? as usize - 1;
    for name in ["python", "counter", "hers"] {
        let lines = examine(&machine.read(&format!("work/{name}.log"))?)?.states.len();
        ensure!(lines >= before.min(8) + 8, "{name} wrote {lines} lines in two lives");
    }
    Ok(())
}
