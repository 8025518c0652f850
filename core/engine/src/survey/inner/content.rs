//! What is in namespaces within a group, seen from within.

use std::os::fd::AsFd;
use std::path::Path;

use dormouse_wire::{Problem, ProblemKind, phrase};

use super::{InnerFacts, way_out};
use crate::kernel::{Answer, files, mounts, namespaces};
use crate::proc;
use crate::proc::cgroup::{self, CgroupMembership};
use crate::resource::namespace::inner::Inner;
use crate::resource::namespace::names::Names;
use crate::resource::namespace::network::{self, Loopback};
use crate::resource::namespace::settings;
use crate::resource::task::control_group::Captured;
use crate::survey::collect::ProcessFacts;

impl InnerFacts {
    /// What is in one.
    pub(super) fn content(&mut self, index: usize, door: &Path, processes: &[ProcessFacts]) {
        let kind = self.all[index].kind.clone();
        let look = |kind: &str| -> Answer<(Inner, Vec<Problem>)> {
            let namespace = files::open(door, libc::O_RDONLY)?;
            let mut inner = Inner::default();
            let problems = namespaces::visit(&namespace, kind, || {
                if kind == "uts" {
                    inner.names = Names::here().ok();
                    return Vec::new();
                }
                if kind != "net" {
                    inner.settings = settings::of_ipc();
                    return objects();
                }
                inner.settings = settings::of_network();
                let mut problems = network::judge();
                match Loopback::here() {
                    Ok(loopback) => inner.loopback = Some(loopback),
                    Err(problem) => problems.push(problem),
                }
                problems
            })?;
            Ok((inner, problems))
        };
        if kind == "cgroup" {
            return self.control_groups(index, door, processes);
        }
        if !["net", "ipc", "uts"].contains(&kind.as_str()) {
            return;
        }
        match look(&kind) {
            Ok((seen, problems)) => {
                let one = &mut self.all[index];
                (one.loopback, one.settings, one.names) = (seen.loopback, seen.settings, seen.names);
                self.problems.extend(problems);
            }
            Err(errno) => {
                let what = phrase!("its {kind} namespace cannot be looked at: {why}", kind, why = errno.desc());
                self.problems.push(Problem::blocks(ProblemKind::Namespace, what).way_out(way_out()));
            }
        }
    }

    /// Records the roots of those for control groups.
    pub fn root(&mut self, captured: &mut Captured) {
        for (index, roots) in &self.roots {
            self.all[*index].roots = captured.of(roots);
        }
    }

    /// Which control groups are the roots of one of those, as the engine sees them: told by who lives in it, from without and from within.
    fn control_groups(&mut self, index: usize, door: &Path, processes: &[ProcessFacts]) {
        let inhabitant = processes.iter().zip(&self.places).find(|(_, place)| place.cgroup == Some(index));
        let Some((process, living)) = inhabitant.and_then(|(process, _)| Some((process, process.living.as_ref()?)))
        else {
            return;
        };
        let within = files::open(door, libc::O_RDONLY).and_then(|namespace| {
            let read = || proc::parsed_thread(process.pid, living.speaker, "cgroup", cgroup::parse);
            namespaces::visit(&namespace, "cgroup", read)
        });
        let root = |(without, within): (&CgroupMembership, &CgroupMembership)| {
            let (whole, inside) = (without.path.as_slice(), within.path.as_slice());
            let path = if inside == b"/" { whole } else { whole.strip_suffix(inside)? };
            let path = if path.is_empty() { b"/".to_vec() } else { path.to_vec() };
            (without.hierarchy == within.hierarchy).then(|| CgroupMembership { path, ..without.clone() })
        };
        let roots = match &within {
            Ok(Ok(within)) if within.len() == living.control_groups.len() => {
                living.control_groups.iter().zip(within).map(root).collect::<Option<Vec<_>>>()
            }
            _ => None,
        };
        if let Some(roots) = roots {
            self.roots.insert(index, roots);
        } else {
            let what = phrase!("the root of its cgroup namespace cannot be told");
            self.refuse(process, what);
        }
    }
}

/// What is in the ipc namespace of this thread, and cannot be given back.
fn objects() -> Vec<Problem> {
    let queues = mounts::new_filesystem("mqueue", b"mqueue", &[])
        .map_err(std::io::Error::from)
        .and_then(|mounted| Ok(std::fs::read_dir(mounts::reached_by(mounted.as_fd()))?.count()));
    let is_empty = |list: &str| {
        let read = std::fs::read(Path::new("/proc/sysvipc").join(list));
        read.is_ok_and(|text| text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() <= 1)
    };
    if ["shm", "sem", "msg"].into_iter().all(is_empty) && matches!(queues, Ok(0)) {
        return Vec::new();
    }
    let what = phrase!(
        "there are System V objects or message queues in an ipc namespace within the group, which cannot be given back yet"
    );
    vec![Problem::blocks(ProblemKind::Namespace, what).way_out(way_out())]
}
