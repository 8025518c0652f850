//! Mount namespaces within a group: what is mounted there, who lives among that, and which files were opened there.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, Tid, phrase};

use super::{InnerFacts, usual, way_out};
use crate::image::{PageBuffer, PageSink};
use crate::kernel::among::among;
use crate::kernel::outside::Outside;
use crate::kernel::{files, procfs, socket};
use crate::proc;
use crate::proc::fdinfo::FdDetail;
use crate::proc::status::Status;
use crate::resource::fd::unix::facts::is_unix;
use crate::resource::fd::{FileFacts, FilesFacts, MountsWithin, OpenFile, process_file, shown_bytes};
use crate::resource::namespace::inner::{self, Place};
use crate::resource::namespace::mount::{Filesystem, Home, Mount};
use crate::resource::task::control_group::Captured;
use crate::survey::collect::{LivingFacts, ProcessFacts};

impl InnerFacts {
    /// Looks at them, and says of each process among which it lives.
    pub(super) fn mounts(&mut self, processes: &mut [ProcessFacts], doors: &BTreeMap<usize, PathBuf>) {
        for (index, door) in doors {
            if self.all[*index].kind != "mnt" {
                continue;
            }
            let before = self.plan.problems.len();
            if let Err(why) = self.table(*index, door) {
                let what = phrase!("its {kind} namespace cannot be looked at: {why}", kind = "mnt", why);
                self.plan.problems.push(Problem::blocks(ProblemKind::Namespace, what).way_out(way_out()));
            }
            let inhabitant = processes.iter().zip(&self.places).find(|(_, place)| place.mnt == Some(*index));
            for problem in self.plan.problems.iter_mut().skip(before) {
                *problem = inhabitant.map_or(problem.clone(), |(process, _)| problem.clone().of(&process.shown));
            }
        }
        self.problems.append(&mut self.plan.problems);
        self.problems.extend(self.plan.unseen());
        let mut lost = Vec::new();
        for (process, place) in processes.iter_mut().zip(&self.places) {
            let own = self.mounted.iter().find(|(index, _)| Some(*index) == place.mnt).map(|(_, own)| own);
            let (Some(living), Some(own)) = (&mut process.living, own) else { continue };
            living.mounts = Some(own.clone());
            lost.extend(stands(living, process.pid, own).into_iter().map(|what| (process.shown.clone(), what)));
        }
        for (shown, what) in lost {
            let problem = Problem::blocks(ProblemKind::File, what).of(&shown);
            self.problems.push(problem.way_out(phrase!("Let the program change to another directory")));
        }
    }

    /// Looks at one of them.
    fn table(&mut self, index: usize, door: &Path) -> Result<(), Phrase> {
        let outside = Outside::here(Vec::new()).map_err(|error| Phrase::verbatim(error.to_string()))?;
        let namespace = files::open(door, libc::O_RDONLY).map_err(|errno| Phrase::verbatim(errno.desc().to_owned()))?;
        let known = self.known.iter().map(|(key, index)| (*key, Some(*index)));
        let all = known.chain(usual().into_iter().map(|key| (key, None)));
        let pids = all.filter(|((kind, _), _)| *kind == "pid").map(|((_, inode), index)| (inode, index)).collect();
        let inhabitants = || self.places.iter().filter(|place| place.mnt == Some(index));
        // What shows a network, or queues, shows those of who has mounted it.
        let shared = |of: fn(&Place) -> Option<usize>| {
            let first = inhabitants().map(of).next();
            first.filter(|first| inhabitants().map(of).all(|other| other == *first)).flatten()
        };
        let place = Place {
            user: self.all[index].owner,
            net: shared(|place| place.net),
            ipc: shared(|place| place.ipc),
            ..Place::default()
        };
        let home = Home { place, pids: Some(&pids) };
        let plan = &mut self.plan;
        let seen = among(&namespace, || plan.add(&outside, &home))
            .map_err(|errno| Phrase::verbatim(errno.desc().to_owned()))?;
        let ids: BTreeSet<u64> = seen.map_err(|error| error.said())?.into_iter().map(|id| id as u64).collect();
        self.mount_ids.extend(ids.iter().map(|id| (*id, index)));
        let within = MountsWithin { index, namespace: Arc::new(namespace), ids: Arc::new(ids) };
        self.mounted.push((index, within));
        Ok(())
    }

    /// Says of each file among which of them it was opened.
    pub fn place_files(&mut self, files: &mut FilesFacts, processes: &[ProcessFacts]) {
        if self.mounted.is_empty() {
            return;
        }
        let lost = self.terminals(files);
        self.problems.extend(lost);
        // As long as paths mean here what they mean to the engine.
        files.look_outside();
        let members = files.members.clone();
        for file in &mut files.files {
            let lives = file.holders.first().and_then(|(pid, _)| members.iter().position(|member| member == pid));
            let own = lives.and_then(|index| self.places.get(index)?.mnt);
            let index = match mount_of(file) {
                Some(mount) => self.mount_ids.get(&mount).copied(),
                None if matches!(file.link.as_slice(), b"anon_inode:inotify" | b"anon_inode:[fanotify]") => own,
                None => None,
            };
            file.mounts = self.mounted.iter().find(|(found, _)| Some(*found) == index).map(|(_, own)| own.clone());
            file.tells_of = self.told_of(file, processes);
            if let Some(what) = self.shown_by(file) {
                self.problems.push(file.problem(ProblemKind::File, what).way_out(way_out()));
            }
        }
    }

    /// Terminals of the group itself that are mounted somewhere: they are made later than what is mounted.
    fn terminals(&self, files: &FilesFacts) -> Vec<Problem> {
        let told = files.files.iter().flat_map(|file| &file.info.details);
        let own: BTreeSet<i32> =
            told.filter_map(|told| if let FdDetail::TtyIndex(index) = told { Some(*index) } else { None }).collect();
        let all = self.plan.tables().iter().flatten();
        let lost = all.filter(|mount| mount.terminal().is_some_and(|number| own.contains(&(number as i32))));
        let lose = |mount: &Mount| {
            let what = phrase!("a terminal of the group is mounted there");
            let loss = phrase!("it: the terminal of the thaw, or nothing (/dev/null), is there then");
            Problem::loses(ProblemKind::Namespace, what, loss).at(shown_bytes(&mount.mount_point))
        };
        lost.map(lose).collect()
    }

    /// What is in the way of a file of a filesystem that shows what has other numbers at the thaw.
    fn shown_by(&self, file: &FileFacts) -> Option<Phrase> {
        match self.filesystem_of(file)?.kind.as_str() {
            "proc" if file.tells_of.is_some() => None,
            "proc" => Some(phrase!("it is a file of a proc of a part of the group, which cannot be given back yet")),
            "devpts" => Some(phrase!("it is a terminal of a part of the group alone, which cannot be given back yet")),
            "mqueue" => Some(phrase!("it is a message queue of a part of the group, which cannot be given back yet")),
            _ => None,
        }
    }

    /// The filesystem within the group that a file lies on.
    fn filesystem_of(&self, file: &FileFacts) -> Option<&Filesystem> {
        let device = file.stat.st_dev;
        self.plan.filesystem_on((libc::major(device), libc::minor(device)))
    }

    /// The process, and perhaps its thread, that a file of a proc(5) within the group tells of, if that is a member.
    fn told_of(&self, file: &FileFacts, processes: &[ProcessFacts]) -> Option<(Pid, Option<Tid>)> {
        let pids = self.filesystem_of(file).filter(|found| found.kind == "proc")?.place.pid;
        let level = inner::levels(&self.all, pids).len();
        let (process, thread) = process_file::subject(&file.link)?;
        let is_called = |status: &Status, number: i32| status.namespace_pid.get(level) == Some(&number);
        let lives = |place: &Place| {
            inner::levels(&self.all, place.pid).get(..level) == Some(&inner::levels(&self.all, pids)[..])
        };
        let all = processes.iter().zip(&self.places).filter(|(_, place)| lives(place));
        let (found, _) = all.into_iter().find(|(found, _)| is_called(&found.status, process.0))?;
        let Some(thread) = thread else { return Some((found.pid, None)) };
        let threads = found.living.as_ref().map(|living| living.threads.as_slice()).unwrap_or_default();
        let thread = threads.iter().find(|one| is_called(&one.status, thread.0))?;
        Some((found.pid, Some(thread.tid)))
    }

    /// Completes the records; answers those of the filesystems that are mounted.
    pub fn complete(
        &mut self,
        (files, control_groups): (&mut [OpenFile], &mut Captured),
        sink: &PageSink,
        buffer: &mut PageBuffer,
    ) -> Result<Vec<Filesystem>, Problem> {
        self.mark(files);
        self.root(control_groups);
        self.capture(sink, buffer)
    }

    /// Reads the content of their filesystems into the image.
    fn capture(&mut self, sink: &PageSink, buffer: &mut PageBuffer) -> Result<Vec<Filesystem>, Problem> {
        let mut plan = std::mem::take(&mut self.plan);
        for (table, (_, within)) in self.mounted.iter().enumerate() {
            MountsWithin::among(Some(within), || plan.read(table, sink, buffer)).map_err(MountsWithin::unseen)??;
        }
        let (filesystems, tables) = plan.into_parts();
        for ((index, _), mounts) in self.mounted.iter().zip(tables) {
            self.all[*index].mounts = mounts;
        }
        Ok(filesystems)
    }
}

/// The id of the mount that a file with a name was opened on.
fn mount_of(file: &FileFacts) -> Option<u64> {
    if file.link.starts_with(b"/") {
        return u64::try_from(file.info.mount_id).ok();
    }
    let bound = is_unix(file).then(|| socket::bound_file(&file.file).ok()).flatten()?;
    files::place(&procfs::descriptor(&bound)).ok().map(|place| place.mount)
}

/// What is in the way of leading a process back to its directories: they must be found by their names among its mounts.
fn stands(living: &mut LivingFacts, pid: Pid, own: &MountsWithin) -> Vec<Phrase> {
    let folder = proc::thread_folder(pid, living.speaker);
    let mut lost = Vec::new();
    let both = [
        (phrase!("working directory"), "cwd", &living.working_directory, &mut living.ended.working_directory),
        (phrase!("root directory"), "root", &living.root, &mut living.ended.root),
    ];
    for (what, link, path, ended) in both {
        let there = files::place(&folder.join(link)).map(|place| (place.device, place.inode, place.mount));
        let named = || files::place(Path::new(OsStr::from_bytes(path)));
        let named = MountsWithin::among(Some(own), named).and_then(|named| named);
        if there == named.map(|place| (place.device, place.inode, place.mount)) {
            // One of a process that is seen there by another number.
            *ended = false;
        } else if !*ended && !proc::strip_deleted(path).1 {
            lost.push(phrase!("its {what} is not among the mounts that it lives with", what));
        }
    }
    lost
}
