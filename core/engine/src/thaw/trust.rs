//! Whose image it is, and whether it holds more than its owner has: whoever can write into an image can write anything
//! into it, and must gain nothing when somebody mightier thaws it.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};

use crate::Asker;
use crate::image::Reader;
use crate::resource::content::Origin;
use crate::resource::fd;
use crate::resource::group::{Group, Life};
use crate::resource::memory::layout::Executable;
use crate::resource::named_file::{NamedFile, shown};
use crate::resource::task::seccomp::Seccomp;

/// Users and groups as whom something of the image is to be done.
#[derive(Debug, Default)]
struct Claims {
    users: BTreeSet<u32>,
    groups: BTreeSet<u32>,
    capabilities: u64,
}

/// What of the image its owner could not have had; `asker`: who wants it, if it is not the engine's own user.
pub fn problems(group: &Group, reader: &Reader, asker: Option<&Asker>) -> Vec<Problem> {
    let path = reader.path().display().to_string();
    let problem =
        |what: Phrase, way_out: Phrase| Problem::blocks(ProblemKind::Privilege, what).at(path.clone()).way_out(way_out);
    let found = match reader.metadata() {
        Ok(found) => found,
        Err(error) => {
            return vec![problem(
                phrase!("whose it is cannot be told: {why}", why = error),
                phrase!("Copy it to another disk"),
            )];
        }
    };
    let mut problems = Vec::new();
    if found.mode() & 0o022 != 0 {
        let what = phrase!(
            "others than its owner may write to it (mode {mode})",
            mode = format_args!("{:o}", found.mode() & 0o7777)
        );
        problems.push(problem(what, phrase!("If you are sure that nobody did: chmod 600 {path}", path)));
    }
    if let Some(asker) = asker
        && asker.user != 0
        && asker.user != found.uid()
    {
        let what =
            phrase!("it belongs to user {uid}, and is wanted by user {user}", uid = found.uid(), user = asker.user);
        problems.push(problem(what, phrase!("Thaw images of your own")));
        return problems;
    }
    if found.uid() != 0 {
        let trust = phrase!("If you trust whoever made it, make it your own: chown root:root {path}", path);
        problems.extend(beyond(group, &found, asker).into_iter().map(|what| problem(what, trust.clone())));
    }
    problems
}

/// What of an image that is not root's its owner could not have had.
fn beyond(group: &Group, found: &Metadata, asker: Option<&Asker>) -> Vec<Phrase> {
    let claims = Claims::of(group);
    let mut beyond = Vec::new();
    let more = |claimed: &BTreeSet<u32>, own: &dyn Fn(u32) -> bool| {
        let more: Vec<String> = claimed.iter().filter(|id| !own(**id)).map(u32::to_string).collect();
        more.join(", ")
    };
    let users = more(&claims.users, &|user| user == found.uid());
    if !users.is_empty() {
        beyond.push(phrase!(
            "it belongs to user {uid}, and holds what belongs to user {users}",
            uid = found.uid(),
            users
        ));
    }
    let of_asker = |group: u32| asker.is_some_and(|asker| asker.user == found.uid() && asker.has_group(group));
    let groups = more(&claims.groups, &|group| group == found.gid() || of_asker(group));
    if !groups.is_empty() {
        beyond.push(phrase!(
            "it belongs to group {gid}, and holds what has the rights of group {groups}",
            gid = found.gid(),
            groups
        ));
    }
    let of_network = fd::network::favours(&group.open_files);
    for favour in favours(group).into_iter().chain(places(group)).chain(of_network) {
        beyond.push(phrase!("it belongs to user {uid}, and holds {favour}", uid = found.uid(), favour));
    }
    if claims.capabilities != 0 {
        beyond.push(phrase!(
            "it belongs to user {uid}, and holds capabilities (bits {capabilities})",
            uid = found.uid(),
            capabilities = format_args!("{:#x}", claims.capabilities)
        ));
    }
    beyond
}

/// Whether an image may name places that the users in it cannot go to: it is root's, or the engine itself is nobody mightier.
pub fn is_mighty(reader: &Reader) -> bool {
    !nix::unistd::Uid::effective().is_root() || reader.metadata().is_ok_and(|found| found.uid() == 0)
}

/// What only a mightier user can have run or been put into: a program that lends its owner's rights, execve(2), and another
/// root directory, chroot(2).
fn places(group: &Group) -> Vec<Phrase> {
    let mut places = Vec::new();
    for process in &group.processes {
        let Some(alive) = process.alive() else { continue };
        if let Executable::Named(file) = alive.memory.layout.executable
            && let Some(path) = group.mapped_files.get(file).map(NamedFile::path)
            && path.metadata().is_ok_and(|found| found.mode() & (libc::S_ISUID | libc::S_ISGID) != 0)
        {
            let program = shown(&path);
            places.push(phrase!(
                "{process}, which runs {program}, a program with rights of its own",
                process = process.shown(),
                program
            ));
        }
        if group.filesystems.get(alive.filesystem).is_some_and(|place| place.root.as_slice() != b"/") {
            places.push(phrase!("{process}, which has a root directory of its own", process = process.shown()));
        }
    }
    places
}

/// What only a mightier user can give: sched(7), ioprio_set(2), proc_pid_oom_score_adj(5), seccomp(2).
fn favours(group: &Group) -> Vec<Phrase> {
    const REAL_TIME: u32 = 1;
    let mut favours = Vec::new();
    for process in &group.processes {
        let Some(alive) = process.alive() else { continue };
        if alive.attributes.oom_score_adjustment < 0 {
            favours.push(phrase!("{process}, which is spared when memory runs out", process = process.shown()));
        }
        for thread in &alive.threads {
            let attributes = &thread.scheduling.attributes;
            let ordinary = [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE];
            if attributes.nice < 0 || !ordinary.contains(&(attributes.policy as i32)) {
                favours.push(phrase!(
                    "{process}, whose thread {tid} runs before others",
                    process = process.shown(),
                    tid = thread.tid
                ));
            }
            if !thread.credentials.no_new_privileges && matches!(thread.seccomp, Seccomp::Filters(_)) {
                favours.push(phrase!(
                    "{process}, whose thread {tid} is filtered without no_new_privs, and so would be a program with rights of its own",
                    process = process.shown(),
                    tid = thread.tid
                ));
            }
            if thread.scheduling.io_priority >> 13 == REAL_TIME {
                favours.push(phrase!(
                    "{process}, whose thread {tid} gets the disk before others",
                    process = process.shown(),
                    tid = thread.tid
                ));
            }
        }
    }
    favours
}

impl Claims {
    fn of(group: &Group) -> Self {
        let mut claims = Self::default();
        let all = group.processes.iter().flat_map(|process| match &process.life {
            Life::Alive(alive) => alive.threads.iter().map(|thread| &thread.credentials).collect(),
            Life::Zombie(zombie) => vec![&zombie.credentials],
        });
        for credentials in all {
            claims.users.extend(credentials.users);
            claims.groups.extend(credentials.groups.iter().chain(&credentials.supplementary));
            claims.capabilities |=
                credentials.permitted | credentials.effective | credentials.ambient | credentials.inheritable;
        }
        let makers = group.contents.iter().filter_map(|content| match &content.origin {
            Origin::Deleted { maker, .. } => Some(maker),
            _ => None,
        });
        for owner in group.mapped_files.iter().map(|file| &file.owner).chain(makers) {
            claims.users.insert(owner.user);
            claims.groups.extend(owner.groups.iter().chain([&owner.group]));
        }
        for content in &group.contents {
            claims.users.insert(content.owner.0);
            claims.groups.insert(content.owner.1);
        }
        let semaphores = group.semaphores.iter().map(|set| &set.known);
        for known in semaphores.chain(group.queues.iter().map(|queue| &queue.known)) {
            claims.users.extend([known.owner.0, known.creator.0]);
            claims.groups.extend([known.owner.1, known.creator.1]);
        }
        for segment in &group.segments {
            claims.users.extend([segment.owner.0, segment.creator.0]);
            claims.groups.extend([segment.owner.1, segment.creator.1]);
        }
        for file in &group.open_files {
            claims.record(&file.record);
        }
        claims
    }

    /// Every kind writes down in the same way with whose rights it is opened ([`Owner`](crate::resource::named_file::Owner)).
    fn record(&mut self, value: &ciborium::Value) {
        match value {
            ciborium::Value::Array(items) => {
                for item in items {
                    self.record(item);
                }
            }
            ciborium::Value::Tag(_, item) => self.record(item),
            ciborium::Value::Map(entries) => {
                let field =
                    |name: &str| entries.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value);
                if let (Some(user), Some(group), Some(groups)) = (field("user"), field("group"), field("groups")) {
                    self.users.extend(id(user));
                    self.groups.extend(id(group));
                    self.groups.extend(groups.as_array().into_iter().flatten().filter_map(id));
                }
                // A file that is put under a name: whoever makes it can give it to nobody else, chown(2). Its group may be that of the folder.
                if let (Some(owner), Some(_)) = (field("owner").and_then(ciborium::Value::as_array), field("maker")) {
                    self.users.extend(owner.first().and_then(id));
                }
                for (_, value) in entries {
                    self.record(value);
                }
            }
            _ => {}
        }
    }
}

fn id(value: &ciborium::Value) -> Option<u32> {
    u32::try_from(i128::from(value.as_integer()?)).ok()
}
