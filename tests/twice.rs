//! An image whose group runs is not woken a second time by mistake, however many try at once.
#![allow(missing_docs, clippy::panic)]

use std::process::{Command, Stdio};

use harness::command;
use harness::specimen::{Answer, without_inheritance};
use harness::wait::{PATIENCE, until};
use harness::{Program, Specimen, User};

#[test]
fn what_runs_already_is_woken_a_second_time_only_on_purpose() {
    let program = Program::named("anonymous");
    let mut specimen = Specimen::start(std::path::Path::new(env!("CARGO_BIN_EXE_zoo")), &program, User::Root);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let group = specimen.members();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&group);
    let image = specimen.image();
    let thaws: Vec<_> = (0..3)
        .map(|_| {
            let mut thaw = Command::new(command::path());
            thaw.arg("thaw").arg(&image).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            without_inheritance(&mut thaw).spawn().unwrap_or_else(|error| panic!("{error}"))
        })
        .collect();
    let outputs: Vec<_> =
        thaws.into_iter().map(|thaw| thaw.wait_with_output().unwrap_or_else(|error| panic!("{error}"))).collect();
    let woken = outputs.iter().filter(|output| output.status.success()).count();
    assert_eq!(woken, 1, "{outputs:?}");
    for output in outputs.iter().filter(|output| !output.status.success()) {
        let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(output.status.code() == Some(1) && said.contains("runs already"), "{said}");
        assert!(said.contains(&specimen.pid().to_string()) && said.contains("--pid-namespace always"), "{said}");
    }
    specimen.assert_awake(&group);
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

#[test]
fn nobody_waits_for_an_image_that_is_a_fifo() {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let fifo = folder.path().join("fifo.dormouse");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap_or_else(|error| panic!("{error}"));
    let mut thaw = Command::new(command::path());
    thaw.arg("thaw").arg(&fifo).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut thaw = without_inheritance(&mut thaw).spawn().unwrap_or_else(|error| panic!("{error}"));
    let ended = until(PATIENCE, || thaw.try_wait().ok().flatten());
    let _ = thaw.kill();
    assert_eq!(ended.and_then(|status| status.code()), Some(1), "it waits for somebody to write");
}
