//! A Wayland compositor without a screen (weston) and a program of GTK 4 on it, both in one group: its cursor goes on
//! blinking, frame by frame, as they both agree on.

use harness::{Job, User};

as_each_user!(draws_on);

/// What passes between the two is written down by the program's library (WAYLAND_DEBUG).
const SCRIPT: &str = r#"
mkdir -p -m 700 run config/gtk-4.0
printf '[Settings]\ngtk-cursor-blink=true\ngtk-cursor-blink-timeout=100000\n' > config/gtk-4.0/settings.ini
export XDG_RUNTIME_DIR=$PWD/run XDG_CONFIG_HOME=$PWD/config HOME=$PWD GSETTINGS_BACKEND=memory
export DBUS_SESSION_BUS_ADDRESS=unix:path=/nowhere GDK_BACKEND=wayland GSK_RENDERER=cairo
unset DISPLAY
weston --backend=headless-backend.so --socket=bed --idle-time=0 > weston.said 2>&1 &
server=$!
until test -S run/bed; do sleep 0.05; done
WAYLAND_DISPLAY=bed WAYLAND_DEBUG=1 gnome-calculator 2> app.said &
app=$!
drawn() { grep -c 'wl_callback.*done' app.said; }
until test "$(drawn)" -gt 10; do sleep 0.1; done
echo ready
while test ! -e go; do sleep 0.02; done
before=$(drawn)
until test "$(drawn)" -gt $((before + 10)); do sleep 0.1; done
echo "it draws on"
kill $app $server
wait $server
echo "the display ended with $?"
"#;

fn draws_on(user: User) {
    let mut job = Job::script(&["bash"], user, ("weston.sh", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\nit draws on\nthe display ended with 0\n");
}
