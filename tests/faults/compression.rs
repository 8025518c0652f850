//! However much time was given for it, what comes back is the same.

use std::process::Command;

use harness::{Program, Specimen, User, command, wait};

use crate::done;

/// Half of it can be made smaller.
const HOLDS: &str = r#"
import hashlib, os, signal
held = os.urandom(4 << 20) + bytes(range(256)) * (16 << 10)
known = hashlib.sha256(held).hexdigest()
signal.signal(signal.SIGUSR1, lambda *_: open("answer", "w").write(str(hashlib.sha256(held).hexdigest() == known)))
open("ready", "w")
while True: signal.pause()"#;

fn size(compression: &str) -> u64 {
    let mut specimen = Specimen::launch(&Program::named("compression"), User::Ordinary, |_| {
        let mut python = Command::new("python3");
        python.args(["-c", HOLDS]);
        python
    });
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let (group, pid, image) = (specimen.members(), specimen.pid(), specimen.image());
    let freeze = ["freeze", &pid.to_string(), "--compression", compression, "-o", &image.to_string_lossy()];
    command::run(&freeze, &specimen.folder(), || ()).expect_success("freeze");
    specimen.assert_asleep(&group);
    let size = done(image.metadata()).len();
    specimen.thaw().expect_success("thaw");
    specimen.assert_awake(&group);
    // SAFETY: sends a signal to the program that this test has started.
    unsafe { libc::kill(pid, libc::SIGUSR1) };
    let answer = specimen.folder().join("answer");
    let told = wait::until(wait::PATIENCE, || std::fs::read_to_string(&answer).ok().filter(|told| !told.is_empty()));
    assert_eq!(told.as_deref(), Some("True"), "with {compression} its memory came back wrong");
    size
}

#[test]
fn whatever_was_given_for_a_small_image_all_of_it_comes_back() {
    let [none, fast, small] = ["none", "fast", "small"].map(size);
    assert!(none > fast && fast > small, "{none}, {fast} and {small} bytes");
}
