//! A group that was frozen on another processor. The other processor is what the image says of it: the areas of the
//! extended registers are laid out as it would have them, and what it could do stands in the section `Origin`.
#![allow(clippy::panic)]

use std::collections::BTreeSet;
use std::path::Path;

use dormouse_engine::resource::group::{Group, Life, Thread};
use dormouse_engine::resource::origin::Origin;
use harness::rewrite::rewrite;
use harness::specimen::Answer;
use harness::wait::{PATIENCE, until};
use harness::{Program, Specimen, User};

/// The bits of the components in use, in an area.
const USED: std::ops::Range<usize> = 512..520;
const KEYS: u32 = 9;

fn frozen(name: &'static str, user: User) -> (Specimen, BTreeSet<i32>) {
    let mut specimen = Specimen::start(Path::new(env!("CARGO_BIN_EXE_zoo")), &Program::named(name), user);
    assert_eq!(specimen.wait_ready(), Ok(()));
    let group = specimen.members();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&group);
    (specimen, group)
}

fn threads(group: &mut Group) -> impl Iterator<Item = &mut Thread> {
    group.processes.iter_mut().flat_map(|process| match &mut process.life {
        Life::Alive(alive) => alive.threads.iter_mut(),
        Life::Zombie(_) => [].iter_mut(),
    })
}

/// It wakes with all that is in its registers.
fn goes_on(user: User, change: impl FnOnce(&mut Group)) {
    let (mut specimen, group) = frozen("registers", user);
    rewrite(&specimen.image(), |group, _| change(group));
    specimen.thaw().expect_success("thaw");
    specimen.assert_awake(&group);
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

/// It is refused with these words and nobody is there; then the image as it was wakes.
fn is_refused(name: &'static str, words: &[&str], change: impl FnOnce(&mut Group, &mut Origin)) {
    let (mut specimen, group) = frozen(name, User::Root);
    let kept = specimen.image().with_extension("kept");
    std::fs::copy(specimen.image(), &kept).unwrap_or_else(|error| panic!("{error}"));
    rewrite(&specimen.image(), change);
    let outcome = specimen.thaw();
    assert!(!outcome.status.success(), "it was thawed:\n{}", outcome.said);
    for word in words {
        assert!(outcome.said.contains(word), "the refusal does not say `{word}`:\n{}", outcome.said);
    }
    specimen.assert_asleep(&group);
    std::fs::rename(kept, specimen.image()).unwrap_or_else(|error| panic!("{error}"));
    specimen.thaw().expect_success("thaw");
    specimen.assert_awake(&group);
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

/// Moves all components backwards by so much, as a processor would with more of them before these.
fn moved(group: &mut Group, by: u32) {
    let places = group.components.clone();
    for thread in threads(group) {
        let registers = &mut thread.registers;
        registers.extended.resize(registers.extended_length, 0);
        let old = registers.extended.clone();
        registers.extended_length += by as usize;
        registers.extended.truncate(576);
        registers.extended.resize(registers.extended_length, 0xee);
        for place in &places {
            let (from, length) = (place.offset as usize, place.size as usize);
            registers.extended[from + by as usize..][..length].copy_from_slice(&old[from..][..length]);
        }
    }
    group.components.iter_mut().for_each(|place| place.offset += by);
}

#[test]
fn registers_move_out_of_a_larger_area() {
    goes_on(User::Root, |group| moved(group, 64));
    goes_on(User::Ordinary, |group| moved(group, 8192));
}

/// A handler returns to registers that its processor had elsewhere: the kernel takes them from the stack.
#[test]
fn registers_in_the_frames_of_signals_move_out_of_a_larger_area() {
    for user in [User::Root, User::Ordinary] {
        let mut specimen = Specimen::start(Path::new(env!("CARGO_BIN_EXE_zoo")), &Program::named("signal_frame"), user);
        assert_eq!(specimen.wait_ready(), Ok(()));
        // It makes the frame such a one.
        std::fs::write(specimen.folder().join("another"), "").unwrap_or_else(|error| panic!("{error}"));
        assert!(until(PATIENCE, || specimen.folder().join("made").exists().then_some(())).is_some(), "it is not made");
        let group = specimen.members();
        specimen.freeze().expect_success("freeze");
        specimen.assert_asleep(&group);
        rewrite(&specimen.image(), |group, _| moved(group, 64));
        specimen.thaw().expect_success("thaw");
        specimen.assert_awake(&group);
        assert_eq!(specimen.go(), Answer::Ok);
        specimen.assert_ends();
    }
}

/// A processor without protection keys, whose areas end with AVX or before.
#[test]
fn registers_move_out_of_a_smaller_area() {
    goes_on(User::Root, |group| {
        group.components.retain(|place| place.number < KEYS);
        let end = group.components.iter().map(|place| place.offset + place.size).max().unwrap_or(576) as usize;
        for thread in threads(group) {
            thread.registers.extended_length = end;
            thread.registers.extended.resize(end, 0);
            thread.registers.extended[USED.start + 1] &= !2;
        }
    });
}

#[test]
fn registers_that_no_processor_has_are_refused_with_their_threads() {
    is_refused("registers", &["zoo (pid ", "threads ", "component 61", "Thaw it on a machine"], |group, _| {
        use_nobodys(group);
    });
}

/// All threads use registers that no processor has.
fn use_nobodys(group: &mut Group) {
    const NOBODYS: usize = 61;
    let mut place = group.components.first().copied().unwrap_or_else(|| panic!("this processor has no AVX"));
    (place.number, place.offset, place.size) = (NOBODYS as u32, 4096, 64);
    group.components.push(place);
    for thread in threads(group) {
        // What is at rest at the end of an area is not in the image.
        thread.registers.extended.resize(4096 + 64, 0);
        thread.registers.extended[USED.start + NOBODYS / 8] |= 1 << (NOBODYS % 8);
        thread.registers.extended_length = 4096 + 64;
    }
}

#[test]
fn what_many_threads_lack_is_told_once() {
    let words = ["1 thing stands in the way", "threads ", " and ", " more", "component 61"];
    is_refused("threads", &words, |group, _| use_nobodys(group));
}

#[test]
fn registers_that_the_image_does_not_place_are_refused() {
    is_refused("registers", &["the image contradicts itself", "thread"], |group, _| group.components.clear());
}

#[test]
fn what_the_processor_lacks_is_refused_all_at_once() {
    is_refused(
        "heap",
        &["the processor here lacks", "of_tomorrow", "of_next_year", "Thaw it on a machine"],
        |_, origin| {
            origin.processor_features.extend(["of_tomorrow", "of_next_year"].map(String::from));
        },
    );
}

/// An image from a processor that could do less, as an older one or another maker's.
#[test]
fn a_processor_may_do_more() {
    let (mut specimen, group) = frozen("heap", User::Root);
    rewrite(&specimen.image(), |_, origin| origin.processor_features.retain(|feature| feature.starts_with("sse")));
    specimen.thaw().expect_success("thaw");
    specimen.assert_awake(&group);
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}
