//! Whose image it is, and whether it holds more than its owner has: whoever can write into an image can write anything
//! into it, and must gain nothing when somebody mightier thaws it.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use dormouse_wire::{Problem, ProblemKind};

use crate::image::Reader;
use crate::resource::content::Origin;
use crate::resource::group::{Group, Life};

/// Users and groups as whom something of the image is to be done.
#[derive(Debug, Default)]
struct Claims {
    users: BTreeSet<u32>,
    groups: BTreeSet<u32>,
    capabilities: u64,
}

/// What of the image its owner could not have had.
pub fn problems(group: &Group, reader: &Reader) -> Vec<Problem> {
    let path = reader.path().display().to_string();
    let problem =
        |what: String, way_out: String| Problem::blocks(ProblemKind::Privilege, what).at(path.clone()).way_out(way_out);
    let found = match reader.metadata() {
        Ok(found) => found,
        Err(error) => {
            return vec![problem(format!("whose it is cannot be told: {error}"), "Copy it to another disk".into())];
        }
    };
    let mut problems = Vec::new();
    if found.mode() & 0o022 != 0 {
        let what = format!("others than its owner may write to it (mode {:o})", found.mode() & 0o7777);
        problems.push(problem(what, format!("If you are sure that nobody did: chmod 600 {path}")));
    }
    let claims = Claims::of(group);
    let trust = || format!("If you trust whoever made it, make it your own: chown root:root {path}");
    if found.uid() == 0 {
        return problems;
    }
    let more = |claimed: &BTreeSet<u32>, own: u32| {
        let more: Vec<String> = claimed.iter().filter(|id| **id != own).map(u32::to_string).collect();
        more.join(", ")
    };
    let users = more(&claims.users, found.uid());
    if !users.is_empty() {
        problems.push(problem(
            format!("it belongs to user {}, and holds what belongs to user {users}", found.uid()),
            trust(),
        ));
    }
    let groups = more(&claims.groups, found.gid());
    if !groups.is_empty() {
        let what = format!("it belongs to group {}, and holds what has the rights of group {groups}", found.gid());
        problems.push(problem(what, trust()));
    }
    if claims.capabilities != 0 {
        let what =
            format!("it belongs to user {}, and holds capabilities (bits {:#x})", found.uid(), claims.capabilities);
        problems.push(problem(what, trust()));
    }
    problems
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
