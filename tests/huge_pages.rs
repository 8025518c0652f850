//! Huge pages (hugetlb) between freeze and thaw: they are given back while the group sleeps, and a thaw that cannot have them is
//! refused, and says what to do.
#![allow(missing_docs, clippy::panic)]

use std::path::Path;

use harness::huge_pages::HugePages;
use harness::rewrite::rewrite;
use harness::specimen::Answer;
use harness::{Program, Specimen, User};

/// How many the program needs.
const NEEDED: u64 = 12;

fn awake(program: &'static str) -> (Specimen, std::collections::BTreeSet<i32>) {
    let mut specimen = Specimen::start(Path::new(env!("CARGO_BIN_EXE_zoo")), &Program::named(program), User::Root);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let members = specimen.members();
    (specimen, members)
}

fn said(specimen: &mut Specimen) -> String {
    let outcome = specimen.thaw();
    assert!(!outcome.status.success(), "it was thawed:\n{}", outcome.said);
    outcome.said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_thaw_without_enough_huge_pages_is_refused_and_says_how_many_to_set_aside() {
    for program in ["huge_table_pages", "huge_table_shared", "memfd_huge", "huge_table_segments"] {
        let pages = HugePages::set_aside(NEEDED);
        let (mut specimen, members) = awake(program);
        let free = pages.free();
        assert!(free < NEEDED, "{program}: it has no huge pages");
        specimen.freeze().expect_success("freeze");
        specimen.assert_asleep(&members);
        // A segment that was not removed keeps its pages.
        assert!(pages.free() > free, "{program}: its huge pages were not given back");
        pages.leave(u64::from(program == "huge_table_segments"));
        let words = said(&mut specimen);
        assert!(words.contains("huge pages of 2.1 MB, and 0 are free"), "{program}: {words}");
        assert!(words.contains("sysctl vm.nr_hugepages="), "{program}: {words}");
        specimen.assert_asleep(&members);
        // As many as it says are enough.
        let wanted = words.split("sysctl vm.nr_hugepages=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let wanted = wanted.unwrap_or_else(|| panic!("{words}"));
        std::fs::write("/proc/sys/vm/nr_hugepages", wanted).unwrap_or_else(|error| panic!("{error}"));
        specimen.thaw().expect_success("thaw");
        specimen.assert_awake(&members);
        // What it touches afterwards only.
        pages.leave(NEEDED);
        assert_eq!(specimen.go(), Answer::Ok, "{program}");
        specimen.assert_ends();
    }
}

#[test]
fn an_image_with_impossible_huge_pages_is_refused() {
    let _pages = HugePages::set_aside(NEEDED);
    for size in [1, 4096, 3 << 20, 1 << 63, 1 << 30] {
        let (mut specimen, members) = awake("huge_table_pages");
        specimen.freeze().expect_success("freeze");
        specimen.assert_asleep(&members);
        rewrite(&specimen.image(), |group, _| {
            for process in &mut group.processes {
                let dormouse_engine::resource::group::Life::Alive(alive) = &mut process.life else { continue };
                for one in alive.memory.mappings.iter_mut().filter(|one| one.huge_page != 0) {
                    one.huge_page = size;
                }
            }
        });
        let words = said(&mut specimen);
        assert!(words.contains("has an impossible mapping"), "{size}: {words}");
        specimen.assert_asleep(&members);
    }
}
