//! `tail -f`: it sleeps until the kernel tells it that a file has grown, and goes on where it had stopped reading.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;

use harness::{Job, User};

as_each_user!(goes_on_where_it_was);

const SCRIPT: &str = r"
tail -n +1 -f log &
tail=$!
while [ ! -e go ]; do sleep 0.05; done
kill $tail
wait
echo end
";

fn goes_on_where_it_was(user: User) {
    let mut job = Job::start("tail", user, |folder| {
        std::fs::write(folder.join("log"), "first\n").unwrap_or_else(|error| panic!("{error}"));
        let mut command = Command::new("bash");
        command.args(["-c", SCRIPT]);
        command
    });
    let log = job.specimen().folder().join("log");
    let add = |line: &str| {
        let opened = OpenOptions::new().append(true).open(&log);
        opened.and_then(|mut log| writeln!(log, "{line}")).unwrap_or_else(|error| panic!("{error}"));
    };
    job.wait_for("first\n");
    add("second");
    job.wait_for("second\n");
    job.nap();
    add("after a nap");
    job.wait_for("after a nap\n");
    let frozen = job.fall_asleep();
    add("while it slept");
    job.wake_up(&frozen);
    add("last");
    job.wait_for("last\n");
    job.make("go");
    assert_eq!(job.end(), "first\nsecond\nafter a nap\nwhile it slept\nlast\nend\n");
}
