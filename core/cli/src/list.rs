//! `dormouse list`: the groups of this machine.

mod machine;
mod watch;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dormouse_engine::survey::connections::Connections;
use dormouse_engine::survey::everyone::Everyone;
use dormouse_engine::survey::groups;
use dormouse_engine::survey::listing::{self, Whose};
use dormouse_engine::survey::names::Entries;
use dormouse_engine::{Born, Selection};
use dormouse_wire::{Disconnect, Graph, Listed, Pid, Verdict};
use nix::unistd::{Uid, User};

use crate::exit::{Failure, Outcome};
use crate::output::{self, Table};
use dormouse_service::{folders, when};

use crate::picture::Picture;

/// Lists what runs, as groups: apps, services, sessions.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Every process belongs to one group: its systemd unit where it has one, else its session (setsid(2)), else the tree it grew \
in. A shell in a terminal is a group of its own. A group is meant by its id, which is the first column, or by the pid of any \
of its processes. Groups that cannot be cut from each other are one: they share a pipe, say, or memory. The largest comes \
first; memory that processes share counts for each of them.

Without root, processes of other users show less of themselves: their programs may not be known. What is not known is left \
out, and never guessed.

With --json, the list is an array of objects, and with --watch such an array in one line every 2 seconds. Fields may be \
added; none changes its meaning, and what is not known is absent:
  id           what to type to mean the group
  kind         app, service, session or tree
  name         what a person calls it, in the person's language
  icon         name or file of its icon
  application  its desktop file, without .desktop
  unit         its systemd unit
  first_pid    the process that the others came from
  processes    how many processes it has
  members      the processes, each with pid and comm
  joined       groups that are part of it because they cannot be cut from it, each with its id and what it goes through
  memory       bytes of memory, with what is shared counted for each
  private      bytes of it that belong to no file and are shared with nobody but by copy-on-write
  swap         bytes of it in swap space
  cpu          processors used since the list before (0.5 is half of one); not in a first list
  started      when the first process started, in seconds since 1970-01-01 UTC
  uid, user    who the first process belongs to
  paused       whether all of it stands still
  ended        whether all of it has ended, and only waits for its parents to take note
  verdict      with --check: freezable, lossy or blocked, and the reasons, as in `check --json`

Examples:
  dormouse list
  dormouse list --watch
  dormouse list --check
  dormouse list --graph svg > machine.svg
  dormouse list --json | jq -r '.[] | select(.kind == \"app\") | .id'")]
#[expect(clippy::struct_excessive_bools, reason = "options of the command line")]
pub struct Arguments {
    /// Write the list to standard output as JSON.
    #[arg(long)]
    json: bool,

    /// Say of each group whether it can be frozen, as `dormouse check` does: each stands still for some milliseconds.
    #[arg(long, conflicts_with = "watch")]
    check: bool,

    /// List again every 2 seconds, until Ctrl-C.
    #[arg(long)]
    watch: bool,

    /// Write a picture of the groups and of what ties them to each other to standard output: in the language of Graphviz, or
    /// drawn. Of many processes it shows only their groups.
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with_all = ["json", "check", "watch"])]
    graph: Option<Picture>,

    /// List the groups of all users, and not only yours; root always sees all.
    #[arg(long)]
    all: bool,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    match list(&arguments) {
        Err(failure) if arguments.json && !arguments.watch => Err(output::failure_as_json(failure)),
        outcome => outcome,
    }
}

fn list(arguments: &Arguments) -> Outcome {
    let mut lister = Lister::new(arguments.all);
    if arguments.watch {
        return watch::run(&mut lister, arguments.json);
    }
    if let Some(form) = arguments.graph {
        let (list, graph) = lister.look_with_ties()?;
        form.print(&machine::dot(&list, &graph))?;
        lister.tell_what_is_hidden();
        return Ok(ExitCode::SUCCESS);
    }
    let mut list = lister.look()?;
    if arguments.check {
        list.iter_mut().for_each(judge);
    }
    if arguments.json {
        output::json(&list)?;
    } else if list.is_empty() {
        output::say("Nothing of yours runs; --all lists the groups of all users.");
    } else {
        output::print(&table(&list, false, SystemTime::now()).within(output::width(), FLEXIBLE))?;
    }
    lister.tell_what_is_hidden();
    Ok(ExitCode::SUCCESS)
}

/// Says of a group what a freeze of it would say.
fn judge(group: &mut Listed) {
    let others = group.members.iter().map(|member| member.pid).filter(|pid| *pid != group.first_pid).collect();
    let selection = Selection {
        pid: group.first_pid,
        others,
        born: Born::default(),
        tree_only: false,
        disconnect: Disconnect::Nothing,
        keep_connections: false,
        asker: None,
    };
    group.verdict = Some(dormouse_engine::verdict(&selection));
}

/// A verdict in a word or two.
fn brief(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Freezable => "yes",
        Verdict::Lossy(_) => "with losses",
        Verdict::Blocked(_) => "no",
    }
}

/// Lists again and again.
#[derive(Debug)]
pub struct Lister {
    everyone: Everyone,
    entries: Entries,
    whose: Whose,
    users: HashMap<u32, Option<String>>,
}

impl Lister {
    /// For everybody's groups, or for those of the caller; root's are everybody's.
    pub fn new(all: bool) -> Self {
        let own = Uid::current();
        Self::with(if all || Uid::effective().is_root() { Whose::All } else { Whose::User(own.as_raw()) })
    }

    /// For the groups in which this user has a process.
    pub fn of_user(user: Uid) -> Self {
        Self::with(Whose::User(user.as_raw()))
    }

    fn with(whose: Whose) -> Self {
        Self {
            everyone: Everyone::new(),
            entries: Entries::read(&folders::of_environment()),
            whose,
            users: HashMap::new(),
        }
    }

    /// The groups as they are now.
    pub fn look(&mut self) -> Result<Vec<Listed>, Failure> {
        Ok(self.look_with_ties()?.0)
    }

    /// The groups as they are now, and what ties everybody together.
    pub fn look_with_ties(&mut self) -> Result<(Vec<Listed>, Graph), Failure> {
        let processes =
            self.everyone.look().map_err(|error| Failure::new(format!("The processes cannot be listed: {error}.")))?;
        let graph = Connections::look().graph;
        let groups = groups::joined(groups::of(processes), &graph, Pid(std::process::id() as i32));
        let mut list = listing::of(&groups, &self.entries, self.whose);
        for group in &mut list {
            let Some(uid) = group.uid else { continue };
            let name = || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
            group.user.clone_from(self.users.entry(uid).or_insert_with(name));
        }
        Ok((list, graph))
    }

    /// When everybody started who was there at the last look.
    pub fn born(&self) -> Born {
        self.everyone.processes().iter().map(|process| (process.pid, process.start_time)).collect()
    }

    /// Says what root would see more, if there was anything.
    pub fn tell_what_is_hidden(&self) {
        if Uid::effective().is_root() {
            return;
        }
        let processes = self.everyone.processes();
        if !processes.iter().any(|process| process.pid == Pid(1)) {
            return output::say("This system hides the processes of other users (hidepid); root would see them.");
        }
        let is_listed = |uid: Option<u32>| match self.whose {
            Whose::All => true,
            Whose::User(own) => uid == Some(own),
        };
        let hidden = processes.iter().filter(|process| process.hidden && is_listed(process.uid)).count();
        if hidden > 0 {
            let which = output::count(hidden, "process does", "processes do");
            output::say(&format!(
                "{which} not show everything to you, so that a name may be missing; root would see it."
            ));
        }
    }
}

/// The columns that may be shortened, and to how many letters.
pub const FLEXIBLE: &[(usize, usize)] = &[(0, 12), (1, 12)];

/// The list for a person. The share of the processor is known from the second list on.
pub fn table(list: &[Listed], cpu: bool, now: SystemTime) -> Table {
    let judged = list.iter().any(|group| group.verdict.is_some());
    let mut heads = vec!["GROUP", "NAME", "PROCESSES", "MEMORY"];
    heads.extend(cpu.then_some("CPU"));
    heads.extend(["STATE", "STARTED"]);
    heads.extend(judged.then_some("FREEZABLE"));
    let mut table = Table::new(&heads, if cpu { &[2, 3, 4] } else { &[2, 3] });
    for group in list {
        let memory = group.memory.map_or_else(|| "-".to_owned(), |memory| memory.to_string());
        let share = group.cpu.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0));
        let state = match group {
            Listed { ended: true, .. } => "ended",
            Listed { paused: true, .. } => "paused",
            _ => "running",
        };
        let start = group.started.and_then(|started| UNIX_EPOCH.checked_add(Duration::from_secs(started)));
        let age =
            start.map_or_else(|| "-".to_owned(), |start| when::ago(now.duration_since(start).unwrap_or_default()));
        let mut cells = vec![group.id.clone(), group.name.clone(), group.processes.to_string(), memory];
        cells.extend(cpu.then_some(share));
        cells.extend([state.to_owned(), age]);
        cells.extend(judged.then(|| group.verdict.as_ref().map_or("-", brief).to_owned()));
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use dormouse_wire::{ByteSize, GroupKind};

    use super::*;

    #[test]
    fn a_list_fits_a_narrow_terminal() {
        let group = Listed {
            id: "app-gnome-org.gnome.Calculator-1234.scope".to_owned(),
            kind: GroupKind::App,
            name: "Calculator".to_owned(),
            icon: None,
            application: None,
            unit: None,
            first_pid: Pid(1234),
            processes: 3,
            members: Vec::new(),
            joined: Vec::new(),
            memory: Some(ByteSize(52_400_000)),
            private: None,
            swap: None,
            cpu: Some(0.125),
            started: Some(1000),
            uid: None,
            user: None,
            paused: true,
            ended: false,
            verdict: None,
        };
        let now = UNIX_EPOCH + Duration::from_secs(1300);
        let shown = table(&[group], true, now).within(72, FLEXIBLE);
        assert_eq!(
            shown,
            "GROUP            NAME        PROCESSES   MEMORY   CPU  STATE   STARTED\n\
             app-gnome-org.…  Calculator          3  52.4 MB  12 %  paused  5 min ago\n"
        );
    }
}
