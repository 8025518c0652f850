//! A group that was frozen under a kernel with another vdso. The other kernel is a byte of the image: the rest of the way
//! is the same as under a real one, for every byte of the old vdso is taken from the image then.
#![allow(clippy::panic)]

use std::path::Path;

use harness::rewrite::rewrite;
use harness::specimen::Answer;
use harness::{Program, Specimen, User};

/// Changes the padding of the ELF header of each vdso in an image.
fn change_vdso(image: &Path) {
    rewrite(image, |group, _| {
        assert!(group.vdso.is_some() || group.narrow_vdso.is_some(), "the image has no vdso");
        for vdso in group.vdso.iter_mut().chain(&mut group.narrow_vdso) {
            vdso.code[15] ^= 1;
        }
    });
}

fn goes_on(name: &'static str, user: User) {
    let mut specimen = Specimen::start(Path::new(env!("CARGO_BIN_EXE_zoo")), &Program::named(name), user);
    assert_eq!(specimen.wait_ready(), Ok(()));
    let group = specimen.members();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&group);
    change_vdso(&specimen.image());
    specimen.thaw().expect_success("thaw");
    specimen.assert_awake(&group);
    // It has two now: the old one, which is memory like any other, and this kernel's.
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", specimen.pid())).unwrap_or_default();
    assert_eq!(maps.lines().filter(|line| line.ends_with("[vdso]")).count(), 1, "{maps}");
    std::fs::remove_file(specimen.image()).unwrap_or_else(|error| panic!("{error}"));
    specimen.freeze().expect_success("freeze again");
    specimen.assert_asleep(&group);
    specimen.thaw().expect_success("thaw again");
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

#[test]
fn a_program_that_asks_the_vdso_all_the_time_goes_on() {
    goes_on("vdso", User::Root);
    goes_on("vdso", User::Ordinary);
}

#[test]
fn a_32_bit_program_goes_on() {
    goes_on("ia32", User::Root);
    goes_on("ia32_static", User::Ordinary);
}

#[test]
fn a_family_goes_on() {
    goes_on("copy_on_write", User::Root);
    goes_on("threads", User::Ordinary);
}
