//! The thread that looks at all processes, and remembers what it saw for a moment.

use std::collections::{BTreeSet, HashMap};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use dormouse_engine::survey::connections::Connections;
use dormouse_engine::survey::everyone::Everyone;
use dormouse_engine::survey::groups;
use dormouse_engine::survey::listing::{self, Whose};
use dormouse_engine::survey::names::Entries;
use dormouse_wire::{Graph, Listed, Phrase, Pid};
use nix::unistd::{Uid, User};
use tokio::sync::{Notify, oneshot};

use super::guard;
use crate::folders;

/// A look is good for so long: many ask at once.
const FRESH: Duration = Duration::from_millis(700);
/// Desktop entries are read again after so long.
const ENTRIES_FRESH: Duration = Duration::from_mins(1);

/// The way to the thread.
#[derive(Debug)]
pub struct Survey {
    asks: mpsc::Sender<Ask>,
    hurry: Notify,
}

/// A group, and why it is left alone if it is.
#[derive(Clone, Debug)]
pub struct Group {
    /// The group.
    pub listed: Listed,
    /// Why it must run on: a clause without a full stop.
    pub guarded: Option<Phrase>,
}

/// Why no group was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// There is none.
    Absent,
    /// It is another user's.
    Foreign,
    /// There was no list to look into.
    Unlisted(String),
}

#[derive(Debug)]
enum Ask {
    List(Whose, oneshot::Sender<Result<Vec<Listed>, NotFound>>),
    Find { id: String, user: u32, caller: Option<Pid>, answer: oneshot::Sender<Result<Group, NotFound>> },
    Forget,
}

impl Survey {
    /// Starts the thread; it ends with this.
    pub fn begin() -> Self {
        let (asks, asked) = mpsc::channel();
        thread::spawn(move || {
            let mut looker = Looker::new();
            for ask in asked {
                looker.answer(ask);
            }
        });
        Self { asks, hurry: Notify::new() }
    }

    /// The groups as they are now, or were a moment ago.
    pub async fn list(&self, whose: Whose) -> Result<Vec<Listed>, NotFound> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::List(whose, answer), answered).await
    }

    /// The group of this user that has the id, or a process with that pid; `caller`: who wants to know.
    pub async fn find(&self, id: String, user: u32, caller: Option<Pid>) -> Result<Group, NotFound> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Find { id, user, caller, answer }, answered).await
    }

    async fn ask<T>(&self, ask: Ask, answered: oneshot::Receiver<Result<T, NotFound>>) -> Result<T, NotFound> {
        let gone = || NotFound::Unlisted("the survey has ended".to_owned());
        self.asks.send(ask).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Something has changed: what was seen is old, and watchers want to know.
    pub fn hurry(&self) {
        let _ = self.asks.send(Ask::Forget);
        self.hurry.notify_one();
    }

    /// Waits until [`Self::hurry`].
    pub async fn hurried(&self) {
        self.hurry.notified().await;
    }
}

#[derive(Debug)]
struct Looker {
    everyone: Everyone,
    entries: (Entries, Instant),
    names: HashMap<u32, Option<String>>,
    seen: Option<Seen>,
}

/// What was seen at a moment.
#[derive(Debug)]
struct Seen {
    when: Instant,
    groups: Vec<(Listed, BTreeSet<u32>)>,
    graph: Graph,
}

impl Looker {
    fn new() -> Self {
        let entries = (Entries::read(&folders::of_environment()), Instant::now());
        Self { everyone: Everyone::new(), entries, names: HashMap::new(), seen: None }
    }

    fn answer(&mut self, ask: Ask) {
        // Nobody waits for the answer where sending it fails.
        match ask {
            Ask::Forget => self.seen = None,
            Ask::List(whose, answer) => drop(answer.send(self.seen().map(|seen| seen.list(whose)))),
            Ask::Find { id, user, caller, answer } => {
                let mut found = self.seen().and_then(|seen| seen.find(&id, user, caller));
                if found.is_err() {
                    // It may have started a moment ago.
                    self.seen = None;
                    found = self.seen().and_then(|seen| seen.find(&id, user, caller));
                }
                drop(answer.send(found));
            }
        }
    }

    fn seen(&mut self) -> Result<&Seen, NotFound> {
        let seen = match self.seen.take() {
            Some(seen) if seen.when.elapsed() < FRESH => seen,
            _ => self.look()?,
        };
        Ok(self.seen.insert(seen))
    }

    fn look(&mut self) -> Result<Seen, NotFound> {
        if self.entries.1.elapsed() > ENTRIES_FRESH {
            self.entries = (Entries::read(&folders::of_environment()), Instant::now());
        }
        let processes = self.everyone.look().map_err(|error| NotFound::Unlisted(error.to_string()))?;
        let graph = Connections::look().graph;
        let joined = groups::joined(groups::of(processes), &graph, Pid(std::process::id() as i32));
        let names = &mut self.names;
        let mut name = |uid: u32| {
            let found = || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
            names.entry(uid).or_insert_with(found).clone()
        };
        let entries = &self.entries.0;
        let groups = joined.iter().map(|group| {
            let mut listed = listing::listed(group, entries);
            listed.user = listed.uid.and_then(&mut name);
            let users = group.members.iter().filter_map(|process| process.uid).collect();
            (listed, users)
        });
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by(|(one, _), (other, _)| {
            other.memory.cmp(&one.memory).then_with(|| one.first_pid.cmp(&other.first_pid))
        });
        Ok(Seen { when: Instant::now(), groups, graph })
    }
}

impl Seen {
    fn list(&self, whose: Whose) -> Vec<Listed> {
        let wanted = |users: &BTreeSet<u32>| match whose {
            Whose::All | Whose::User(0) => true,
            Whose::User(user) => users.contains(&user),
        };
        // What has ended, and only waits for its parents to take note, does not run.
        let runs = |listed: &Listed| !listed.ended;
        let wanted = self.groups.iter().filter(|(listed, users)| runs(listed) && wanted(users));
        wanted.map(|(listed, _)| listed.clone()).collect()
    }

    fn find(&self, id: &str, user: u32, caller: Option<Pid>) -> Result<Group, NotFound> {
        let pid = id.parse().ok().map(Pid);
        let has_id = |listed: &Listed| listed.id == id || listed.joined.iter().any(|part| part.id == id);
        let has_pid = |listed: &Listed| listed.members.iter().any(|member| Some(member.pid) == pid);
        let found = self.groups.iter().find(|(listed, _)| has_id(listed));
        let found = found.or_else(|| self.groups.iter().find(|(listed, _)| has_pid(listed)));
        let (listed, users) = found.ok_or(NotFound::Absent)?;
        if user != 0 && !users.contains(&user) {
            return Err(NotFound::Foreign);
        }
        Ok(Group { listed: listed.clone(), guarded: guard::reason(listed, &self.graph, caller) })
    }
}
