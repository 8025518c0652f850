//! An image whose group runs is not woken a second time by mistake, however many try at once.
#![allow(missing_docs, clippy::panic)]

use std::process::{Command, Stdio};

use harness::command;
use harness::specimen::{Answer, without_inheritance};
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
