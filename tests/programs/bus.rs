//! A message bus with its clients in one group: a service that started a second bus, who waits for a name, and who writes
//! down signals.

use harness::{Job, User};

as_each_user!(still_knows_its_clients);

const SCRIPT: &str = r#"
export XDG_RUNTIME_DIR=$PWD/run
mkdir -m 700 run
cat > bus.conf <<END
<busconfig><type>session</type><listen>unix:path=$PWD/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
END
dbus-daemon --config-file=bus.conf --nofork --nopidfile 2> bus.said &
bus=$!
export DBUS_SESSION_BUS_ADDRESS=unix:path=$PWD/bus
until test -S bus; do sleep 0.02; done
dbus-monitor --profile "interface='io.test.News'" > heard &
monitor=$!
gdbus wait --session --timeout 600 io.test.Friend &
waits=$!
/usr/libexec/at-spi-bus-launcher 2> launcher.said &
service=$!
address() { gdbus call --session --dest org.a11y.Bus --object-path /org/a11y/bus --method org.a11y.Bus.GetAddress 2> /dev/null; }
until address > before; do sleep 0.05; done
until grep -q Name heard; do sleep 0.02; done
echo ready
while test ! -e go; do sleep 0.02; done
address | cmp - before && echo "the service answers as before"
DBUS_SESSION_BUS_ADDRESS=$(tr "()'" ',,,' < before | cut -d, -f3,4) gdbus call --session --dest org.freedesktop.DBus \
    --object-path / --method org.freedesktop.DBus.GetNameOwner org.freedesktop.DBus
gdbus emit --session --object-path /news --signal io.test.News.Told 'good news'
until grep -q Told heard; do sleep 0.02; done
echo "the signal is heard"
gdbus call --session --dest org.freedesktop.DBus --object-path / --method org.freedesktop.DBus.ListNames | grep -o 'org.a11y.Bus'
kill $waits $service $monitor $bus
"#;

fn still_knows_its_clients(user: User) {
    let mut job = Job::script(&["bash"], user, ("bus.sh", SCRIPT), &[]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    let wanted = [
        "ready",
        "the service answers as before",
        "('org.freedesktop.DBus',)",
        "the signal is heard",
        "org.a11y.Bus",
        "",
    ];
    assert_eq!(job.end(), wanted.join("\n"));
}
