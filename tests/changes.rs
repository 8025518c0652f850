//! What becomes of a file between the freeze and the thaw: each change but growth by others of what is only read or added to is refused by name, nothing exists
//! then, and with the old file back in its place the group comes back.
#![allow(missing_docs, clippy::panic)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use harness::specimen::{Answer, ORDINARY};
use harness::wait::{PATIENCE, until};
use harness::{Job, Program, Specimen, User};

/// A specimen that sleeps, and the file it has open.
fn asleep(user: User) -> (Specimen, std::collections::BTreeSet<i32>, std::path::PathBuf) {
    asleep_with("opened_file", "file", user)
}

fn asleep_with(
    program: &'static str,
    file: &str,
    user: User,
) -> (Specimen, std::collections::BTreeSet<i32>, std::path::PathBuf) {
    let program = Program::named(program);
    let mut specimen = Specimen::start(Path::new(env!("CARGO_BIN_EXE_zoo")), &program, user);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let group = specimen.members();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&group);
    let file = specimen.folder().join(file);
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
    // It writes wherever it stands: what somebody else has added would be lost.
    refused(&mut specimen, &group, "grown", "would be overwritten");
    done(writing.set_len(content.len() as u64));
    done(writing.set_modified(modified));
    specimen.thaw().expect_success("thaw");
    specimen.assert_awake(&group);
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

/// Whoever only reads, or writes to the end, goes on with a file that has grown: as `tail -f` and a log do.
#[test]
fn a_file_that_has_grown_goes_on_growing_for_who_only_adds_to_it() {
    for (opens, then) in [(">>file", "start\nsomebody else\nend\n"), ("<file", "start\nsomebody else\n")] {
        let mut job = Job::start("bash", User::Ordinary, |folder| {
            done(fs::write(folder.join("file"), "start\n"));
            done(chown(folder.join("file"), Some(ORDINARY), Some(ORDINARY)));
            let mut command = Command::new("bash");
            // No process comes or goes while it waits: those after the thaw are those before the freeze.
            let begin = "cd \"$1\"; mkfifo pause; exec 9<>pause; exec 3$0; touch ready";
            let script =
                format!("{begin}; until [ -e go ]; do read -t 0.02 -u 9; done; echo end >&3 2>/dev/null; echo ended");
            command.args(["-c", &script.replace("$0", opens), "bash"]).arg(folder);
            command
        });
        let folder = job.specimen().folder();
        let ready = until(PATIENCE, || folder.join("ready").exists().then_some(()));
        assert!(ready.is_some());
        let group = job.fall_asleep();
        done(done(OpenOptions::new().append(true).open(folder.join("file"))).write_all_at(b"somebody else\n", 0));
        if opens.starts_with('>') {
            done(fs::set_permissions(folder.join("file"), PermissionsExt::from_mode(0o444)));
            refused(job.specimen(), &group, "grown, and its rights taken away", "may not open");
            done(fs::set_permissions(folder.join("file"), PermissionsExt::from_mode(0o644)));
        }
        let outcome = job.specimen().thaw();
        outcome.expect_success("thaw");
        assert!(outcome.said.contains("grown"), "nobody was told that it has grown:\n{}", outcome.said);
        job.specimen().assert_awake(&group);
        job.make("go");
        assert!(job.end().contains("ended"));
        assert_eq!(done(fs::read_to_string(folder.join("file"))), then);
    }
}

#[test]
fn a_file_changed_since_is_refused_and_comes_back_when_it_is_as_it_was_for_root() {
    changes(User::Root);
}

#[test]
fn a_file_changed_since_is_refused_and_comes_back_when_it_is_as_it_was_for_a_user() {
    changes(User::Ordinary);
}

/// What root opens for somebody else is that very file: not one that has its size and its times, and lies where it lay.
#[test]
fn a_link_in_the_place_of_a_file_that_another_member_opens_gets_nobody_another_file() {
    let (mut specimen, group, file) = asleep_with("borrowed_file", "secret", User::Root);
    let (aside, other) = (file.with_file_name("aside"), file.with_file_name("other"));
    let found = done(fs::metadata(&file));
    done(fs::write(&other, vec![b'x'; found.len() as usize]));
    done(done(File::options().write(true).open(&other)).set_modified(done(found.modified())));
    done(fs::rename(&file, &aside));
    done(std::os::unix::fs::symlink(&other, &file));
    let outcome = specimen.thaw();
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!outcome.status.success() && said.contains("changed or replaced"), "{said}");
    specimen.assert_asleep(&group);
    done(fs::rename(&aside, &file));
    specimen.thaw().expect_success("thaw");
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

/// Ids and keys of the segments of System V that a process has made, proc(5).
fn segments(maker: i32) -> Vec<(i32, i32)> {
    let table = done(fs::read_to_string("/proc/sysvipc/shm"));
    let number = |line: &str, place: usize| line.split_whitespace().nth(place).and_then(|word| word.parse().ok());
    let own = table.lines().filter(|line| number(line, 4) == Some(maker));
    own.filter_map(|line| Some((number(line, 1)?, number(line, 0)?))).collect()
}

fn remove_segment(id: i32) {
    // SAFETY: with IPC_RMID the pointer is not looked at.
    assert_eq!(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) }, 0);
}

/// Makes a segment of another size under this id.
fn make_segment(id: i32) {
    done(fs::write("/proc/sys/kernel/shm_next_id", id.to_string()));
    // SAFETY: takes numbers only.
    let made = unsafe { libc::shmget(libc::IPC_PRIVATE, 4097, 0o600) };
    assert_eq!(made, id, "the id is not to be had");
}

fn segments_go(user: User) {
    let program = Program::named("segments_attached");
    let mut specimen = Specimen::start(Path::new(env!("CARGO_BIN_EXE_zoo")), &program, user);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let (group, before) = (specimen.members(), segments(specimen.pid()));
    assert_eq!(before.len(), 2);
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&group);
    assert_eq!(segments(specimen.pid()), before, "they live on");
    for (id, _) in &before {
        remove_segment(*id);
    }
    make_segment(before[0].0);
    let outcome = specimen.thaw();
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!outcome.status.success() && said.contains("another segment has its id now"), "{said}");
    specimen.assert_asleep(&group);
    assert_eq!(segments(specimen.pid()), [], "a refused thaw has made some");
    remove_segment(before[0].0);
    specimen.thaw().expect_success("thaw");
    let table = done(fs::read_to_string("/proc/sysvipc/shm"));
    let ids = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.nth(1)?.parse().ok()?, words.nth(5).and_then(|owner| owner.parse::<u32>().ok())?))
    });
    let ids: Vec<(i32, u32)> = ids.collect();
    let owner = if user == User::Root { 0 } else { ORDINARY };
    assert!(before.iter().all(|(id, _)| ids.contains(&(*id, owner))), "{table}");
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

#[test]
fn segments_of_system_v_that_are_gone_are_made_again_and_no_other_takes_their_place() {
    segments_go(User::Root);
    segments_go(User::Ordinary);
}

/// The id of the set of semaphores or of the queue that has this key, proc(5).
fn object(table: &str, key: i32) -> Option<i32> {
    let text = done(fs::read_to_string(format!("/proc/sysvipc/{table}")));
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = lines.find(|words| words.first() == Some(&key.to_string().as_str()))?;
    found.get(1)?.parse().ok()
}

fn objects_go(user: User) {
    let program = Program::named("system_v_objects");
    let mut specimen = Specimen::start(Path::new(env!("CARGO_BIN_EXE_zoo")), &program, user);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let (group, key) = (specimen.members(), 0x0b00_0000 | specimen.pid());
    let ids = || [object("sem", key), object("msg", key)];
    let before = ids();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&group);
    let [Some(set), Some(queue)] = before else { panic!("{before:?}") };
    assert_eq!(ids(), before, "they live on");
    // SAFETY: with IPC_RMID both calls take integers only.
    unsafe {
        assert_eq!(
            (libc::semctl(set, 0, libc::IPC_RMID), libc::msgctl(queue, libc::IPC_RMID, std::ptr::null_mut())),
            (0, 0)
        );
    }
    // SAFETY: takes numbers only.
    let other = unsafe { libc::msgget(key, libc::IPC_CREAT | 0o600) };
    let outcome = specimen.thaw();
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!outcome.status.success() && said.contains("belongs to another one now"), "{said}");
    assert_eq!(ids(), [None, Some(other)], "a refused thaw has made some");
    // SAFETY: with IPC_RMID the pointer is not looked at.
    assert_eq!(unsafe { libc::msgctl(other, libc::IPC_RMID, std::ptr::null_mut()) }, 0);
    specimen.thaw().expect_success("thaw");
    assert_eq!(ids(), before, "they have their ids again");
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

#[test]
fn semaphores_and_queues_of_system_v_that_are_gone_are_made_again() {
    objects_go(User::Root);
    objects_go(User::Ordinary);
}

/// Who has the file open is no reason to refuse: the program is told of nothing any more, and so is the user.
#[test]
fn a_lease_is_told_lost_where_somebody_else_has_the_file() {
    for user in [User::Root, User::Ordinary] {
        let mut specimen =
            Specimen::start(Path::new(env!("CARGO_BIN_EXE_zoo")), &Program::named("lease_to_write"), user);
        specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
        let group = specimen.members();
        specimen.freeze().expect_success("freeze");
        specimen.assert_asleep(&group);
        let other = done(File::open(specimen.folder().join("file")));
        let outcome = specimen.thaw();
        let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(outcome.status.success() && said.contains("its lease on it cannot be had again"), "{said}");
        assert!(said.contains("descriptor "), "{said}");
        drop(other);
        specimen.assert_awake(&group);
        let Answer::Wrong(wrong) = specimen.go() else { panic!("it has found nothing wrong") };
        assert!(wrong.contains("the lease: found 2"), "{wrong}");
    }
}

fn queues_go(user: User) {
    let program = Program::named("message_queues");
    let mut specimen = Specimen::start(Path::new(env!("CARGO_BIN_EXE_zoo")), &program, user);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let group = specimen.members();
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&group);
    let names = [1, 2].map(|nth| std::ffi::CString::new(format!("/dormouse-{}-{nth}", specimen.pid())));
    let names = names.map(|name| name.unwrap_or_else(|error| panic!("{error}")));
    // SAFETY: both names end with a zero.
    let unlink = |name: &std::ffi::CStr| unsafe { libc::mq_unlink(name.as_ptr()) };
    assert_eq!([unlink(&names[0]), unlink(&names[1])], [0, 0], "they live on");
    // One of another size in the place of one of them.
    // SAFETY: the name ends with a zero; without attributes the queue is made as the system has it.
    let other = unsafe { libc::mq_open(names[0].as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o666, 0_usize) };
    assert!(other >= 0);
    let outcome = specimen.thaw();
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!outcome.status.success() && said.contains("another queue has its name now"), "{said}");
    assert_eq!([unlink(&names[0]), unlink(&names[1])], [0, -1], "a refused thaw has made one");
    specimen.thaw().expect_success("thaw");
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

#[test]
fn message_queues_that_are_gone_are_made_again_and_no_other_takes_their_place() {
    queues_go(User::Root);
    queues_go(User::Ordinary);
}
