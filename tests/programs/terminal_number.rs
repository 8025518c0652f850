//! The number of a pseudo-terminal: the same where it is free, and else announced.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use harness::{Job, User, command};

as_each_user!(comes_back, is_announced_where_it_is_taken);

/// Prints the name of a terminal of its own before and after, and sends a line through it.
const SCRIPT: &str = r"
import os, time
master, slave = os.openpty()
print(os.ttyname(slave), flush=True)
while not os.path.exists('go'): time.sleep(0.02)
os.write(master, b'a line\n')
assert os.read(slave, 100) == b'a line\n'
print(os.ttyname(slave), flush=True)
";

fn start(user: User) -> (Job, String) {
    let job = Job::script(&["python3"], user, ("terminal.py", SCRIPT), &[]);
    job.wait_for("\n");
    let name = job.said().trim_end().to_owned();
    (job, name)
}

fn comes_back(user: User) {
    let _alone = harness::alone::with_terminals();
    let (mut job, name) = start(user);
    job.nap();
    job.make("go");
    // Others make terminals meanwhile: then this one has another number, and that was announced.
    let said = job.end();
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.lines().all(|line| line.starts_with("/dev/pts/")), "{said}, and was {name}");
}

fn is_announced_where_it_is_taken(user: User) {
    let _alone = harness::alone::with_terminals();
    let (mut job, name) = start(user);
    job.fall_asleep();
    let mut held: Vec<File> = Vec::new();
    while !Path::new(&name).exists() {
        let made = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/ptmx");
        held.push(made.unwrap_or_else(|error| panic!("/dev/ptmx: {error}")));
        assert!(held.last().is_some_and(|made| made.as_raw_fd() < 500), "{name} does not come");
    }
    let image = job.specimen().image();
    let outcome = command::run(&["thaw", &image.to_string_lossy()], image.parent().unwrap_or(&image), || {});
    outcome.expect_success("thaw");
    assert!(
        outcome.said.contains(&name) && outcome.said.contains("another terminal has this name"),
        "{}",
        outcome.said
    );
    job.make("go");
    let said = job.end();
    assert!(!said.ends_with(&format!("{name}\n")), "the name is another terminal's: {said}");
}
