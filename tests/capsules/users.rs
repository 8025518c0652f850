//! Capsules with user namespaces, as ordinary users make them: who is who in them comes back with all else.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::{Job, User};

use crate::{
    PROGRAM, Round, WAITS, bwrap, fall_asleep, image, in_bwrap_of, in_unshare_of, init, killed, nap_and_end,
    naps_and_ends, refused, run, wakes_up_right, write,
};

/// Of two user namespaces, the outer one is mighty over all others and nobody's home.
const NESTED: &[&str] = &["--unshare-user"];

#[test]
fn a_sandbox_that_an_ordinary_user_makes_with_bubblewrap_goes_on() {
    nap_and_end(in_bwrap_of(User::Ordinary, NESTED, &["ipc", "users"]));
}

/// As Flatpak makes them: nobody makes another user namespace in it.
#[test]
fn a_sandbox_that_forbids_further_user_namespaces_goes_on_forbidding_them() {
    let forbids = [NESTED, &["--disable-userns"]].concat();
    nap_and_end(in_bwrap_of(User::Ordinary, &forbids, &["ipc", "users", "limited"]));
}

#[test]
fn a_sandbox_of_an_ordinary_user_with_a_network_of_its_own_goes_on() {
    let more = [NESTED, &["--as-pid-1", "--unshare-net", "--unshare-cgroup"]].concat();
    nap_and_end(in_bwrap_of(User::Ordinary, &more, &["ipc", "users"]));
}

#[test]
fn a_sandbox_of_root_with_a_user_namespace_goes_on() {
    nap_and_end(in_bwrap_of(User::Root, &[NESTED, &["--uid", "77", "--gid", "78"]].concat(), &["ipc", "users"]));
}

/// One user namespace, in which the user is root and has all capabilities.
#[test]
fn namespaces_of_a_user_who_is_root_in_them_go_on() {
    let script = "mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /dev/shm && hostname within && exec python3 capsule.py ipc users";
    let kinds = ["--user", "--map-root-user", "-muipn"];
    let job = in_unshare_of(User::Ordinary, &kinds, &format!("ip link set lo up && {script} net"));
    // It could have unmounted what is mounted now.
    naps_and_ends(job, Round::First, &["--accept-losses"]);
}

/// Users and groups of several ranges, files and members that belong to some of them, and a member with one capability.
#[test]
fn users_and_groups_of_several_ranges_come_back() {
    let job = Job::start("python3", User::Root, |folder| {
        write(folder, "capsule.py", PROGRAM);
        write(folder, "ranges.py", include_str!("ranges.py"));
        let mut command = Command::new("python3");
        command.args(["ranges.py", "python3", "capsule.py", "ipc", "users", "ranges"]);
        command
    });
    job.wait_for("ready");
    // Whoever has started it is no program that is known to wait.
    naps_and_ends(job, Round::Init, &["--accept-losses"]);
}

#[test]
fn a_killed_thaw_leaves_nothing_of_a_capsule_with_user_namespaces() {
    killed(in_bwrap_of(User::Ordinary, NESTED, &["users"]));
}

/// An image that is not root's own gets its owner no user namespaces.
#[test]
fn an_image_of_an_ordinary_user_makes_no_user_namespaces() {
    let mut job = in_bwrap_of(User::Ordinary, NESTED, &["users"]);
    let (folder, image) = (job.specimen().folder(), image(&mut job));
    fall_asleep(&mut job, init(&folder));
    std::os::unix::fs::chown(&image, Some(1000), Some(1000)).unwrap_or_else(|error| panic!("{error}"));
    let outcome = run(&mut job, &["thaw", &image]);
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!outcome.status.success() && said.contains("holds namespaces with mounts"), "{said}");
    std::os::unix::fs::chown(&image, Some(0), Some(0)).unwrap_or_else(|error| panic!("{error}"));
    wakes_up_right(&mut job);
}

/// What is mounted leads nowhere by a link that the user has made meanwhile.
#[test]
fn a_link_in_the_way_of_a_mount_is_not_followed() {
    let mut job = in_bwrap_of(User::Ordinary, NESTED, &["users"]);
    let (folder, image) = (job.specimen().folder(), image(&mut job));
    fall_asleep(&mut job, init(&folder));
    let above = folder.parent().map(Path::to_owned).unwrap_or_default();
    let moved = above.with_extension("moved");
    fs::rename(&above, &moved).unwrap_or_else(|error| panic!("{error}"));
    std::os::unix::fs::symlink(&moved, &above).unwrap_or_else(|error| panic!("{error}"));
    let outcome = run(
        &mut job,
        &["thaw", &moved.join(Path::new(&image).strip_prefix(&above).unwrap_or(Path::new(&image))).to_string_lossy()],
    );
    fs::remove_file(&above).and_then(|()| fs::rename(&moved, &above)).unwrap_or_else(|error| panic!("{error}"));
    let said = outcome.said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!outcome.status.success() && said.contains("Too many symbolic links"), "{said}");
    wakes_up_right(&mut job);
}

/// A program in a sandbox with a user namespace, which is started through somebody who gives it something that only root outside has.
fn through(user: User, giver: &[&str], program: &[&str]) -> Job {
    let job = Job::start("bwrap", user, |folder| {
        write(folder, "capsule.py", PROGRAM);
        let command = bwrap(folder, NESTED, program);
        let mut through = Command::new(giver[0]);
        through.args(&giver[1..]).arg(command.get_program()).args(command.get_args());
        through
    });
    job.wait_for("ready");
    job
}

#[test]
fn priorities_that_only_root_outside_can_give_are_refused_before_anything_is_touched() {
    for giver in [&["nice", "-n", "-5"][..], &["chrt", "--fifo", "5"], &["ionice", "-c", "1"]] {
        refused(through(User::Root, giver, &["sh", "-c", WAITS]), "runs before others");
    }
}

/// Whoever shares his place goes into no user namespace.
#[test]
fn a_place_that_two_share_in_a_user_namespace_is_refused_before_anything_is_touched() {
    const SHARES: &str = "import ctypes, time\n\
                          CLONE_FS, SIGCHLD, CLONE = 0x200, 17, 56\n\
                          if ctypes.CDLL(None).syscall(CLONE, CLONE_FS | SIGCHLD, 0, 0, 0, 0): print('ready', flush=True)\n\
                          time.sleep(1000)";
    refused(through(User::Ordinary, &["env"], &["python3", "-c", SHARES]), "CLONE_FS");
}
