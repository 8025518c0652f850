//! Images and files that somebody has made up to gain something by the service: nothing of it runs, and nothing is read or
//! written with more than the asker's own rights.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, SystemTime};

use ciborium::Value;
use harness::User;
use harness::forge::{each, field, forged, group, set};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;

use crate::client::{Call, SOCKET};
use crate::machine::{ANNA, BEN, Machine, OWN, done};
use crate::security::{fails, refused};
use crate::sleep::{asleep, awake, images, started};

/// A change of a record at one place; whether that was one to change.
type Forgery<'a> = Box<dyn Fn(&mut Value) -> bool + 'a>;

/// The record of a named file at this path, of which nothing else is to be held against it.
fn named(value: &mut Value, path: &str, flags: Option<i32>) -> bool {
    if field(value, "kind").is_none_or(|kind| kind.as_text() != Some("regular")) {
        return false;
    }
    if let Some(flags) = flags {
        set(value, "flags", flags.into());
    }
    set(value, "position", 0.into());
    field(value, "record").is_some_and(|record| {
        set(record, "modified", Value::Null) && set(record, "path", Value::Bytes(path.as_bytes().to_vec()))
    })
}

fn bytes(path: &str) -> Value {
    Value::Bytes(path.as_bytes().to_vec())
}

/// What is forged, and what the refusal says.
fn forgeries<'a>(secret: &'a str, device: &'a str, hidden: &'a str) -> Vec<(Forgery<'a>, &'static str)> {
    let mapped = |value: &mut Value, path: &str| {
        field(value, "mapped_files").and_then(Value::as_array_mut).is_some_and(|files| {
            files.iter_mut().all(|file| set(file, "path", bytes(path)) && set(file, "modified", Value::Null))
        })
    };
    vec![
        (Box::new(|value| set(value, "users", Value::Array(vec![0.into(); 4]))), "user 0"),
        (Box::new(|value| set(value, "supplementary", Value::Array(vec![42.into()]))), "group 42"),
        (Box::new(|value| set(value, "permitted", 1.into())), "capabilities"),
        (Box::new(move |value| mapped(value, "/usr/bin/passwd")), "a program with rights of its own"),
        (Box::new(move |value| mapped(value, hidden)), "Permission denied"),
        (Box::new(|value| named(value, "/etc/shadow", Some(0))), "may not open the file"),
        (Box::new(|value| named(value, "/etc/passwd", Some(1))), "may not open the file"),
        // Whether it is there is nothing that she may know.
        (Box::new(move |value| named(value, hidden, Some(0))), "cannot be found: Permission denied"),
        (
            Box::new(move |value| set(value, "working_directory", bytes(secret))),
            "its working directory cannot be entered",
        ),
        (Box::new(move |value| set(value, "root", bytes(secret))), "a root directory of its own"),
        (
            Box::new(move |value| {
                field(value, "major").is_some()
                    && set(value, "path", bytes(device))
                    && set(value, "major", 1.into())
                    && set(value, "minor", 1.into())
            }),
            "the device cannot be",
        ),
    ]
}

#[test]
fn an_image_made_up_by_a_user_gives_nothing() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    let image = asleep(&machine, &mut specimen);
    let folder = machine.images(ANNA);
    let secret = machine.home(BEN).join("secret");
    done(fs::create_dir(&secret));
    done(fs::set_permissions(&secret, Permissions::from_mode(0o700)));
    let hidden = secret.join("hidden");
    done(fs::write(&hidden, "0123456789"));
    let device = machine.home(ANNA).join("memory");
    done(mknod(&device, SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 1)));
    let [secret, device, hidden] = [secret, device, hidden].map(|path| path.display().to_string());
    for (forgery, words) in forgeries(&secret, &device, &hidden) {
        let mut record = group(&folder.join(&image));
        let mut found = false;
        each(&mut record, &mut |value| found |= forgery(value));
        assert!(found, "nothing is there to be forged: {words}");
        let lie = folder.join("lie.dormouse");
        forged(&folder.join(&image), &record, &lie);
        done(chown(&lie, Some(ANNA), Some(ANNA)));
        fails(&machine, ANNA, &Call::Thaw("lie.dormouse".to_owned()), words);
        if words.contains("working directory") {
            let told = machine.told(ANNA, &Call::Preflight("lie.dormouse".to_owned())).to_string();
            assert!(told.contains(words), "the preflight does not say `{words}`: {told}");
        }
        assert!(specimen.members().is_empty(), "{words}: {:?} run", specimen.members());
        done(fs::remove_file(lie));
    }
    assert_eq!(done(fs::read_to_string(hidden)), "0123456789");
    awake(&machine, &mut specimen, &image);
}

#[test]
fn odd_names_lead_nowhere() {
    let machine = Machine::start(600, Some(OWN));
    let long = format!("{}.dormouse", "x".repeat(5000));
    for name in ["", "../x.dormouse", "/etc/passwd", "/etc/x.dormouse", "a\nb.dormouse", ".import-1", long.as_str()] {
        for call in [Call::Inspect, Call::Delete].map(|call| call(name.to_owned())) {
            refused(&machine, ANNA, &call, "io.github.dormouse.Dormouse1.Error.Failed");
        }
        fails(&machine, ANNA, &Call::Thaw(name.to_owned()), "\"problems\"");
    }
}

#[test]
fn what_is_no_ordinary_file_is_not_imported() {
    let machine = Machine::start(600, Some(OWN));
    let text = machine.home(ANNA).join("text");
    done(fs::write(&text, "no image"));
    let text = text.display().to_string();
    for (from, words) in
        [("/dev/zero", "not an ordinary file"), ("/", "not an ordinary file"), (&text, "could not be imported")]
    {
        fails(&machine, ANNA, &Call::Import("odd".to_owned(), from.to_owned()), words);
    }
    let left = fs::read_dir(machine.images(ANNA)).map_or(0, |entries| entries.flatten().count());
    assert_eq!(left, 0);
}

/// A pipe would never end, and a socket has nothing to read.
#[test]
fn neither_a_pipe_nor_a_socket_is_imported() {
    let machine = Machine::start(600, Some(OWN));
    let home = machine.home(ANNA);
    let pipe = home.join("pipe");
    done(mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR));
    // With both ends open: nobody waits for a reader.
    let _held = done(File::options().read(true).write(true).open(&pipe));
    done(chown(&pipe, Some(ANNA), Some(ANNA)));
    fails(&machine, ANNA, &Call::Import("odd".to_owned(), pipe.display().to_string()), "not an ordinary file");
    fails(&machine, ANNA, &Call::Import("odd".to_owned(), SOCKET.to_owned()), "not an ordinary file");
    let left = fs::read_dir(machine.images(ANNA)).map_or(0, |entries| entries.flatten().count());
    assert_eq!(left, 0);
}

/// Another name for a file gives no rights to it.
#[test]
fn a_hard_link_to_the_image_of_another_gives_nothing() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    let image = asleep(&machine, &mut specimen);
    let own = machine.images(ANNA).join(&image);
    let bens = machine.images(BEN);
    images(&machine, BEN);
    done(fs::create_dir_all(&bens));
    done(fs::set_permissions(&bens, Permissions::from_mode(0o700)));
    let mut above: Option<&Path> = Some(&bens);
    while let Some(path) = above.filter(|path| *path != machine.home(BEN)) {
        done(chown(path, Some(BEN), Some(BEN)));
        above = path.parent();
    }
    done(fs::hard_link(&own, bens.join("link.dormouse")));
    let link = || "link.dormouse".to_owned();
    fails(&machine, BEN, &Call::Thaw(link()), "Permission denied");
    let copy = machine.home(BEN).join("copy").display().to_string();
    fails(&machine, BEN, &Call::Export(link(), copy), "Permission denied");
    for call in [Call::Inspect(link()), Call::Preflight(link())] {
        let answer = machine.ask(BEN, &call).map_or_else(|error| error, |answer| answer.to_string());
        assert!(answer.contains("Permission denied"), "{call:?}: {answer}");
    }
    assert!(specimen.members().is_empty(), "it runs: {:?}", specimen.members());
    // He may remove his name for it; it is still there under hers.
    done(fs::remove_file(bens.join("link.dormouse")));
    awake(&machine, &mut specimen, &image);
}

/// A worker that is killed cannot remove its copy; who looks into the folder next does, and leaves one that grows alone.
#[test]
fn the_copy_of_a_killed_import_goes_with_the_next_look() {
    let machine = Machine::start(600, Some(OWN));
    images(&machine, ANNA);
    let folder = machine.images(ANNA);
    done(fs::create_dir_all(&folder));
    let mut above: Option<&Path> = Some(&folder);
    while let Some(path) = above.filter(|path| *path != machine.home(ANNA)) {
        done(chown(path, Some(ANNA), Some(ANNA)));
        above = path.parent();
    }
    let copy = |name: &str| {
        let file = done(File::create_new(folder.join(name)));
        done(chown(folder.join(name), Some(ANNA), Some(ANNA)));
        done(file.set_modified(SystemTime::now() - Duration::from_mins(1)));
        file
    };
    drop(copy(".import-1"));
    let growing = copy(".import-2");
    done(growing.lock());
    images(&machine, ANNA);
    assert!(!folder.join(".import-1").exists(), "the copy of a dead worker is there still");
    assert!(folder.join(".import-2").exists(), "the copy of a living worker is gone");
}
