//! What a person calls a group, and its icon: from the desktop entries of the system where there is one, else from the
//! command line.
//!
//! The engine knows no home directory: which folders to look into is said by [`DataFolders`].

pub mod command;
pub mod entry;
mod folder;
pub mod language;

use std::collections::HashMap;
use std::path::PathBuf;

use dormouse_wire::GroupKind;

use super::everyone::Process;
use super::groups::Group;
use crate::proc::{self, cmdline};
use entry::Entry;

/// Where desktop entries lie, and which names of theirs to take.
#[derive(Clone, Debug, Default)]
pub struct DataFolders {
    /// The folders that have a folder `applications`, the most important first: `XDG_DATA_HOME` and `XDG_DATA_DIRS` of the
    /// XDG Base Directory Specification.
    pub folders: Vec<PathBuf>,
    /// The locale for messages, setlocale(3), such as `de_DE.UTF-8`.
    pub locale: String,
}

/// The desktop entries of the system, read once.
#[derive(Debug, Default)]
pub struct Entries {
    all: Vec<Entry>,
    by_id: HashMap<String, usize>,
    by_program: HashMap<Vec<u8>, usize>,
}

/// What a group is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: String,
    /// `Icon` of the desktop entry.
    pub icon: Option<String>,
    /// The desktop file ID without `.desktop`.
    pub application: Option<String>,
}

impl Entries {
    /// Reads them. What cannot be read is as if it were not there.
    pub fn read(folders: &DataFolders) -> Self {
        Self::new(folder::read(&folders.folders, &language::wanted(&folders.locale)))
    }

    /// Sorts entries, the most important first, so that they are found.
    fn new(found: Vec<Entry>) -> Self {
        let mut sorted = Self::default();
        for entry in found {
            // A hidden entry hides those of its ID in later folders.
            sorted.by_id.entry(entry.id.clone()).or_insert(sorted.all.len());
            sorted.all.push(entry);
        }
        let entries = &sorted.all;
        sorted.by_id.retain(|_, index| !entries[*index].hidden);
        for index in sorted.by_id.values().copied() {
            let rank = |index: usize| (entries[index].no_display, entries[index].words, &entries[index].id);
            let Some(program) = entries[index].program.clone() else { continue };
            let best = sorted.by_program.entry(program).or_insert(index);
            if rank(index) < rank(*best) {
                *best = index;
            }
        }
        sorted
    }

    /// The entry with this desktop file ID, without `.desktop`.
    pub fn by_id(&self, id: &str) -> Option<&Entry> {
        self.by_id.get(id).and_then(|index| self.all.get(*index))
    }

    /// The entry of a window: of the class that X11 windows have (WM_CLASS, either part), or the application id that Wayland
    /// windows have.
    pub fn by_window_class(&self, class: &str) -> Option<&Entry> {
        let find = |fits: &dyn Fn(&Entry) -> bool| {
            self.by_id.values().map(|index| &self.all[*index]).filter(|entry| fits(entry)).min_by_key(|entry| &entry.id)
        };
        let same = |text: &str| text.eq_ignore_ascii_case(class);
        if class.is_empty() {
            return None;
        }
        find(&|entry| entry.window_class.as_deref() == Some(class))
            .or_else(|| self.by_id(class))
            .or_else(|| find(&|entry| entry.window_class.as_deref().is_some_and(same)))
            .or_else(|| find(&|entry| same(&entry.id)))
            .or_else(|| find(&|entry| entry.id.rsplit('.').next().is_some_and(same)))
    }

    /// The entry that starts the program which a process runs.
    pub fn by_program(&self, process: &Process) -> Option<&Entry> {
        let executable = process.executable.as_deref().map(|path| command::base(proc::strip_deleted(path).0));
        let is_its_own = |name: &&[u8]| !command::is_interpreter(name) && !command::is_launcher(name);
        let command = command_of(process);
        let (own, script) = command
            .map_or((None, None), |command| ((!command.is_interpreter).then_some(command.program), command.script));
        let names = [executable.filter(is_its_own), own.as_deref(), script.as_deref()];
        names.into_iter().flatten().find_map(|name| self.all.get(*self.by_program.get(name)?))
    }

    /// What a person calls a group.
    pub fn name(&self, group: &Group<'_>) -> Name {
        let applications = group.unit.as_ref().map_or(&[][..], |unit| &unit.applications);
        let known = applications.iter().find_map(|id| self.by_id(id));
        // Flatpak and wrappers begin with a process that only starts the app.
        let most = if group.kind == GroupKind::App { usize::MAX } else { 1 };
        let known = known.or_else(|| group.members.iter().take(most).find_map(|process| self.by_program(process)));
        match known {
            Some(entry) => {
                Name { name: entry.name.clone(), icon: entry.icon.clone(), application: Some(entry.id.clone()) }
            }
            None => Name { name: plain_name(group), icon: None, application: None },
        }
    }
}

/// The name of a group without a desktop entry.
fn plain_name(group: &Group<'_>) -> String {
    if let Some(unit) = &group.unit {
        // `org.example.Thing` is called Thing.
        let application = unit.applications.first().filter(|_| unit.kind == GroupKind::App);
        let application = application.and_then(|id| id.rsplit('.').next()).filter(|name| !name.is_empty());
        if let Some(name) = application.or_else(|| unit.name.strip_suffix(".service")) {
            return name.to_owned();
        }
    }
    let own = name_of(group.first);
    match job(group) {
        Some(job) => format!("{own}: {}", name_of(job)),
        None => own,
    }
}

/// What runs in the foreground of an interactive shell's terminal.
fn job<'a>(group: &Group<'a>) -> Option<&'a Process> {
    let shell = group.first;
    let is_shell = command_of(shell).is_some_and(|command| command.is_interpreter && command.script.is_none());
    let foreground = shell.foreground.filter(|foreground| is_shell && *foreground != shell.process_group)?;
    group.members.iter().find(|process| process.pid == foreground).copied()
}

fn command_of(process: &Process) -> Option<command::Command> {
    let words: Vec<&[u8]> = cmdline::words(process.arguments.as_deref()?).collect();
    command::read(&words)
}

/// How many bytes the kernel keeps of a command name, `TASK_COMM_LEN` without the NUL.
const COMM: usize = 15;

/// What a person calls a process: its command name, whole where the command line has more of it, and with its script where
/// it is an interpreter.
pub fn name_of(process: &Process) -> String {
    let is_comm = |name: &[u8]| process.comm == name[..name.len().min(COMM)];
    let name = match command_of(process) {
        Some(command) => match command.script {
            Some(script) if is_comm(&script) => script,
            Some(script) if is_comm(&command.program) => [&command.program, &b" "[..], &script].concat(),
            None if is_comm(&command.program) => command.program,
            _ => process.comm.clone(),
        },
        None => process.comm.clone(),
    };
    String::from_utf8_lossy(&name).into_owned()
}

#[cfg(test)]
mod tests;
