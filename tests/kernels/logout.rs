//! The session of a user under a real systemd: asleep from logout to login, and over a shutdown.

use crate::evidence::examine;
use crate::failure::{Outcome, ensure};
use crate::kernel::Series;
use crate::machine::{Machine, RICH};
use crate::system::System;

/// Anna, her logins, and the end of the machine in good order.
pub const COMMON: &str = r#"
home=/disk/home/anna
images=$home/.local/share/dormouse
knows passwd "anna:x:1000:1000::$home:/bin/sh"
knows group anna:x:1000:

until_so() {
    tries=0
    until eval "$1"; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { journalctl --no-pager -b -u 'dormouse-session@*' | tail -n 40; fail "it never comes: $1"; }
        usleep 100000
    done
}

# login NAME COMMAND [MORE]: a session of hers, as a login at a terminal or by ssh makes it; MORE is said of its unit.
login() {
    systemd-run --quiet --unit="$1" -p PAMName=dormouse-login -p User=anna -p "Environment=HOME=$home" ${3:-} \
        sh -c "cd $home; $2" || fail "there is no login $1"
    until_so 'systemctl is-active --quiet dormouse-session@1000'
}

hers() {
    su anna -c "cd $home; export XDG_RUNTIME_DIR=/run/user/1000; $1"
}

sleeping() {
    ls "$images" | grep -c 'dormouse$' || :
}

# switch_off NAME: this script ends with the system.
switch_off() {
    sync
    echo 0 > "/disk/results/$1.status"
    systemctl --no-block poweroff
    sleep 200
    echo 1 > "/disk/results/$1.status"
    fail 'the system does not end'
}
"#;

const FIRST: &str = r#"
mkdir -p $home
for name in app job; do touch $work/$name.log; chown 1000:1000 $work/$name.log; done
chown 1000:1000 $home
login first 'exec sleep 1000'
hers 'dormouse session enable' || fail 'she cannot choose it'
pids_from 10000
# An app of the desktop: her own systemd has it in a scope.
hers "exec systemd-run --user --quiet --scope setsid python3 -ISB /lib/kernels/carry_on.py $work/app.log < /dev/null > app.err 2>&1" &
until_so '[ -s $work/app.log ]'
carries_on app
app=$(pidof python3)

systemctl stop first
until_so '! systemctl is-active --quiet user@1000'
[ ! -e /proc/$app ] || fail 'the app is there after the logout'
[ "$(sleeping)" = 1 ] || fail "$(sleeping) images sleep after the logout"

login second 'exec sleep 1000'
[ -e /proc/$app ] || fail 'the app is not there after the login'
[ "$(sleeping)" = 0 ] || fail "$(sleeping) images sleep after the login"
carries_on app
fact group "$(dormouse list --json | grep -o '"name": *"[^"]*carry_on[^"]*"')"

# A job that she has begun in a login.
pids_from 11000
login third "setsid python3 -ISB /lib/kernels/carry_on.py $work/job.log > job.err 2>&1 < /dev/null & exec sleep 1000"
until_so '[ -s $work/job.log ]'
carries_on app job
fact lines.app $(lines app)
fact lines.job $(lines job)
switch_off first
"#;

const SECOND: &str = r#"
fact asleep "$(sleeping)"
login first 'exec sleep 1000'
journalctl --no-pager -b -o cat -u 'dormouse-session@*' | tee /disk/tmp/said
if grep -q Lost /disk/tmp/said; then fail 'something is lost'; fi
carries_on app job
[ "$(sleeping)" = 0 ] || fail "$(sleeping) images sleep after the login"
switch_off second
"#;

#[test]
fn a_session_sleeps_from_logout_to_login_and_over_a_shutdown_under_systemd() -> Outcome {
    let system = System::ready()?;
    let machine = Machine::new(&system)?;
    let scripts = [("first", FIRST), ("second", SECOND)].map(|(name, body)| (name, format!("{COMMON}{body}")));
    let [first] = machine.boot_systemd(Series::Linux6_1, RICH, [(scripts[0].0, &scripts[0].1)])?;
    let [second] = machine.boot_systemd(Series::Linux6_12, RICH, [(scripts[1].0, &scripts[1].1)])?;
    first.ran_under(Series::Linux6_1)?;
    second.ran_under(Series::Linux6_12)?;
    ensure!(second.fact("asleep")? == "2", "{} images slept over the shutdown", second.fact("asleep")?);
    ensure!(first.fact("group")?.contains("python3 carry_on.py"), "the app is called {}", first.fact("group")?);
    for name in ["app", "job"] {
        let lines = examine(&machine.read(&format!("work/{name}.log"))?)?.states.len();
        let before = first.number(&format!("lines.{name}"))? as usize;
        ensure!(lines >= before + 7, "{name} wrote {before} lines before the shutdown, and {lines} in all");
    }
    Ok(())
}
