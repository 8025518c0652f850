//! `core/FORMAT.md` names all that real images hold, and `dormouse inspect` shows them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use ciborium::Value;
use harness::forge::{each, group};
use harness::specimen::Answer;
use harness::{Program, Specimen, User, command};

use crate::ZOO;

const PROGRAMS: [&str; 25] = [
    "asynchronous_io",
    "ia32",
    "memfd",
    "pipe",
    "fifo",
    "posix_timers",
    "timerfd",
    "epoll",
    "unlinked",
    "sleeps",
    "zombies",
    "pending_signals",
    "tcp_listening",
    "tcp_connected",
    "tcp_half_closed",
    "tcp_waiting",
    "udp_queues",
    "netlink",
    "seccomp_filters",
    "segments",
    "segments_removed",
    "system_v_objects",
    "process_files",
    "leases",
    "message_queue",
];

fn frozen(name: &'static str) -> Specimen {
    let mut specimen = Specimen::start(Path::new(ZOO), &Program::named(name), User::Root);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{name} could not be set up: {answer:?}"));
    let members = specimen.members();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&members);
    specimen
}

#[test]
fn every_field_of_real_images_is_in_the_document() {
    let document = include_str!("../../core/FORMAT.md");
    let mut unknown = BTreeSet::new();
    for name in PROGRAMS {
        let mut specimen = frozen(name);
        each(&mut group(&specimen.image()), &mut |value| {
            let Value::Map(entries) = value else { return };
            let names = entries.iter().filter_map(|(key, _)| key.as_text());
            // A variant stands alone, its fields behind it and a dot.
            let is_told =
                |name: &&str| document.contains(&format!("`{name}`")) || document.contains(&format!(".{name}`"));
            unknown.extend(names.filter(|name| !is_told(name)).map(str::to_owned));
        });
        if name == "system_v_objects" {
            // What it has would live on in the system: it removes it itself.
            specimen.thaw().expect_success("thaw");
            assert_eq!(specimen.go(), Answer::Ok);
        }
    }
    assert!(unknown.is_empty(), "core/FORMAT.md is silent about {unknown:?}");
}

fn inspected(arguments: &[&str]) -> String {
    let output = Command::new(command::path()).arg("inspect").args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_image_is_shown_with_its_processes_files_and_memory() {
    let specimen = frozen("zombies");
    let (pid, image) = (specimen.pid().to_string(), specimen.image());
    let image = image.to_string_lossy();
    let text = inspected(&[&image]);
    for word in ["PROCESS", "has ended", "KIND", "/dev/null", "MEMORY", "anonymous", "group", pid.as_str()] {
        assert!(text.contains(word), "`{word}` is not shown:\n{text}");
    }
    assert!(inspected(&["--memory", &image]).contains("r-xp"));
    let json: serde_json::Value =
        serde_json::from_str(&inspected(&["--json", &image])).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(json["group"]["processes"][0]["family"]["pid"].to_string(), pid);
    assert_eq!(json["origin"]["machine"], "x86_64");
    assert!(json["losses"].as_array().is_some_and(Vec::is_empty));
}
