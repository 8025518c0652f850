//! redis-server on TCP with a subscriber and a client that waits for a list, all in one group; and alone, with clients outside.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use harness::wait::{PATIENCE, until};
use harness::{Job, User};

as_each_user!(carries_on, goes_on_with_clients_outside);

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

/// One line of an answer.
fn heard(client: &mut TcpStream) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\r\n") {
        client.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error}"));
        line.extend(byte);
    }
    String::from_utf8_lossy(&line).trim_end().to_owned()
}

fn goes_on_with_clients_outside(user: User) {
    let port = super::free_port();
    let number: u16 = port.parse().unwrap_or(0);
    let mut job = Job::start("redis-server", user, |_| {
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--save", "", "--bind", "127.0.0.1", "--daemonize", "no"]);
        command
    });
    let connect = || {
        let client = TcpStream::connect(("127.0.0.1", number)).ok()?;
        client.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(client)
    };
    let mut asks = until(PATIENCE, connect).unwrap_or_else(|| panic!("{}", job.said()));
    let mut waits = connect().unwrap_or_else(|| panic!("no second client"));
    let say = |client: &mut TcpStream, text: &str| {
        client.write_all(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    };
    say(&mut asks, "PING\r\n");
    say(&mut waits, "PING\r\n");
    assert_eq!([heard(&mut asks), heard(&mut waits)], ["+PONG", "+PONG"]);
    say(&mut waits, "BLPOP list 0\r\n");
    for round in 0..3 {
        // A pipeline, in the middle of which it falls asleep; its rest comes while it does.
        let sets: Vec<String> = (0..20_000).map(|key| format!("SET key{key} value{round}\r\n")).collect();
        let all = sets.concat();
        say(&mut asks, &all[..100_000]);
        let specimen = job.specimen();
        let known = specimen.members();
        specimen.freeze_with(&["--keep-connections"]).expect_success("freeze");
        specimen.assert_asleep(&known);
        say(&mut asks, &all[100_000..]);
        specimen.thaw().expect_success("thaw");
        std::fs::remove_file(specimen.image()).unwrap_or_else(|error| panic!("{error}"));
        for key in 0..20_000 {
            assert_eq!(heard(&mut asks), "+OK", "key {key} of round {round}");
        }
    }
    say(&mut asks, "GET key19999\r\nDBSIZE\r\nRPUSH list last\r\n");
    assert_eq!([(); 4].map(|()| heard(&mut asks)), ["$6", "value2", ":20000", ":1"]);
    assert_eq!([(); 5].map(|()| heard(&mut waits)), ["*2", "$4", "list", "$4", "last"]);
    say(&mut asks, "SHUTDOWN NOSAVE\r\n");
    job.end();
}
