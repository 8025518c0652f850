//! The stories that the tests tell about a program of the zoo.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::huge_pages::HugePages;
use crate::specimen::Answer;
use crate::{Program, Specimen, User, alone};

/// Where a test notes what this machine could not hold, one line each.
pub const LACKING: &str = "cannot-be-held-here.txt";

/// The paths that Cargo tells a test: the zoo's program, and a folder for notes.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// `env!("CARGO_BIN_EXE_zoo")`.
    pub zoo: &'static str,
    /// `env!("CARGO_TARGET_TMPDIR")`.
    pub notes: &'static str,
}

/// Without the engine: the program sets itself up, checks itself at once and finds all well. This proves the program.
pub fn held(places: Places, program: &Program, user: User) {
    let _alone = program.terminals.then(alone::with_terminals);
    let Ok(_pages) = set_aside(places, program, user) else { return };
    let Some(mut specimen) = started(places, program, user) else { return };
    let before = specimen.survey();
    let changed = before.differences(&specimen.survey(), program.allowed);
    assert!(changed.is_empty(), "{} does not hold still: the survey finds differences\n{changed}", program.name);
    expect_ok(program, user, "although nothing was frozen", &specimen.go());
    specimen.assert_ends();
}

/// Through a freeze and a thaw: every process is gone in between, comes back with its pid, nothing differs that is
/// not allowed to, and the program finds all well.
///
/// A program whose kind is to be refused goes through [`refused`] instead.
pub fn frozen(places: Places, program: &Program, user: User) {
    if let Some(word) = program.refused {
        return refused(places, program, user, word);
    }
    let _alone = program.terminals.then(alone::with_terminals);
    let Ok(_pages) = set_aside(places, program, user) else { return };
    let Some(mut specimen) = started(places, program, user) else { return };
    let group = specimen.members();
    let before = specimen.survey();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&group);
    std::thread::sleep(std::time::Duration::from_secs(program.sleep));
    specimen.thaw().expect_success("thaw");
    specimen.assert_awake(&group);
    let after = specimen.survey();
    let answer = specimen.go();
    let lost = before.differences(&after, program.allowed);
    assert!(
        lost.is_empty(),
        "{} came back different, and nobody said so (its own answer: {answer:?}):\n{lost}",
        program.name
    );
    expect_ok(program, user, "after a freeze and a thaw", &answer);
    specimen.assert_ends();
}

/// What cannot be frozen: the command says no and names what stands in the way, there is no image, and the program
/// runs on and finds all well.
pub fn refused(places: Places, program: &Program, user: User, named: &str) {
    let Some(mut specimen) = started(places, program, user) else { return };
    let group = specimen.members();
    let before = specimen.survey();
    let outcome = specimen.freeze();
    assert!(!outcome.status.success(), "{} was frozen, and should have been refused", program.name);
    // One sentence on one line: the width of a message breaks it anywhere.
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(named), "the refusal does not say `{named}`:\n{}", outcome.said);
    let process = group.iter().any(|pid| said.contains(&format!("(pid {pid})")));
    assert!(process, "the refusal names no process:\n{}", outcome.said);
    if let Some(place) = program.refused_at {
        let file = format!("({place})");
        let number = said.split("descriptor ").skip(1).filter_map(|rest| rest.split_once(' '));
        let named = number.filter(|(_, rest)| rest.starts_with(&file)).any(|(number, _)| number.parse::<u32>().is_ok());
        assert!(named, "the refusal names no descriptor with {place}:\n{}", outcome.said);
    }
    specimen.assert_untouched(&group);
    let lost = before.differences(&specimen.survey(), program.allowed);
    assert!(lost.is_empty(), "the refused freeze of {} left traces:\n{lost}", program.name);
    expect_ok(program, user, "after a refused freeze", &specimen.go());
    specimen.assert_ends();
}

/// The huge pages that it needs; an error where the machine has none, and need not.
fn set_aside(places: Places, program: &Program, user: User) -> Result<Option<HugePages>, ()> {
    let Some((size, count)) = program.huge_pages else { return Ok(None) };
    match HugePages::of_size(size, count) {
        Ok(pages) => Ok(Some(pages)),
        Err(found) if program.may_lack => {
            note(places, program, user, &format!("{found} huge pages of {size} bytes can be set aside"));
            Err(())
        }
        Err(found) => panic!("{} needs {count} huge pages, and the system sets {found} aside", program.name),
    }
}

fn started(places: Places, program: &Program, user: User) -> Option<Specimen> {
    let mut specimen = Specimen::start(Path::new(places.zoo), program, user);
    match specimen.wait_ready() {
        Ok(()) => Some(specimen),
        Err(Answer::CannotBeHeldHere(why)) if program.may_lack => {
            note(places, program, user, &why);
            None
        }
        Err(answer) => panic!("{} could not be set up as {user}: {answer:?}\n{}", program.name, specimen.errors()),
    }
}

fn expect_ok(program: &Program, user: User, when: &str, answer: &Answer) {
    match answer {
        Answer::Ok => {}
        Answer::CannotBeHeldHere(why) => {
            panic!("{} found out too late that it cannot be held here: {why}", program.name)
        }
        Answer::Wrong(wrong) => panic!("{} finds things wrong {when}, as {user}:\n{wrong}", program.name),
    }
}

/// Says that a kind cannot be held on this machine, on standard error and in a file that outlives the test.
fn note(places: Places, program: &Program, user: User, why: &str) {
    let line = format!("CANNOT BE HELD HERE: {} as {user}: {why}\n", program.name);
    eprint!("{line}");
    let file = OpenOptions::new().create(true).append(true).open(Path::new(places.notes).join(LACKING));
    let noted = file.and_then(|mut file| file.write_all(line.as_bytes()));
    noted.unwrap_or_else(|error| panic!("{line}and it could not be noted: {error}"));
    let strict = std::env::var_os("DORMOUSE_TEST_ALL_KINDS").is_some();
    assert!(!strict, "{line}DORMOUSE_TEST_ALL_KINDS says that this machine must hold every kind");
}
