//! `dormouse session` of an ordinary user, who has no power of his own: the service does it for him, and for nobody else. Each test has a
//! user of its own, whose groups are all that it touches.

use std::os::unix::fs::chown;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};

use harness::command;
use harness::session::{COUNTER, PARENT, Program, Stage, TIED, ended_beside, said, taken_by_strangers};
use harness::specimen::without_inheritance;
use harness::wait::{PATIENCE, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::machine::{Machine, OWN, done};

/// Runs `dormouse session` as the user.
fn begin(stage: &Stage, machine: &Machine, arguments: &[&str]) -> Child {
    let mut command = Command::new(command::path());
    command.arg("session").args(arguments).env("DBUS_SYSTEM_BUS_ADDRESS", machine.address()).env_remove("SUDO_UID");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    done(without_inheritance(stage.of_user(&mut command)).spawn())
}

/// The same to its end; the programs are waited for when they end, as a shell does it.
fn run(stage: &Stage, machine: &Machine, arguments: &[&str], programs: &[&Program]) -> Output {
    let output = ended_beside(begin(stage, machine, arguments), programs);
    eprintln!("{arguments:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    output
}

fn json(stage: &Stage, machine: &Machine, arguments: &[&str], programs: &[&Program]) -> (Option<i32>, Value) {
    let output = run(stage, machine, &[arguments, &["--json"]].concat(), programs);
    (output.status.code(), done(serde_json::from_slice(&output.stdout)))
}

fn length(of: &Value) -> Option<usize> {
    of.as_array().map(Vec::len)
}

#[test]
fn a_session_sleeps_and_wakes_for_its_user() {
    // First the accounts, so that bus and service know them, too.
    let (stage, others) = (Stage::new(61_211), Stage::new(61_212));
    let machine = Machine::start(600, Some(OWN));
    let outside = done(UnixListener::bind(stage.path("outside")));
    done(chown(stage.path("outside"), Some(stage.user()), None));
    let mut counters = ["one", "two"].map(|name| stage.python(name, COUNTER));
    let mut pipeline =
        stage.start("pipeline", "sh", &["-c", "n=0; while :; do echo $n; n=$((n+1)); sleep 0.05; done | cat"]);
    let tied = stage.python("tied", TIED);
    let _other_end = done(outside.accept());
    let stranger = others.python("stranger", COUNTER);
    [&counters[0], &counters[1], &pipeline, &tied, &stranger].into_iter().for_each(Program::goes_on);

    let (status, planned) = json(&stage, &machine, &["freeze", "--dry-run"], &[]);
    assert_eq!((status, length(&planned["together"])), (Some(0), Some(4)), "{planned}");
    assert!(stage.images().is_empty() && machine.asked.lock().is_ok_and(|asked| asked.is_empty()));

    let programs = [&counters[0], &counters[1], &pipeline];
    let (status, slept) = json(&stage, &machine, &["freeze"], &programs);
    assert_eq!((status, length(&slept["asleep"]), length(&slept["stayed"])), (Some(1), Some(3), Some(1)), "{slept}");
    assert_eq!(slept["stayed"][0]["groups"][0]["first_pid"].as_i64(), Some(i64::from(tied.pid)), "{slept}");
    assert!(slept["stayed"][0]["problems"].to_string().contains("outside"), "{slept}");
    counters.iter_mut().for_each(Program::is_gone);
    pipeline.is_gone();
    assert_eq!(stage.images().len(), 3);
    [&tied, &stranger].into_iter().for_each(Program::goes_on);

    let (status, listed) = json(&stage, &machine, &["status"], &[]);
    assert_eq!((status, length(&listed)), (Some(0), Some(3)), "{listed}");
    assert!(listed.as_array().into_iter().flatten().all(|image| image["awake"] == false), "{listed}");
    let (status, listed) = json(&others, &machine, &["status"], &[]);
    assert_eq!((status, length(&listed)), (Some(0), Some(0)), "{listed}");
    let (status, woken) = json(&others, &machine, &["thaw"], &[]);
    assert_eq!((status, length(&woken["awake"])), (Some(0), Some(0)), "{woken}");
    let foreign = run(&others, &machine, &["thaw", "--user", &stage.user().to_string()], &[]);
    assert!(!foreign.status.success() && said(&foreign).contains("for root"), "{}", said(&foreign));
    assert_eq!(stage.images().len(), 3);

    let (status, woken) = json(&stage, &machine, &["thaw"], &[]);
    assert_eq!((status, length(&woken["awake"])), (Some(0), Some(3)), "{woken}");
    counters.iter().for_each(Program::counts_on);
    pipeline.counts_on();
    assert!(stage.images().is_empty());
    let asked = machine.asked.lock().unwrap_or_else(|error| panic!("{error}"));
    assert!(asked.len() >= 7 && asked.iter().all(|(action, _)| OWN.contains(&action.as_str())), "{asked:?}");
}

#[test]
fn a_user_who_may_not_is_told_so_and_nothing_is_touched() {
    let stage = Stage::new(61_213);
    let machine = Machine::start(600, Some(&[]));
    let counters = ["one", "two"].map(|name| stage.python(name, COUNTER));
    counters.iter().for_each(Program::goes_on);
    let (status, slept) = json(&stage, &machine, &["freeze"], &counters.each_ref());
    assert_eq!((status, length(&slept["asleep"]), length(&slept["stayed"])), (Some(1), Some(0), Some(2)), "{slept}");
    assert!(stage.images().is_empty());
    counters.iter().for_each(Program::counts_on);
    drop(machine);
    let (away, failed) = json_of_nobody(&stage);
    assert_eq!(away, Some(1));
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("cannot be reached")), "{failed}");
    counters.iter().for_each(Program::counts_on);
}

#[test]
fn a_freeze_and_a_thaw_that_are_interrupted_undo_what_is_under_way_and_say_so() {
    let stage = Stage::new(61_231);
    let machine = Machine::start(600, Some(OWN));
    let counters = ["one", "two", "three", "four", "five", "six"].map(|name| stage.python(name, COUNTER));
    counters.iter().for_each(Program::goes_on);
    for what in ["freeze", "thaw"] {
        let before = stage.images().len();
        let command = begin(&stage, &machine, &[what, "--json"]);
        let some = until(PATIENCE, || (stage.images().len() != before).then_some(()));
        assert!(some.is_some(), "nothing happens");
        done(kill(Pid::from_raw(command.id() as i32), Signal::SIGINT));
        let output = ended_beside(command, &counters.each_ref());
        let told: Value = done(serde_json::from_slice(&output.stdout));
        assert_eq!((output.status.code(), &told["interrupted"]), (Some(1), &Value::Bool(true)), "{told}");
        // What is told is what is so.
        let asleep = if what == "freeze" {
            length(&told["asleep"])
        } else {
            Some(before - length(&told["awake"]).unwrap_or_default())
        };
        assert_eq!(asleep, Some(stage.images().len()), "{told}");
        if what == "freeze" {
            assert_eq!(json(&stage, &machine, &["freeze"], &counters.each_ref()).0, Some(0));
        }
    }
    assert_eq!(json(&stage, &machine, &["thaw"], &[]).0, Some(0));
    counters.iter().for_each(Program::counts_on);
}

/// The stranger's session has the id that the other one's had.
#[test]
fn who_has_got_a_pid_since_is_not_taken_for_who_had_it() {
    let stage = Stage::new(61_214);
    let machine = Machine::start(600, Some(OWN));
    let mut ends = stage.python("ends", COUNTER);
    let parent = stage.python("parent", PARENT);
    let child = parent.child_pid();
    let counters = ["one", "two", "three", "four"].map(|name| stage.python(name, COUNTER));
    counters.iter().for_each(Program::goes_on);
    let others: Vec<&Program> = counters.iter().chain([&parent]).collect();
    let command = begin(&stage, &machine, &["freeze", "--json"]);
    let (strangers, output) = taken_by_strangers(&stage, command, (&mut ends, child), &others);
    let slept: Value = done(serde_json::from_slice(&output.stdout));
    assert_eq!((output.status.code(), length(&slept["asleep"])), (Some(0), Some(5)), "{slept}");
    let left = slept["left"].as_array().cloned().unwrap_or_default();
    let ended = left.iter().find(|left| left["first_pid"].as_i64() == Some(i64::from(ends.pid)));
    assert!(ended.is_some_and(|left| left["why"].as_str().is_some_and(|why| why.contains("has ended"))), "{slept}");
    strangers.iter().for_each(Program::goes_on);
    assert_eq!(json(&stage, &machine, &["thaw"], &[]).0, Some(0));
    others.into_iter().for_each(Program::counts_on);
    strangers.iter().for_each(Program::goes_on);
}

/// Where there is no bus.
fn json_of_nobody(stage: &Stage) -> (Option<i32>, Value) {
    let mut command = Command::new(command::path());
    command.args(["session", "freeze", "--json"]).env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent");
    let output = done(stage.of_user(&mut command).stdin(Stdio::null()).output());
    (output.status.code(), done(serde_json::from_slice(&output.stdout)))
}
