//! What becomes of a file between the freeze and the thaw: each change but growth is refused by name, nothing exists
//! then, and with the old file back in its place the group comes back.
#![allow(missing_docs, clippy::panic)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use harness::specimen::Answer;
use harness::{Program, Specimen, User};

/// A specimen that sleeps, and the file it has open.
fn asleep(user: User) -> (Specimen, std::collections::BTreeSet<i32>, std::path::PathBuf) {
    let program = Program::named("opened_file");
    let mut specimen = Specimen::start(Path::new(env!("CARGO_BIN_EXE_zoo")), &program, user);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let group = specimen.members();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&group);
    let file = specimen.folder().join("file");
    (specimen, group, file)
}

fn done<T>(result: std::io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// The thaw says no and names the file and this; no process is left.
fn refused(specimen: &mut Specimen, group: &std::collections::BTreeSet<i32>, change: &str, word: &str) {
    let outcome = specimen.thaw();
    assert!(!outcome.status.success(), "{change}: it was thawed");
    let said: String = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        said.contains(word) && said.contains("stage/file"),
        "{change}: the refusal does not say `{word}`:\n{}",
        outcome.said
    );
    specimen.assert_asleep(group);
}

fn changes(user: User) {
    let (mut specimen, group, file) = asleep(user);
    let aside = file.with_file_name("aside");
    let content = done(fs::read(&file));
    // Put aside and back it is the same file, with its times.
    let mut beside = |change: &str, word: &str, make: &dyn Fn()| {
        done(fs::rename(&file, &aside));
        make();
        refused(&mut specimen, &group, change, word);
        let _ = fs::remove_dir(&file);
        done(fs::rename(&aside, &file));
    };
    beside("missing or renamed", "cannot be found", &|| {});
    beside("another type", "something else has its name", &|| done(fs::create_dir(&file)));
    beside("shrunk", "has shrunk", &|| done(fs::write(&file, &content[1..])));
    beside("replaced, same size", "changed or replaced", &|| done(fs::write(&file, vec![1; content.len()])));
    beside("replaced, larger", "changed or replaced", &|| done(fs::write(&file, vec![1; content.len() + 1])));

    let modified = done(done(fs::metadata(&file)).modified());
    let writing = done(OpenOptions::new().write(true).open(&file));
    done(writing.write_all_at(b"x", 100_000));
    refused(&mut specimen, &group, "changed in the middle", "changed or replaced");
    done(writing.write_all_at(&content[100_000..100_001], 100_000));
    done(writing.set_modified(modified));

    if user == User::Ordinary {
        done(fs::set_permissions(&file, PermissionsExt::from_mode(0o444)));
        refused(&mut specimen, &group, "its rights taken away", "may not open");
        done(fs::set_permissions(&file, PermissionsExt::from_mode(0o644)));
    }

    // The folder of both: the file and the working directory are told together.
    let (folder, moved) = (specimen.folder(), specimen.folder().with_file_name("moved"));
    done(fs::rename(&folder, &moved));
    for word in ["cannot be found", "its working directory cannot be entered"] {
        refused(&mut specimen, &group, "its folder is gone", word);
    }
    done(fs::rename(&moved, &folder));

    let locked = done(File::open(&file));
    done(locked.lock_shared());
    refused(&mut specimen, &group, "locked by somebody else", "holds a lock");
    drop(locked);

    done(done(OpenOptions::new().append(true).open(&file)).write_all_at(b"more", 0));
    let outcome = specimen.thaw();
    outcome.expect_success("thaw");
    assert!(outcome.said.contains("grown"), "nobody was told that it has grown:\n{}", outcome.said);
    specimen.assert_awake(&group);
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

#[test]
fn a_file_changed_since_is_refused_and_comes_back_when_it_is_as_it_was_for_root() {
    changes(User::Root);
}

#[test]
fn a_file_changed_since_is_refused_and_comes_back_when_it_is_as_it_was_for_a_user() {
    changes(User::Ordinary);
}
