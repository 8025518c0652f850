//! What becomes of control groups between the freeze and the thaw: one that is gone is made again with what was set there, but not
//! that of a unit of systemd; none is left of a thaw that fails; and an image of an ordinary user gets nobody anywhere.
#![allow(missing_docs, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::command::Outcome;
use harness::rewrite::rewrite;
use harness::specimen::{Answer, ORDINARY};
use harness::wait::until;
use harness::{Program, Specimen, User};

fn done<T>(result: std::io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Where a hierarchy is mounted: that with this controller, or cgroup v2.
fn top(controller: &str) -> PathBuf {
    let mounts = done(fs::read_to_string("/proc/self/mounts"));
    let is_it = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        let kind = if controller.is_empty() { "cgroup2" } else { "cgroup" };
        words[2] == kind && (controller.is_empty() || words[3].split(',').any(|option| option == controller))
    };
    let line = mounts.lines().find(is_it).unwrap_or_else(|| panic!("no cgroup {controller} is mounted here"));
    PathBuf::from(line.split(' ').nth(1).unwrap_or_default())
}

/// A control group of a test, gone when dropped.
struct Group {
    controller: &'static str,
    folder: PathBuf,
}

impl Group {
    fn make(controller: &'static str, name: &str) -> Self {
        let folder = top(controller).join(name);
        done(fs::create_dir(&folder));
        Self { controller, folder }
    }

    /// A name that no other test has.
    fn named(controller: &'static str, name: &str) -> Self {
        Self::make(controller, &format!("dormouse-{}-{name}", std::process::id()))
    }

    fn below(&self, name: &str) -> Self {
        let folder = self.folder.join(name);
        done(fs::create_dir(&folder));
        Self { controller: self.controller, folder }
    }

    fn write(&self, file: &str, value: &str) {
        let path = self.folder.join(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn read(&self, file: &str) -> String {
        let path = self.folder.join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
    }

    fn holds(&self, pid: i32) -> bool {
        self.read("cgroup.procs").lines().any(|line| line == pid.to_string())
    }

    fn is_there(&self) -> bool {
        self.folder.is_dir()
    }

    fn remove(&self) {
        let removed = until(Duration::from_secs(5), || fs::remove_dir(&self.folder).ok());
        assert!(removed.is_some(), "{} cannot be removed", self.folder.display());
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.is_there() {
            let pids = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
            for pid in pids.lines() {
                let _ = fs::write(top(self.controller).join("cgroup.procs"), pid);
            }
            until(Duration::from_secs(5), || fs::remove_dir(&self.folder).ok());
        }
    }
}

/// A specimen in these control groups, frozen.
fn asleep(groups: &[&Group]) -> (Specimen, BTreeSet<i32>) {
    let mut specimen = Specimen::start(Path::new(env!("CARGO_BIN_EXE_zoo")), &Program::named("forest"), User::Root);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let members = specimen.members();
    for group in groups {
        for pid in &members {
            group.write("cgroup.procs", &pid.to_string());
        }
    }
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&members);
    (specimen, members)
}

#[test]
fn an_image_tells_the_control_groups_of_its_first_process() {
    let group = Group::named("pids", "told");
    let (specimen, _) = asleep(&[&group]);
    let inspect = std::process::Command::new(harness::command::path()).arg("inspect").arg(specimen.image()).output();
    let text = String::from_utf8_lossy(&done(inspect).stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("Groups")).unwrap_or_else(|| panic!("{text}"));
    let path = group.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    assert!(line.contains(&format!("pids:/{path}")), "{text}");
}

fn said(outcome: &Outcome) -> String {
    outcome.said.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn thawed(specimen: &mut Specimen) -> String {
    let outcome = specimen.thaw();
    let said = said(&outcome);
    outcome.expect_success("thaw");
    said
}

#[test]
fn a_control_group_that_is_gone_is_made_again_with_its_limits() {
    let outer = Group::named("pids", "outer");
    outer.write("pids.max", "123");
    let inner = outer.below("inner");
    inner.write("pids.max", "55");
    let memory = Group::named("memory", "memory");
    memory.write("memory.limit_in_bytes", "268435456");
    memory.write("memory.swappiness", "7");
    let processors = Group::named("cpuset", "cpuset");
    processors.write("cpuset.cpus", "0");
    processors.write("cpuset.mems", "0");
    let unified = Group::named("", "unified");
    unified.write("cgroup.max.depth", "3");
    let devices = Group::named("devices", "devices");
    devices.write("devices.deny", "a");
    devices.write("devices.allow", "c 1:* rwm");
    let all = [&inner, &memory, &processors, &unified, &devices];
    let (mut specimen, members) = asleep(&all);
    [&inner, &outer, &memory, &processors, &unified, &devices].into_iter().for_each(Group::remove);
    let losses = thawed(&mut specimen);
    assert!(!losses.contains("loss"), "{losses}");
    for group in all {
        assert!(members.iter().all(|pid| group.holds(*pid)), "{}", group.folder.display());
    }
    assert_eq!((outer.read("pids.max"), inner.read("pids.max")), ("123".into(), "55".into()));
    assert_eq!(inner.read("pids.current"), members.len().to_string());
    assert_eq!(memory.read("memory.limit_in_bytes"), "268435456");
    assert_eq!(memory.read("memory.swappiness"), "7");
    // What it has in memory was charged to its own control group, and not to that of the thaw.
    let charged: u64 = memory.read("memory.usage_in_bytes").parse().unwrap_or(0);
    assert!(charged > 100_000, "{charged}");
    assert_eq!((processors.read("cpuset.cpus"), processors.read("cpuset.mems")), ("0".into(), "0".into()));
    assert_eq!((unified.read("cgroup.max.depth"), devices.read("devices.list")), ("3".into(), "c 1:* rwm".into()));
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

/// Gives back what the root of cgroup v2 lets those below it have.
struct Enabled(&'static str);

impl Enabled {
    /// One of the controllers that cgroup v2 has here, the file of a limit and a value for it.
    fn any() -> (Option<Self>, &'static str, &'static str, &'static str) {
        let read = |file: &str| done(fs::read_to_string(top("").join(file)));
        let known = [
            ("pids", "pids.max", "77"),
            ("memory", "memory.max", "268435456"),
            ("hugetlb", "hugetlb.2MB.max", "8388608"),
        ];
        let is_there = |name: &str, file: &str| read(file).split_whitespace().any(|word| word == name);
        let found = known.into_iter().find(|(name, ..)| is_there(name, "cgroup.controllers"));
        let (name, file, value) =
            found.unwrap_or_else(|| panic!("cgroup v2 has no controller here that this test knows"));
        let enabled = (!is_there(name, "cgroup.subtree_control")).then(|| {
            done(fs::write(top("").join("cgroup.subtree_control"), format!("+{name}")));
            Self(name)
        });
        (enabled, name, file, value)
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        let _ = fs::write(top("").join("cgroup.subtree_control"), format!("-{}", self.0));
    }
}

#[test]
fn a_limit_of_cgroup_v2_comes_back_with_the_group_above_that_allows_it() {
    let (_enabled, name, file, value) = Enabled::any();
    let outer = Group::named("", "allows");
    outer.write("cgroup.subtree_control", &format!("+{name}"));
    let inner = outer.below("limited");
    inner.write(file, value);
    let (mut specimen, members) = asleep(&[&inner]);
    [&inner, &outer].into_iter().for_each(Group::remove);
    let losses = thawed(&mut specimen);
    assert!(!losses.contains("loss"), "{losses}");
    assert!(members.iter().all(|pid| inner.holds(*pid)));
    assert_eq!((inner.read(file).as_str(), outer.read("cgroup.subtree_control").as_str()), (value, name));
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

/// The programs of the zoo that make control groups, which are removed while they sleep.
fn made_again(name: &'static str) {
    let mut specimen = Specimen::start(Path::new(env!("CARGO_BIN_EXE_zoo")), &Program::named(name), User::Root);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let (members, before) = (specimen.members(), specimen.survey());
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&members);
    let prefix = format!("zoo-{}-", specimen.pid());
    let mut removed = 0;
    for controller in ["", "pids", "cpu"] {
        for entry in done(fs::read_dir(top(controller))).flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let below =
                    done(fs::read_dir(entry.path())).flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
                for folder in below {
                    done(fs::remove_dir(folder));
                }
                done(fs::remove_dir(entry.path()));
                removed += 1;
            }
        }
    }
    assert!(removed >= 4, "only {removed} control groups were removed");
    let losses = thawed(&mut specimen);
    assert!(!losses.contains("loss"), "{losses}");
    let differences = before.differences(&specimen.survey(), &[]);
    assert!(differences.is_empty(), "{differences}");
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}

#[test]
fn the_control_groups_of_a_family_are_made_again() {
    made_again("control_groups");
}

#[test]
fn the_control_groups_of_threads_are_made_again() {
    made_again("control_groups_of_threads");
}

#[test]
fn a_thaw_that_fails_leaves_no_control_group() {
    let outer = Group::named("pids", "failing");
    let inner = outer.below("inner");
    let (mut specimen, members) = asleep(&[&inner]);
    [&inner, &outer].into_iter().for_each(Group::remove);
    let image = specimen.image();
    let kept = image.with_extension("kept");
    done(fs::copy(&image, &kept).map(drop));
    // Nobody finds that before the last thread is told.
    rewrite(&image, |group, _| {
        let last = group.processes.iter_mut().rev().find_map(|process| match &mut process.life {
            dormouse_engine::resource::group::Life::Alive(alive) => Some(alive),
            dormouse_engine::resource::group::Life::Zombie(_) => None,
        });
        if let Some(thread) = last.and_then(|alive| alive.threads.last_mut()) {
            thread.scheduling.attributes.policy = 77;
        }
    });
    let outcome = specimen.thaw();
    assert!(!outcome.status.success(), "it was thawed:\n{}", outcome.said);
    specimen.assert_asleep(&members);
    assert!(!inner.is_there() && !outer.is_there(), "a control group was left:\n{}", outcome.said);
    done(fs::rename(&kept, &image));
    thawed(&mut specimen);
    assert!(members.iter().all(|pid| inner.holds(*pid)));
    assert_eq!(specimen.go(), Answer::Ok);
}

#[test]
fn a_unit_of_systemd_that_is_gone_is_not_made_again() {
    let name = |kind: &str| format!("dormouse-{}.{kind}", std::process::id());
    let slice = Group::make("pids", &name("slice"));
    let (plain, limited, service) =
        (slice.below(&name("scope")), slice.below("app-x-1.scope"), slice.below("x@1.service"));
    let deep = service.below("worker");
    limited.write("pids.max", "44");
    for (group, words) in [
        (&plain, &[][..]),
        (&limited, &["pids.max", "app-x-1.scope", "unit of systemd"][..]),
        (&deep, &["x@1.service/worker", "unit of systemd"][..]),
    ] {
        let (mut specimen, members) = asleep(&[group]);
        group.remove();
        if group.folder == deep.folder {
            service.remove();
        }
        let losses = thawed(&mut specimen);
        assert!(!group.is_there(), "{} was made again", group.folder.display());
        assert_eq!(losses.contains("loss"), !words.is_empty(), "{losses}");
        assert!(words.iter().all(|word| losses.contains(word)), "{words:?}:\n{losses}");
        let own = done(fs::read_to_string("/proc/self/cgroup"));
        for pid in &members {
            assert_eq!(done(fs::read_to_string(format!("/proc/{pid}/cgroup"))), own);
        }
        assert_eq!(specimen.go(), Answer::Ok);
    }
}

#[test]
fn a_unit_of_systemd_that_is_still_there_is_joined() {
    let scope = Group::make("", &format!("dormouse-there-{}.scope", std::process::id()));
    let (mut specimen, members) = asleep(&[&scope]);
    let losses = thawed(&mut specimen);
    assert!(!losses.contains("loss"), "{losses}");
    assert!(members.iter().all(|pid| scope.holds(*pid)));
    assert_eq!(specimen.go(), Answer::Ok);
}

#[test]
fn nobody_is_thawed_into_a_control_group_that_is_frozen() {
    for (controller, file, freeze, go_on) in
        [("", "cgroup.freeze", "1", "0"), ("freezer", "freezer.state", "FROZEN", "THAWED")]
    {
        let group = Group::named(controller, "frozen");
        let (mut specimen, members) = asleep(&[&group]);
        group.write(file, freeze);
        let outcome = specimen.thaw();
        assert!(!outcome.status.success() && said(&outcome).contains("is frozen"), "{}", outcome.said);
        specimen.assert_asleep(&members);
        group.write(file, go_on);
        thawed(&mut specimen);
        assert!(members.iter().all(|pid| group.holds(*pid)));
        assert_eq!(specimen.go(), Answer::Ok);
    }
}

/// As whoever can write an image could: an ordinary user's image takes that user's rights, whoever thaws it.
#[test]
fn an_ordinary_users_image_gets_nobody_where_he_may_not_go() {
    let (barred, delegated) = (Group::named("pids", "barred"), Group::named("cpu", "delegated"));
    let gone = Group::named("cpuacct", "gone");
    let scope = Group::make("", &format!("dormouse-mere-{}.scope", std::process::id()));
    for path in [delegated.folder.clone(), delegated.folder.join("cgroup.procs"), delegated.folder.join("tasks")] {
        done(chown(path, Some(ORDINARY), Some(ORDINARY)));
    }
    let mut specimen =
        Specimen::start(Path::new(env!("CARGO_BIN_EXE_zoo")), &Program::named("anonymous"), User::Ordinary);
    specimen.wait_ready().unwrap_or_else(|answer| panic!("{answer:?}"));
    let members = specimen.members();
    let inside = delegated.below("inside");
    done(chown(&inside.folder, Some(ORDINARY), Some(ORDINARY)));
    for (group, pid) in
        [&barred, &inside, &gone, &scope].iter().flat_map(|group| members.iter().map(move |pid| (group, pid)))
    {
        group.write("cgroup.procs", &pid.to_string());
    }
    specimen.freeze().expect_success("freeze");
    specimen.assert_asleep(&members);
    [&gone, &inside].into_iter().for_each(Group::remove);
    done(chown(specimen.image(), Some(ORDINARY), Some(ORDINARY)));
    let losses = thawed(&mut specimen);
    let pid = specimen.pid();
    assert!(!barred.holds(pid) && losses.contains("cannot be put into"), "{losses}");
    assert!(!gone.is_there() && losses.contains("cannot be made again"), "{losses}");
    // A scope is there to tell apart: that of the thaw does as well.
    assert!(!scope.holds(pid) && !losses.contains("mere"), "{losses}");
    // His own is made again, by himself.
    assert!(inside.holds(pid), "{losses}");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&done(fs::metadata(&inside.folder))), ORDINARY);
    assert_eq!(specimen.go(), Answer::Ok);
}

#[test]
fn a_path_that_leads_out_of_the_hierarchy_is_refused() {
    let group = Group::named("pids", "honest");
    let (mut specimen, members) = asleep(&[&group]);
    let image = specimen.image();
    for lie in [&b"/../../../../tmp/x"[..], b"/a/../b", b"relative", b"/a\nb", b"/"] {
        let refused = lie != b"/";
        let mut is_changed = false;
        rewrite(&image, |record, _| {
            for one in record.control_groups.iter_mut().filter(|one| one.controllers == ["pids"]) {
                if one.path.as_slice() != b"/" {
                    one.path = lie.to_vec().into();
                    is_changed = true;
                }
            }
        });
        assert!(is_changed || !refused);
        if refused {
            let outcome = specimen.thaw();
            assert!(
                !outcome.status.success() && said(&outcome).contains("there can be no control group"),
                "{}",
                outcome.said
            );
            specimen.assert_asleep(&members);
        }
    }
    // An index that leads nowhere.
    rewrite(&image, |record, _| record.control_groups.truncate(1));
    let outcome = specimen.thaw();
    assert!(said(&outcome).contains("is in a control group that is not there"), "{}", outcome.said);
    specimen.assert_asleep(&members);
}
