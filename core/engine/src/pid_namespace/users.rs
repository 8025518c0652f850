//! The user namespaces of a group made again, each by whoever had made it, with the namespaces that it is mighty over: a helper goes
//! there, and what it has made there is taken from it. The engine itself stays outside, where it is root.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use dormouse_wire::{Pid, Problem, ProblemKind, phrase};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, raise};

use super::capsule::{first_process, unmade};
use crate::kernel::clone::{self, Relation};
use crate::kernel::user_namespaces as kernel;
use crate::kernel::{Answer, Errno, files, namespaces};
use crate::proc;
use crate::resource::group::{Group, Life, Process};
use crate::resource::namespace::Namespaces;
use crate::resource::namespace::member;
use crate::resource::namespace::user::{self, Made};
use crate::resource::task::credentials::Credentials;

/// The credentials of all threads.
pub fn credentials(group: &Group) -> impl Iterator<Item = (Pid, &Credentials)> {
    group.processes.iter().flat_map(|process| {
        let all: Vec<_> = match &process.life {
            Life::Alive(alive) => alive.threads.iter().map(|thread| &thread.credentials).collect(),
            Life::Zombie(zombie) => vec![&zombie.credentials],
        };
        all.into_iter().map(|one| (process.pid(), one))
    })
}

/// What members of a group could not be given in the user namespace that it had.
pub fn members(record: &Namespaces, group: &Group) -> Vec<Problem> {
    let shown = |pid: Pid| group.processes.iter().find(|process| process.pid() == pid).map(Process::shown);
    // Those further in are judged by where they live.
    let lives = |pid: Pid| group.processes.iter().any(|process| process.pid() == pid && process.place.user.is_none());
    let all = credentials(group).filter(|(pid, _)| lives(*pid));
    let all = all.filter_map(|(pid, one)| Some((shown(pid)?, one.clone())));
    let mut problems = user::judge(&record.users, &all.collect::<Vec<_>>());
    if record.users.is_empty() {
        return problems;
    }
    let goes_home = user::goes_home(&record.users, &record.owned);
    let mut places = HashSet::new();
    for process in &group.processes {
        let Some(alive) = process.alive() else { continue };
        if goes_home && !places.insert(alive.filesystem) && process.place.user.is_none() {
            problems.push(member::shares_its_place(&process.shown()));
        }
        if alive.threads.iter().any(|thread| thread.scheduling.is_favoured()) || alive.timers.wake_the_machine() {
            problems.push(member::is_favoured(&process.shown()));
        }
    }
    problems
}

/// Makes them, and the first process of the pid namespace, whose next one is to have this number. This process lives in the others from now
/// on, but in no user namespace of them, and its children do in that of pids.
pub fn make(record: &Namespaces, group: &Group, own: i32) -> Result<(), Problem> {
    let broken = || Problem::blocks(ProblemKind::Image, phrase!("the image holds a group without a first process"));
    let (_, first) = credentials(group).next().ok_or_else(broken)?;
    let common = user::common_groups(credentials(group).map(|(_, one)| one));
    let shares_groups = common.is_some();
    let groups = common.unwrap_or_else(|| first.supplementary.clone());
    let birth = record.owner("pid");
    namespaces::keep_next_pid().map_err(|_| unmade("ns_last_pid")(Errno::EACCES))?;
    if birth.is_none() {
        first_process(own, Relation::Child)?;
    }
    let (mut made, mut others): (Vec<OwnedFd>, Vec<OwnedFd>) = (Vec::new(), Vec::new());
    for index in 0..record.users.len() {
        let who = user::maker(&record.users, index, first.groups[1]).ok_or_else(broken)?;
        let stage = Stage { record, index, who, groups: &groups, own };
        let (namespace, owned) = stage.make(made.last())?;
        made.push(namespace);
        others.extend(owned);
    }
    namespaces::enter(&others).map_err(unmade("setns"))?;
    user::begin(Made {
        chain: record.users.clone(),
        namespaces: made,
        birth,
        groups,
        shares_groups,
        group: first.groups[1],
    });
    Ok(())
}

/// One of the chain.
struct Stage<'a> {
    record: &'a Namespaces,
    index: usize,
    who: (u32, u32),
    groups: &'a [u32],
    own: i32,
}

impl Stage<'_> {
    /// What it is mighty over, but for mounts, which are put together outside.
    fn kinds(&self) -> Vec<&str> {
        let own = self.record.owned.iter().filter(|one| one.by == self.index && one.kind != "mnt");
        own.map(|one| one.kind.as_str()).collect()
    }

    fn make(&self, around: Option<&OwnedFd>) -> Result<(OwnedFd, Vec<OwnedFd>), Problem> {
        match clone::fork_sharing_files().map_err(unmade("clone"))? {
            namespaces::Side::Child => kernel::leave(self.help(around).err().map_or(0, |errno| errno as i32)),
            namespaces::Side::Parent(helper) => {
                let taken = self.take_from(helper, around);
                let _ = kill(helper, Signal::SIGKILL);
                let _ = kernel::wait(helper);
                taken
            }
        }
    }

    /// In the helper, which stops when it is to be given maps, and again when all is there.
    fn help(&self, around: Option<&OwnedFd>) -> Answer<()> {
        let (user, group) = self.who;
        kernel::become_user(user, group, self.groups)?;
        around.map(kernel::enter).transpose()?;
        kernel::part()?;
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        namespaces::part_with(&self.kinds())?;
        raise(Signal::SIGSTOP)?;
        if self.kinds().contains(&"pid") {
            first_process(self.own, Relation::Sibling).map_err(|_| Errno::ECHILD)?;
        }
        raise(Signal::SIGSTOP)
    }

    fn take_from(
        &self,
        helper: nix::unistd::Pid,
        around: Option<&OwnedFd>,
    ) -> Result<(OwnedFd, Vec<OwnedFd>), Problem> {
        let refused = |errno: Errno| {
            let what = phrase!("the map of a user namespace of the group is not taken: {why}", why = errno.desc());
            Problem::blocks(ProblemKind::Namespace, what)
                .way_out(phrase!("Run Dormouse as root, outside of any sandbox"))
        };
        let folder = proc::folder(Pid(helper.as_raw()));
        kernel::wait_stopped(helper).map_err(unmade("user namespace"))?;
        // Only who lives in the namespace around it may write them.
        let write = || {
            around.map(kernel::enter).transpose()?;
            user::write_maps(&self.record.users, self.index, &folder).map(|()| Vec::new())
        };
        kernel::elsewhere(write).map_err(refused)?;
        kill(helper, Signal::SIGCONT).map_err(unmade("kill"))?;
        kernel::wait_stopped(helper).map_err(unmade("first process"))?;
        let open = |kind: &str| {
            let name = if kind == "pid" { "pid_for_children" } else { kind };
            files::open(&folder.join("ns").join(name), libc::O_RDONLY).map_err(unmade("open"))
        };
        let owned = self.kinds().into_iter().map(open).collect::<Result<_, _>>()?;
        Ok((open("user")?, owned))
    }
}
