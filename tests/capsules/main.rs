//! Capsules: groups that live in one set of namespaces, with the init of their pid namespace, as unshare(1) and bubblewrap make them.
//! They are frozen from outside by any pid of theirs, come back with all that only they see, and what cannot come back is refused by
//! name while they run on.
#![allow(missing_docs, clippy::panic)]

mod desktop;
mod inner;
mod lies;
mod mounts;
mod packages;
#[cfg(feature = "heavy")]
mod programs;
mod users;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::command::{self, Outcome};
use harness::pids::numbers;
use harness::wait::{PATIENCE, until};
use harness::{Job, User};

/// Holds all that only a capsule has, and says in the end whether it is as it was.
const PROGRAM: &str = include_str!("capsule.py");

/// What every bubblewrap here has; `FOLDER` is that of the test.
const BWRAP: &[&str] = &[
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--hostname",
    "capsule",
    "--ro-bind",
    "/usr",
    "/usr",
    "--symlink",
    "usr/lib",
    "/lib",
    "--symlink",
    "usr/lib64",
    "/lib64",
    "--symlink",
    "usr/bin",
    "/bin",
    "--ro-bind",
    "/etc",
    "/etc",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    "--tmpfs",
    "/tmp",
    "--tmpfs",
    "/dev/shm",
    "--bind",
    "FOLDER",
    "/work",
    "--chdir",
    "/work",
];

fn bwrap(folder: &Path, more: &[&str], program: &[&str]) -> Command {
    let mut command = Command::new("bwrap");
    let folder = folder.to_string_lossy();
    command
        .args(BWRAP.iter().map(|word| if *word == "FOLDER" { folder.as_ref() } else { word }))
        .args(more)
        .args(program);
    command
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// The program within bubblewrap.
fn in_bwrap(more: &[&str], told: &[&str]) -> Job {
    in_bwrap_of(User::Root, more, told)
}

fn in_bwrap_of(user: User, more: &[&str], told: &[&str]) -> Job {
    let job = Job::start("bwrap", user, |folder| {
        write(folder, "capsule.py", PROGRAM);
        bwrap(folder, more, &[&["python3", "capsule.py"], told].concat())
    });
    job.wait_for("ready");
    job
}

/// A script of sh(1) within namespaces that unshare(1) makes; it begins in its folder, which is mounted at /srv.
fn in_unshare(kinds: &str, script: &str) -> Job {
    in_unshare_of(User::Root, &[kinds], script)
}

fn in_unshare_of(user: User, kinds: &[&str], script: &str) -> Job {
    in_unshare_by(user, kinds, script, ("capsule.py", PROGRAM))
}

/// The same with another program in its folder, of root.
fn in_unshare_with(kinds: &[&str], script: &str, program: (&str, &str)) -> Job {
    in_unshare_by(User::Root, kinds, script, program)
}

fn in_unshare_by(user: User, kinds: &[&str], script: &str, (name, text): (&str, &str)) -> Job {
    let job = Job::start("unshare", user, |folder| {
        write(folder, name, text);
        let begin = "mount -t tmpfs -o size=2g,mode=1777 private /mnt && mount --bind";
        let script = format!("{begin} {} /srv && cd /srv && {script}", folder.display());
        let mut command = Command::new("unshare");
        command.args(kinds).args(["--fork", "--mount-proc", "sh", "-c", &script]);
        command
    });
    job.wait_for("ready");
    job
}

fn run(job: &mut Job, arguments: &[&str]) -> Outcome {
    let image = job.specimen().image();
    command::run(arguments, image.parent().unwrap_or(&image), || harness::group::reap(&BTreeSet::new()))
}

fn image(job: &mut Job) -> String {
    job.specimen().image().to_string_lossy().into_owned()
}

/// Those in the pid namespace of which this process is the init, by their numbers here.
fn inhabitants(init: i32) -> Vec<i32> {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let home = namespace(init);
    let pids = fs::read_dir("/proc").unwrap_or_else(|error| panic!("{error}")).flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| home.is_some() && namespace(*pid) == home).collect()
}

/// The init of the only capsule that works in this folder.
fn find_init(folder: &Path) -> Option<i32> {
    let pids = fs::read_dir("/proc").unwrap_or_else(|error| panic!("{error}")).flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_bound = |pid: &i32| {
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        mounts.contains(&format!("{} /", folder.display()))
    };
    pids.find(|pid| numbers(*pid).get(1..) == Some(&[1]) && is_bound(pid))
}

/// The same, once it is there.
fn init(folder: &Path) -> i32 {
    until(PATIENCE, || find_init(folder))
        .unwrap_or_else(|| panic!("nobody is the init of a capsule in {}", folder.display()))
}

/// Freezes the capsule by this pid, and sees that nobody of it is left.
fn fall_asleep(job: &mut Job, pid: i32) {
    fall_asleep_with(job, pid, &[]);
}

fn fall_asleep_with(job: &mut Job, pid: i32, more: &[&str]) {
    let (image, folder) = (image(job), job.specimen().folder());
    let all = inhabitants(init(&folder));
    assert!(!all.is_empty());
    run(job, &[&["freeze", &pid.to_string(), "-o", &image], more].concat()).expect_success("freeze");
    let gone = all_gone(&all);
    assert!(
        gone,
        "some of {all:?} are left beside their image: {:?}",
        all.iter().map(|pid| numbers(*pid)).collect::<Vec<_>>()
    );
}

/// Waits until none of these is there any more; orphans are ours to take leave of.
fn all_gone(pids: &[i32]) -> bool {
    let gone = || {
        harness::group::reap(&pids.iter().copied().collect());
        pids.iter().all(|pid| numbers(*pid).is_empty()).then_some(())
    };
    until(PATIENCE, gone).is_some()
}

fn wake_up(job: &mut Job) {
    let image = image(job);
    run(job, &["thaw", &image]).expect_success("thaw");
    fs::remove_file(&image).unwrap_or_else(|error| panic!("{image}: {error}"));
}

/// Whether it is there for longer than a moment.
fn stays(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| !matches!(name.trim_end(), "sleep" | "sh"))
}

/// By whom of a capsule it is put to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Round {
    /// By whoever was started, which waits outside.
    First,
    /// By the init.
    Init,
    /// By another member.
    Member,
}

/// Naps, by each of them.
fn nap_and_end(job: Job) {
    naps_and_ends(job, Round::First, &[]);
}

/// `begin`: with whom of them; `more`: what the freeze is told.
fn naps_and_ends(mut job: Job, begin: Round, more: &[&str]) {
    let folder = job.specimen().folder();
    let first = job.specimen().pid();
    for round in [Round::First, Round::Init, Round::Member].into_iter().filter(|round| *round >= begin) {
        let capsule = init(&folder);
        let pid = match round {
            Round::First => first,
            Round::Init => capsule,
            Round::Member => inhabitants(capsule).into_iter().filter(|pid| stays(*pid)).max().unwrap_or(capsule),
        };
        let checked = run(&mut job, &["check", &pid.to_string()]);
        assert_eq!(checked.status.code(), Some(i32::from(!more.is_empty())), "{}", checked.said);
        fall_asleep_with(&mut job, pid, more);
        wake_up(&mut job);
    }
    let capsule = inhabitants(init(&folder));
    job.make("go");
    let said = until(PATIENCE, || job.said().contains("right").then_some(()));
    assert!(said.is_some(), "{}{}", job.said(), job.specimen().errors());
    assert!(job.said().ends_with("right True\n"), "{}", job.said());
    assert!(all_gone(&capsule), "it does not come to an end");
}

#[test]
fn a_sandbox_of_bubblewrap_whose_program_is_the_init_goes_on() {
    nap_and_end(in_bwrap(&["--as-pid-1"], &["ipc"]));
}

/// Its init is bubblewrap's own, which was started outside, and waits for whoever loses his parent.
#[test]
fn a_sandbox_of_bubblewrap_with_its_init_goes_on() {
    nap_and_end(in_bwrap(&[], &["ipc"]));
}

#[test]
fn a_sandbox_with_a_network_of_its_own_goes_on_talking_through_loopback() {
    nap_and_end(in_bwrap(&["--unshare-net", "--unshare-cgroup"], &["ipc", "net"]));
}

/// All mounts of the system are in it, and some of its own above them.
#[test]
fn namespaces_made_by_unshare_go_on() {
    let script =
        "mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /dev/shm && hostname within && exec python3 capsule.py ipc";
    nap_and_end(in_unshare("-muipn", &format!("ip link set lo up && {script} net")));
}

/// What is in a part of a filesystem that is mounted twice is there once.
#[test]
fn a_filesystem_in_memory_that_is_mounted_in_parts_comes_back_as_one() {
    let script = "mkdir -p /mnt/part/below && echo one > /mnt/part/file && mkdir /mnt/place && mount --bind /mnt/part /mnt/place \
                  && mount -o remount,bind,ro /mnt/place && echo two > /mnt/part/below/file && echo ready && while ! [ -e go ]; do sleep 0.1; done \
                  && [ $(cat /mnt/place/file /mnt/place/below/file | tr -d '\\n') = onetwo ] && echo three > /mnt/part/file \
                  && [ $(cat /mnt/place/file) = three ] && ! touch /mnt/place/file 2> /dev/null && df /mnt | grep -q 2097152 && echo right True";
    nap_and_end(in_unshare("-mp", script));
}

#[test]
fn an_overlay_over_folders_of_the_system_comes_back() {
    let script = "cd $OLDPWD && mkdir low up work all && echo low > low/file && mount -t overlay overlay -o lowerdir=$PWD/low,upperdir=$PWD/up,workdir=$PWD/work all \
                  && echo up > all/more && exec 3>> all/more && rm all/file && echo ready && while ! [ -e go ]; do sleep 0.1; done \
                  && echo more >&3 && [ $(cat all/more | tr -d '\\n') = upmore ] && ! [ -e all/file ] && [ -e low/file ] && echo right True";
    nap_and_end(in_unshare("-mp", script));
}

/// Looks at what stands in the way, which must leave everybody as he was.
fn refused(mut job: Job, word: &str) {
    let (folder, image) = (job.specimen().folder(), image(&mut job));
    let capsule = init(&folder);
    let before = settled(capsule);
    for arguments in
        [&["check", &capsule.to_string()][..], &["freeze", &capsule.to_string(), "--accept-losses", "-o", &image]]
    {
        let outcome = run(&mut job, arguments);
        let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!outcome.status.success() && said.contains(word), "{arguments:?}: {said}");
    }
    assert!(!Path::new(&image).exists());
    assert_eq!(settled(capsule), before);
    end(capsule);
}

/// Those who live there, once nobody comes or goes.
fn settled(init: i32) -> Vec<i32> {
    let still = || {
        let before = inhabitants(init);
        std::thread::sleep(Duration::from_millis(200));
        Some(before).filter(|before| *before == inhabitants(init))
    };
    until(PATIENCE, still).unwrap_or_else(|| panic!("they do not come to rest"))
}

fn end(init: i32) {
    let _ = Command::new("kill").args(["-KILL", &init.to_string()]).status();
    assert!(all_gone(&[init]), "it does not end");
}

const WAITS: &str = "echo ready; exec sleep 1000";

/// Mounts of a part alone: what it has mounted there is of a kind that cannot be made again.
#[test]
fn a_filesystem_of_a_part_that_cannot_come_back_is_refused_by_its_place() {
    let script = format!("unshare -m sh -c 'mount -t ramfs ramfs /media && exec sleep 1000' & sleep 0.5; {WAITS}");
    refused(in_unshare("-mp", &script), "/media Why a ramfs of the group's own is mounted there");
}

#[test]
fn a_filesystem_that_cannot_come_back_is_refused_by_its_place() {
    let job = in_unshare("-mp", &format!("mkdir /mnt/place && mount -t ramfs ramfs /mnt/place && {WAITS}"));
    refused(job, "/mnt/place Why a ramfs of the group's own is mounted there");
}

#[test]
fn a_network_device_is_refused_by_name() {
    refused(in_unshare("-mpn", &format!("ip link add spare0 type bridge && {WAITS}")), "network device spare0");
}

#[test]
fn a_sandbox_without_a_proc_of_its_own_is_refused() {
    refused(in_unshare("-mp", &format!("umount /proc; {WAITS}")), "there is no /proc in its sandbox");
}

#[test]
fn a_pipe_that_leads_out_of_a_sandbox_is_named_with_who_holds_its_other_end() {
    let job = Job::start("sh", User::Root, |folder| {
        let within = format!("mount --bind {} /srv && cd /srv && {WAITS}", folder.display());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("unshare -mp --fork --mount-proc sh -c '{within}' | cat")]);
        command
    });
    job.wait_for("ready");
    refused(job, "cat (pid");
}

/// Whoever has come in would be ended with it.
#[test]
fn a_guest_is_named() {
    let mut job = in_unshare("-mp", WAITS);
    let capsule = init(&job.specimen().folder());
    let mut guest = Command::new("nsenter");
    guest.args(["-t", &capsule.to_string(), "-m", "-p", "sleep", "2000"]);
    let mut guest =
        harness::specimen::without_inheritance(&mut guest).spawn().unwrap_or_else(|error| panic!("{error}"));
    let is_in = || {
        inhabitants(capsule)
            .iter()
            .any(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("2000")))
    };
    assert!(until(PATIENCE, || is_in().then_some(())).is_some());
    refused(job, "came into the sandbox from outside");
    let _ = guest.wait();
}

/// Before anything is made, what is missing outside is told; and an image of somebody else gets him no mounts.
#[test]
fn an_image_is_checked_before_anything_is_made() {
    let mut job = in_bwrap(&["--as-pid-1"], &[]);
    let (folder, image) = (job.specimen().folder(), image(&mut job));
    fall_asleep(&mut job, init(&folder));
    let moved = folder.with_file_name("moved");
    fs::rename(&folder, &moved).unwrap_or_else(|error| panic!("{error}"));
    symlink("/usr", &folder).unwrap_or_else(|error| panic!("{error}"));
    let outcome = run(&mut job, &["thaw", &image]);
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!outcome.status.success() && said.contains("is to be mounted at /work"), "{said}");
    fs::remove_file(&folder).and_then(|()| fs::rename(&moved, &folder)).unwrap_or_else(|error| panic!("{error}"));

    chown(&image, Some(1234), Some(1234)).unwrap_or_else(|error| panic!("{error}"));
    let outcome = run(&mut job, &["thaw", &image]);
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!outcome.status.success() && said.contains("holds namespaces with mounts"), "{said}");
    chown(&image, Some(0), Some(0)).unwrap_or_else(|error| panic!("{error}"));

    wakes_up_right(&mut job);
}

/// Wakes it; all that it holds is what it was.
fn wakes_up_right(job: &mut Job) {
    wake_up(job);
    job.make("go");
    let right = until(PATIENCE, || job.said().contains("right True").then_some(()));
    assert!(right.is_some(), "{}", job.specimen().errors());
}

/// Killed at any moment, `thaw` leaves all of the capsule or nothing; and the mounts of the system are what they were.
#[test]
fn a_killed_thaw_leaves_nothing_of_the_capsule() {
    killed(in_bwrap(&[], &[]));
}

/// Begins to thaw an image, and is killed after that time.
fn thaw_and_kill(image: &str, after: Duration) {
    let mut thaw = Command::new(command::path());
    thaw.args(["thaw", image]);
    let mut thaw = harness::specimen::without_inheritance(&mut thaw).spawn().unwrap_or_else(|error| panic!("{error}"));
    std::thread::sleep(after);
    let _ = thaw.kill();
    let _ = thaw.wait();
}

fn killed(mut job: Job) {
    let (folder, image) = (job.specimen().folder(), image(&mut job));
    fall_asleep(&mut job, init(&folder));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for moment in [0, 2, 5, 10, 20, 40, 80] {
        thaw_and_kill(&image, Duration::from_millis(moment));
        let settled = until(PATIENCE, || {
            let there = find_init(&folder);
            there.is_none_or(|init| inhabitants(init).len() == 3).then_some(there)
        });
        let there = settled.unwrap_or_else(|| panic!("some of it are left after {moment} ms"));
        if let Some(init) = there {
            end(init);
        }
        assert_eq!(fs::read_to_string("/proc/self/mounts").unwrap_or_default(), mounts);
    }
    wakes_up_right(&mut job);
}
