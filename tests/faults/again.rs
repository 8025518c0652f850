//! Freezes that follow each other so fast that threads are stopped again before they wait again.

use std::path::Path;

use dormouse_engine::{FreezeOptions, Selection};
use dormouse_wire::{Pid, Quiet};
use harness::specimen::Answer;
use harness::{Program, Specimen, User};

use crate::ZOO;

/// One copy right after the other; the group comes back from the last.
const LAST: usize = 20;

/// The engine works in whatever thread its caller has: here it is not the first one of its process.
#[test]
fn a_call_that_is_interrupted_again_and_again_goes_on() {
    let program = Program::named("polls");
    let mut specimen = Specimen::start(Path::new(ZOO), &program, User::Root);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let group = specimen.members();
    for copy in 0..=LAST {
        let image = match copy {
            LAST => specimen.image(),
            _ => specimen.image().with_file_name(format!("copy-{copy}.dormouse")),
        };
        let options = FreezeOptions { image, leave_running: true, accept_losses: false };
        let selection = Selection { pid: Pid(specimen.pid()), tree_only: false };
        dormouse_engine::freeze(&selection, &options, &Quiet).unwrap_or_else(|error| panic!("{error}: {error:?}"));
    }
    specimen.end_processes(&group);
    specimen.assert_asleep(&group);
    specimen.thaw().expect_success("thaw");
    specimen.assert_awake(&group);
    let answer = specimen.go();
    assert_eq!(answer, Answer::Ok, "a call that was interrupted {LAST} times came back wrong");
    specimen.assert_ends();
}
