//! Whom the service wakes it puts back into a control group only where the user could have gone himself.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::time::Duration;

use dormouse_wire::Thawed;
use harness::User;
use harness::specimen::Answer;
use harness::wait::until;

use crate::client::Call;
use crate::machine::{ANNA, Machine, OWN, done};
use crate::sleep::{asleep, of, started};

/// A control group of cgroup v1 with the rights of a user, gone when dropped.
struct Group(PathBuf);

impl Group {
    fn make(controller: &str, user: Option<u32>) -> Self {
        let mounts = done(fs::read_to_string("/proc/self/mounts"));
        let is_it = |line: &&str| {
            let words: Vec<&str> = line.split(' ').collect();
            words[2] == "cgroup" && words[3].split(',').any(|option| option == controller)
        };
        let line = mounts.lines().find(is_it).unwrap_or_else(|| panic!("no {controller} of cgroup v1 is mounted here"));
        let top = PathBuf::from(line.split(' ').nth(1).unwrap_or_default());
        let folder = top.join(format!("dormouse-service-{}-{controller}", std::process::id()));
        done(fs::create_dir(&folder));
        for path in [folder.clone(), folder.join("cgroup.procs"), folder.join("tasks")] {
            done(chown(path, user, user));
        }
        Self(folder)
    }

    fn holds(&self, pid: i32) -> bool {
        done(fs::read_to_string(self.0.join("cgroup.procs"))).lines().any(|line| line == pid.to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        until(Duration::from_secs(5), || fs::remove_dir(&self.0).ok());
    }
}

#[test]
fn a_user_is_woken_in_his_own_control_groups_and_in_no_others() {
    let machine = Machine::start(600, Some(OWN));
    let (barred, own) = (Group::make("pids", None), Group::make("cpuacct", Some(ANNA)));
    let mut specimen = started("regular_file", User::Ordinary);
    let pid = specimen.pid();
    for group in [&barred, &own] {
        done(fs::write(group.0.join("cgroup.procs"), pid.to_string()));
    }
    let image = asleep(&machine, &mut specimen);
    let told = machine.told(ANNA, &Call::Preflight(image.clone())).to_string();
    assert!(!told.contains("\"blocks\""), "{told}");
    let job = machine.told(ANNA, &Call::Thaw(image));
    assert_eq!(job["state"], "done", "{job}");
    let thawed: Thawed = of(job["result"].clone());
    let losses: Vec<String> = thawed.losses.iter().map(ToString::to_string).collect();
    assert!(losses.len() == 1 && losses[0].contains("cannot be put into this control group again"), "{losses:?}");
    assert!(!barred.holds(pid), "the user has got where he may not go");
    assert!(own.holds(pid), "the user is not where he was: {losses:?}");
    assert_eq!(specimen.go(), Answer::Ok);
    specimen.assert_ends();
}
