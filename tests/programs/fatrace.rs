//! `fatrace`: it tells who opens what on a mount, as fanotify(7) tells it, and goes on with that.

use std::path::Path;
use std::process::Command;

use harness::{Job, User};

#[test]
fn goes_on_telling() {
    let mut job = Job::start("fatrace", User::Root, |_| {
        let mut command = Command::new("bash");
        let script = "here=$PWD; cd /dev/shm; /usr/sbin/fatrace --current-mount --filter W & while [ ! -e $here/go ]; do sleep 0.05; done; kill $!; wait";
        command.args(["-c", script]);
        command
    });
    let file = Path::new("/dev/shm").join(format!("dormouse-test-{}", std::process::id()));
    // The mark is there some time after the program is.
    let write = |job: &Job, word: &str| {
        let written = || std::fs::write(&file, word).unwrap_or_else(|error| panic!("{error}"));
        let line = format!("{}\n", file.display());
        let before = job.said().matches(&line).count();
        let told = harness::wait::until(harness::wait::PATIENCE, || {
            written();
            (job.said().matches(&line).count() > before).then_some(())
        });
        assert!(told.is_some(), "nothing is told of the file after it was written {word}: {}", job.said());
    };
    write(&job, "before");
    for round in ["once", "twice", "a third time"] {
        job.nap();
        write(&job, round);
    }
    job.make("go");
    job.end();
    std::fs::remove_file(&file).unwrap_or_else(|error| panic!("{error}"));
}
