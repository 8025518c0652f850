//! Who sees to it that those have their numbers who may not choose them: in each pid namespace somebody names the next one to the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::OwnedFd;

use dormouse_wire::{Pid, Problem, phrase};
use nix::fcntl::Flock;

use super::birth::Birth;
use super::standins;
use crate::kernel::inner_namespaces::Namer;
use crate::kernel::{Answer, Errno, files, namespaces};
use crate::proc;
use crate::resource::group::Group;
use crate::resource::namespace::inner;

/// Who names numbers in the pid namespaces within a group, and which ones nobody wants.
#[derive(Debug)]
pub struct Numbers {
    namers: BTreeMap<usize, Namer>,
    /// What shows a pid namespace, where that is to be mounted.
    procs: BTreeMap<usize, OwnedFd>,
    /// For which of them.
    shown: BTreeSet<usize>,
    /// Numbers that nobody has or wants, here or further in: for helpers.
    spare: Vec<i32>,
    /// The last number that was given outside before one was named.
    last: Option<i32>,
    /// Held from then on.
    turn: Option<Flock<File>>,
}

impl Numbers {
    /// For a group.
    pub fn of(group: &Group) -> Result<Self, Problem> {
        let namespaces = group.inner.iter().filter(|inner| inner.kind == "pid").count();
        let spare = if group.inner.is_empty() { Vec::new() } else { standins::free_pids(group, namespaces + 1)? };
        let shown = group.mounted.iter().filter_map(|filesystem| filesystem.place.pid).collect();
        Ok(Self { namers: BTreeMap::new(), procs: BTreeMap::new(), shown, spare, last: None, turn: None })
    }

    /// What shows the pid namespaces in which somebody lives, for those that are to be shown.
    pub fn procs(&self) -> &BTreeMap<usize, OwnedFd> {
        &self.procs
    }

    /// There is somebody now in this pid namespace, within these others.
    pub(super) fn opened(&mut self, namespace: usize, first: Pid, around: &[usize]) -> Result<(), Problem> {
        let failed = |errno: Errno| inner::unmade("pid", errno);
        // The last one stays for those who are there for a moment only.
        let spare = if self.spare.len() > 1 { self.spare.remove(0) } else { self.any_number() };
        let door = files::open(&proc::folder(first).join("ns/pid"), libc::O_RDONLY).map_err(failed)?;
        // It stays, and must have no number that somebody wants.
        self.name_outside(spare).map_err(failed)?;
        for level in around {
            self.namers.get_mut(level).map_or(Ok(()), |namer| namer.name(spare)).map_err(failed)?;
        }
        let namer = Namer::enter(&door, spare);
        self.go_on();
        let namer = namer.map_err(failed)?;
        if self.shown.contains(&namespace) {
            self.procs.insert(namespace, namer.proc().map_err(failed)?);
        }
        self.namers.insert(namespace, namer);
        Ok(())
    }

    /// All are there. Nobody of ours is to be left in a namespace when its first process ends, which waits for that.
    pub fn dismiss(&mut self) {
        self.namers.clear();
    }

    /// What is to be born next has these numbers further in.
    pub(super) fn name(&mut self, birth: &Birth<'_>, further_in: &[i32]) -> Result<(), Problem> {
        for (level, number) in birth.levels.iter().zip(further_in) {
            let Some(namer) = self.namers.get_mut(level) else { continue };
            namer.name(*number).map_err(|errno| {
                let (number, why) = (birth.number, errno.desc());
                birth.taken(phrase!("its number, {number}, cannot be chosen: {why}", number, why))
            })?;
        }
        Ok(())
    }

    /// And this one outside, unless somebody else is faster.
    pub(super) fn name_outside(&mut self, number: i32) -> Answer<()> {
        let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
        self.turn = namespaces::turn_to_name();
        self.last = namespaces::last_pid().ok();
        namespaces::next_pid(number).map_err(errno)
    }

    /// Somebody has been born: others are given numbers again where they were before, and none of the group's.
    pub(super) fn go_on(&mut self) {
        if let Some(last) = self.last.take() {
            // Where that fails, others are given numbers from elsewhere, as after a turn of the count.
            let _ = namespaces::next_pid(last.saturating_add(1));
        }
        self.turn = None;
    }

    /// Numbers for somebody who is needed for a moment.
    pub(super) fn any(&self, birth: &Birth<'_>) -> (i32, Vec<i32>) {
        let spare = self.any_number();
        (spare, vec![spare; birth.levels.len()])
    }

    fn any_number(&self) -> i32 {
        self.spare.last().copied().unwrap_or(i32::from(i16::MAX))
    }
}
