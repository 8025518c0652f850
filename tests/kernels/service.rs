//! The service under a real systemd, message bus and polkit: started by the bus for somebody at the machine, and stopped while what it has
//! woken goes on.

use crate::evidence::examine;
use crate::failure::{Outcome, ensure};
use crate::kernel::Series;
use crate::logout::COMMON;
use crate::machine::{Machine, RICH};
use crate::system::System;

/// Anna at the machine: a login at its first console, which does what is asked of it.
const SCRIPT: &str = r#"
mkdir -p $home
touch $work/app.log
chown 1000:1000 $home $work/app.log

# answers LOGIN: what makes a login do what is written into its pipe.
answers() {
    mkfifo $home/$1.ask
    chown 1000:1000 $home/$1.ask
    echo "while read -r asked < $1.ask; do status=0; sh -c \"\$asked\" > said 2>&1 < /dev/null || status=\$?; echo \$status > status; done"
}
# asks LOGIN COMMAND: what it said, and how it ended.
asks() {
    rm -f $home/status
    echo "$2" > $home/$1.ask
    until_so '[ -s $home/status ]'
    cat $home/said
    return "$(cat $home/status)"
}
is_of_systemd() {
    state=$(systemctl show --value -p ActiveState dormouse.service)
    [ "$state" = "$1" ] || fail "the service is $state"
}

login far "$(answers far)"
login near "$(answers near)" '-p TTYPath=/dev/tty1 -p StandardInput=tty-force'
fact seat "$(loginctl --no-legend list-sessions | awk '$4 == "seat0" {print $1}' | xargs -n 1 loginctl show-session --value -p Active)"
pids_from 10000
hers "exec systemd-run --user --quiet --scope setsid python3 -ISB /lib/kernels/carry_on.py $work/app.log < /dev/null > app.err 2>&1" &
until_so '[ -s $work/app.log ]'
carries_on app
app=$(pidof python3)
is_of_systemd inactive

# Somebody who is not at the machine is nobody whom polkit lets in without a password.
if asks far 'dormouse session freeze'; then fail 'it froze for somebody elsewhere'; fi
fact refused "$(tr '\n' ' ' < $home/said)"
[ -e /proc/$app ] || fail 'it froze for somebody elsewhere'

for life in first second; do
    asks near 'dormouse session freeze' || :
    [ ! -e /proc/$app ] || fail 'the app does not sleep'
    [ "$(sleeping)" = 1 ] || fail "$(sleeping) images sleep"
    is_of_systemd active
    asks near 'dormouse session thaw' || fail 'the app does not wake'
    if grep -q Lost $home/said; then fail 'something is lost'; fi
    [ -e /proc/$app ] || fail 'the app is not there'
    fact group.$life "$(cut -d: -f3 /proc/$app/cgroup)"
    # What it has woken outlives it.
    systemctl stop dormouse.service
    is_of_systemd inactive
    carries_on app
done
fact warnings "$(journalctl --no-pager -b -o cat -u dormouse.service | tr '\n' ' ')"
"#;

#[test]
fn the_service_works_for_who_is_at_the_machine_and_what_it_wakes_outlives_it() -> Outcome {
    let system = System::ready()?;
    let machine = Machine::new(&system)?;
    let script = format!("{COMMON}{SCRIPT}");
    let [report] = machine.boot_systemd(Series::Linux6_12, RICH, [("run", &script)])?;
    ensure!(report.fact("seat")? == "yes", "nobody is at the machine: {}", report.fact("seat")?);
    let refused = report.fact("refused")?;
    ensure!(refused.contains("have to authenticate"), "somebody elsewhere was told {refused}");
    for life in ["first", "second"] {
        let group = report.fact(&format!("group.{life}"))?;
        ensure!(group.starts_with("/user.slice/user-1000.slice/"), "the woken app is in {group}");
    }
    let lines = examine(&machine.read("work/app.log")?)?.states.len();
    ensure!(lines >= 24, "the app wrote {lines} lines in three lives");
    Ok(())
}
