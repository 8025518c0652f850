//! xterm on a display of its own (Xvfb), both in one group: what is typed after the thaw is heard like what was typed before.

use harness::{Job, User};

as_each_user!(hears_what_is_typed);

const SCRIPT: &str = r#"
exec 3> display
Xvfb -displayfd 3 -screen 0 640x400x24 -nolisten tcp -noreset 2> xvfb.said &
server=$!
until test -s display; do sleep 0.05; done
exec 3>&-
export DISPLAY=:$(cat display)
xterm -e sh -c 'while read line; do echo "it hears $line" >> heard; done' 2> xterm.said &
xterm=$!
until window=$(xdotool search --class xterm 2>/dev/null) && test -n "$window"; do sleep 0.1; done
window=$(echo "$window" | tail -n 1)
xdotool windowfocus $window type --delay 20 'before
'
until test -s heard; do sleep 0.05; done
echo ready
while test ! -e go; do sleep 0.02; done
xdotool windowfocus $window type --delay 20 'after
'
until grep -q after heard; do sleep 0.05; done
cat heard
kill $xterm $server
"#;

fn hears_what_is_typed(user: User) {
    let mut job = Job::script(&["bash"], user, ("xterm.sh", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\nit hears before\nit hears after\n");
}
