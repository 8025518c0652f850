//! redis-server on TCP with a subscriber and a client that waits for a list, all in one group.

use harness::{Job, User};

as_each_user!(carries_on);

/// The server, a subscriber that writes down what it hears, and a client that waits; then one after the other is told.
pub const SCRIPT: &str = r#"
port=$1
redis-server --port $port --save '' --bind 127.0.0.1 --daemonize no > server.log 2>&1 &
server=$!
until redis-cli -p $port ping > /dev/null 2>&1; do sleep 0.05; done
redis-cli -p $port subscribe news > heard &
redis-cli -p $port blpop list 0 > popped &
waits=$!
until grep -q subscribe heard; do sleep 0.05; done
{ i=0; while [ $i -lt 20000 ]; do echo "set key$i value$i"; i=$((i + 1)); done; } | redis-cli -p $port > /dev/null
echo ready
while [ ! -e go ]; do sleep 0.01; done
redis-cli -p $port publish news 'good news' > /dev/null
redis-cli -p $port rpush list 'at last' > /dev/null
wait $waits
until grep -q 'good news' heard; do sleep 0.05; done
tail -n 1 heard popped | grep -v '^$' | tr '\n' ' '
redis-cli -p $port get key19999
redis-cli -p $port dbsize
kill $server
"#;

fn carries_on(user: User) {
    let port = super::free_port();
    let mut job = Job::script(&["sh"], user, ("redis.sh", SCRIPT), &[&port]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\n==> heard <== good news ==> popped <== at last value19999\n20000\n");
}
