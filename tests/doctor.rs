//! What `dormouse doctor` says of this machine, held against what is known of it otherwise, and what it says to somebody
//! with fewer rights.
#![allow(missing_docs, clippy::panic)]

use std::process::{Command, Stdio};

use dormouse_wire::doctor::{Ability, Examined, State, Weight};
use harness::command;
use harness::specimen::without_inheritance;

/// Runs it behind a command that takes rights away; its exit status and what it says.
fn doctor(behind: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
    let mut line = behind.iter().copied().map(std::ffi::OsString::from).collect::<Vec<_>>();
    line.push(command::path().into());
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).arg("doctor").args(arguments).stdin(Stdio::null());
    let output = without_inheritance(&mut command).output();
    let output = output.unwrap_or_else(|error| panic!("{} does not start: {error}", line[0].display()));
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn examined(behind: &[&str]) -> (Option<i32>, Examined) {
    let (status, said) = doctor(behind, &["--json"]);
    (status, serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}")))
}

fn named<'a>(examined: &'a Examined, name: &str) -> &'a Ability {
    let found = examined.abilities.iter().find(|ability| ability.name == name);
    found.unwrap_or_else(|| panic!("nothing is called {name}: {examined:?}"))
}

/// The version of a kernel, such as 6.18.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[test]
fn all_that_is_needed_is_there_for_root_and_the_rest_is_as_the_kernels_version_says() {
    let (status, examined) = examined(&[]);
    assert_eq!(status, Some(0), "{examined:?}");
    for ability in examined.abilities.iter().filter(|ability| ability.weight == Weight::Needed) {
        assert_eq!(ability.state, State::Works, "{ability:?}");
    }
    let here = version(&examined.kernel);
    let since = [
        ("dispatch", (6, 4)),
        ("timer-ids", (6, 15)),
        ("page-scan", (6, 7)),
        ("guard-pages", (6, 15)),
        ("barriers", (6, 3)),
        ("seals", (6, 10)),
    ];
    for (name, since) in since {
        let ability = named(&examined, name);
        let expected = if here >= since { State::Works } else { State::Missing };
        assert_eq!(ability.state, expected, "{ability:?} under {}", examined.kernel);
        assert!(ability.from.contains(&format!("{}.{}", since.0, since.1)), "{ability:?}");
    }
}

#[test]
fn what_somebody_else_lacks_is_told_with_the_way_out() {
    let ordinary = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "--"];
    let (status, examined) = examined(&ordinary);
    assert_eq!(status, Some(1), "{examined:?}");
    for name in ["own-pids", "confinement", "tcp", "kept-connections", "time-namespaces", "pid-namespaces"] {
        let ability = named(&examined, name);
        assert_eq!(ability.state, State::Missing, "{ability:?}");
        assert!(ability.way_out.as_ref().is_some_and(|way| way.contains("root")), "{ability:?}");
    }
    for name in ["comparing", "layouts", "taking-files", "vdso", "movable-vdso"] {
        assert_eq!(named(&examined, name).state, State::Works, "{:?}", named(&examined, name));
    }
    // Nobody could be made to try it with.
    assert_eq!(named(&examined, "restartable-sequences").state, State::Untried);
    let (_, said) = doctor(&ordinary, &[]);
    assert!(said.contains("NO   processes with the pids they had\n"), "{said}");
    assert!(said.contains("cannot be frozen and thawed like this"), "{said}");
}

#[test]
fn one_capability_that_is_missing_is_found() {
    let without = |capability: &str| {
        let (_, examined) = examined(&["setpriv", "--bounding-set", capability, "--inh-caps", capability, "--"]);
        let missing = examined.abilities.into_iter().filter(|ability| ability.state == State::Missing);
        missing.map(|ability| ability.name).filter(|name| name != "same-rights").collect::<Vec<_>>()
    };
    assert_eq!(without("-sys_ptrace"), ["tracing"]);
    assert_eq!(without("-net_admin"), ["tcp", "kept-connections"]);
    assert_eq!(without("-net_raw"), ["kept-connections"]);
    assert_eq!(without("-sys_time"), ["time-namespaces"]);
}
