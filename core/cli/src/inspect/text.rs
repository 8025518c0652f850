//! An image as a person reads it: where it comes from, its processes as a tree, what they have open, their memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use ciborium::Value;
use dormouse_engine::resource::fd::OpenFile;
use dormouse_engine::resource::group::{Alive, Group, Life, Process};
use dormouse_engine::resource::memory::mapping::{Backing, Mapping, PAGE, Source};
use dormouse_engine::resource::named_file;
use dormouse_engine::resource::task::control_group::ControlGroup;
use dormouse_wire::{ByteSize, Pid};

use crate::output::{self, Table};
use dormouse_service::look::{Frame, Inside};
use dormouse_service::when;

/// All of it, in lines of at most `width` letters.
pub fn shown(path: &Path, frame: &Frame, inside: &Inside, all_memory: bool, width: usize) -> String {
    let group = &inside.group;
    let mut parts = vec![heading(path, frame, inside), processes(inside).lines(width), files(group).lines(width)];
    parts.push(if all_memory { mappings(group).lines(width) } else { memory(group).lines(width) });
    if !inside.losses.is_empty() {
        let (number, list) = output::listed(&inside.losses, width);
        parts.push(format!("{}:\n\n{list}", output::count(number, "loss was announced", "losses were announced")));
    }
    parts.push(sections(frame).lines(width));
    parts.join("\n")
}

fn heading(path: &Path, frame: &Frame, inside: &Inside) -> String {
    let origin = &inside.origin;
    let frozen = when::date(UNIX_EPOCH + Duration::from_secs(origin.created.min(1 << 40)));
    let lines = [
        ("Image", path.display().to_string()),
        ("Size", format!("{}; {} of memory, stored in {}", frame.size, frame.memory, frame.stored)),
        ("Frozen", format!("{frozen}, by Dormouse {}", origin.version)),
        ("On", format!("{}, Linux {}, {}", origin.host, origin.kernel, origin.machine)),
        ("Command", origin.command.join(" ")),
    ];
    let alone = inside.namespaces.as_ref().map(|namespaces| {
        let needed = namespaces.needed().join(", ");
        [("Its own", format!("namespaces: {}", namespaces.own.join(", "))), ("Needs", needed)]
    });
    let control_groups = control_groups(&inside.group).map(|names| ("Groups", names));
    let lines: Vec<String> = lines
        .iter()
        .chain(&control_groups)
        .chain(alone.iter().flatten())
        .map(|(name, value)| format!("{name:<9}{}\n", output::printable(value)))
        .collect();
    lines.concat()
}

/// The control groups that its first process was in, but for the roots of their hierarchies: controllers and path, as /proc tells them.
fn control_groups(group: &Group) -> Option<String> {
    let first = group.processes.iter().find_map(Process::alive)?;
    let records = first.control_groups.iter().filter_map(|record| group.control_groups.get(*record));
    let name = |record: &ControlGroup| format!("{}:{}", record.controllers.join(","), record.shown());
    let names: Vec<String> = records.filter(|record| !record.is_root()).map(name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The tree: each process behind its parent, moved in by its depth.
fn processes(inside: &Inside) -> Table {
    let (group, names) = (&inside.group, &inside.owners.users);
    let mut table = Table::new(&["PID", "PROCESS", "USER", "THREADS", "MEMORY", "STATE"], &[0, 2, 3, 4]);
    let mut depths: BTreeMap<Pid, usize> = BTreeMap::new();
    for process in ordered(group) {
        let depth = process.family.parent.and_then(|parent| depths.get(&parent)).map_or(0, |depth| depth + 1);
        depths.insert(process.pid(), depth);
        let name = format!("{}{}", "  ".repeat(depth.min(20)), String::from_utf8_lossy(&process.name));
        let [user, threads, memory] = match process.alive() {
            Some(alive) => {
                [user(alive, names), alive.threads.len().to_string(), ByteSize(own_memory(alive)).to_string()]
            }
            None => ["-", "-", "-"].map(str::to_owned),
        };
        table.row([process.pid().to_string(), name, user, threads, memory, state(process)]);
    }
    table
}

/// Depth first. Who stands before its parent, as in an image that lies, is left out by nobody: it comes at the end.
fn ordered(group: &Group) -> Vec<&Process> {
    let mut ordered = Vec::with_capacity(group.processes.len());
    let mut waiting: Vec<usize> =
        (0..group.processes.len()).filter(|index| group.processes[*index].family.parent.is_none()).rev().collect();
    let mut children: BTreeMap<Pid, Vec<usize>> = BTreeMap::new();
    for (index, process) in group.processes.iter().enumerate() {
        if let Some(parent) = process.family.parent {
            children.entry(parent).or_default().push(index);
        }
    }
    while let Some(index) = waiting.pop() {
        let process = &group.processes[index];
        ordered.push(process);
        waiting.extend(children.remove(&process.pid()).into_iter().flatten().rev());
    }
    ordered.extend(children.into_values().flatten().map(|index| &group.processes[index]));
    ordered
}

/// By the name that the user had at the freeze, if that is known.
fn user(alive: &Alive, names: &BTreeMap<u32, Option<String>>) -> String {
    let number = alive.leader().map(|leader| leader.credentials.users[1]);
    let name = number.and_then(|number| names.get(&number)?.as_deref().map(output::printable));
    name.or_else(|| number.map(|number| number.to_string())).unwrap_or_default()
}

fn state(process: &Process) -> String {
    match &process.life {
        Life::Zombie(zombie) => format!("has ended (status {:#x})", zombie.status),
        Life::Alive(alive) if alive.stop.by.is_some() => "stopped".to_owned(),
        Life::Alive(alive) if alive.leader().is_some_and(|leader| leader.exited.is_some()) => {
            "its leader has exited".to_owned()
        }
        Life::Alive(_) => "runs".to_owned(),
    }
}

fn own_memory(alive: &Alive) -> u64 {
    alive.memory.mappings.iter().map(own).fold(0, u64::saturating_add)
}

/// Bytes of a mapping that are the process's own.
fn own(mapping: &Mapping) -> u64 {
    mapping.pages.iter().map(|run| run.count).fold(0, u64::saturating_add).saturating_mul(PAGE)
}

/// Bytes of a mapping that are in the image.
fn stored(mapping: &Mapping) -> u64 {
    let stored = mapping.pages.iter().filter(|run| matches!(run.source, Source::Stored(_)));
    stored.map(|run| run.count).fold(0, u64::saturating_add).saturating_mul(PAGE)
}

/// Each table once, under the first process that has it.
fn files(group: &Group) -> Table {
    let mut table = Table::new(&["PID", "FD", "KIND", "WHAT"], &[0, 1]);
    let mut seen = std::collections::BTreeSet::new();
    for process in &group.processes {
        let Some(alive) = process.alive().filter(|alive| seen.insert(alive.file_table)) else { continue };
        for entry in group.file_tables.get(alive.file_table).into_iter().flat_map(|table| &table.entries) {
            let Some(file) = group.open_files.get(entry.file.0) else { continue };
            table.row([process.pid().to_string(), entry.number.to_string(), file.kind.clone(), what(group, file)]);
        }
    }
    table
}

/// What an open file is, in a few words: its path where its record has one, else what the record says.
fn what(group: &Group, file: &OpenFile) -> String {
    if let Some(index) = file.record.as_integer().filter(|_| file.kind == "content") {
        let content = usize::try_from(i128::from(index)).ok().and_then(|index| group.contents.get(index));
        return content
            .map_or_else(String::new, |content| format!("{}, {}", content.origin.shown(), ByteSize(content.size)));
    }
    match path(&file.record) {
        Some(path) if file.position != 0 => format!("{path}, at {}", file.position),
        Some(path) => path,
        None => scalars(&file.record),
    }
}

fn path(record: &Value) -> Option<String> {
    let entries = record.as_map()?;
    let own = entries.iter().find(|(name, _)| name.as_text() == Some("path")).and_then(|(_, path)| path.as_bytes());
    own.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .or_else(|| entries.iter().find_map(|(_, inner)| path(inner)))
}

fn scalars(record: &Value) -> String {
    let shown = |(name, value): &(Value, Value)| {
        let value = match value {
            Value::Integer(number) => i128::from(*number).to_string(),
            Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
            Value::Text(text) => text.clone(),
            _ => return None,
        };
        Some(format!("{} {value}", name.as_text()?.replace('_', " ")))
    };
    record.as_map().into_iter().flatten().filter_map(shown).collect::<Vec<_>>().join(", ")
}

/// How much there is of each kind of mapping, over all processes.
fn memory(group: &Group) -> Table {
    let mut kinds: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
    for mapping in group.processes.iter().filter_map(|process| process.alive()).flat_map(|alive| &alive.memory.mappings)
    {
        let sum = kinds.entry(kind(mapping)).or_default();
        for (sum, more) in
            sum.iter_mut().zip([1, mapping.end.saturating_sub(mapping.start), own(mapping), stored(mapping)])
        {
            *sum = sum.saturating_add(more);
        }
    }
    let mut table = Table::new(&["MEMORY", "MAPPINGS", "SIZE", "OWN PAGES", "STORED"], &[1, 2, 3, 4]);
    for (kind, [count, size, own, stored]) in kinds {
        table.row([
            kind.to_owned(),
            count.to_string(),
            ByteSize(size).to_string(),
            ByteSize(own).to_string(),
            ByteSize(stored).to_string(),
        ]);
    }
    table
}

fn kind(mapping: &Mapping) -> &'static str {
    match (mapping.backing, mapping.is_shared()) {
        (Backing::Anonymous, _) => "anonymous",
        (Backing::File(_), false) => "of a file, private",
        (Backing::File(_), true) => "of a file, shared",
        (Backing::Content(_), _) => "of a file without a name",
        (Backing::Segment(_), _) => "of System V",
        (Backing::Ring, _) => "of asynchronous I/O",
        (Backing::Vdso | Backing::Vvar, _) => "of the kernel",
    }
}

/// PROT_READ, PROT_WRITE, PROT_EXEC, mmap(2).
const PROTECTIONS: [(i32, char); 3] = [(1, 'r'), (2, 'w'), (4, 'x')];

/// Every mapping.
fn mappings(group: &Group) -> Table {
    let mut table = Table::new(&["PID", "ADDRESSES", "MAY", "OWN PAGES", "SHOWS"], &[0, 3]);
    for process in &group.processes {
        for mapping in process.alive().into_iter().flat_map(|alive| &alive.memory.mappings) {
            let may: String = PROTECTIONS
                .map(|(bit, letter)| if mapping.protection & bit != 0 { letter } else { '-' })
                .iter()
                .collect();
            table.row([
                process.pid().to_string(),
                format!("{:x}-{:x}", mapping.start, mapping.end),
                format!("{may}{}", if mapping.is_shared() { 's' } else { 'p' }),
                ByteSize(own(mapping)).to_string(),
                shows(group, mapping),
            ]);
        }
    }
    table
}

fn shows(group: &Group, mapping: &Mapping) -> String {
    match mapping.backing {
        Backing::File(file) => {
            let path = group.mapped_files.get(file).map_or_else(String::new, |file| named_file::shown(&file.path()));
            format!("{path}, from {:#x}", mapping.offset)
        }
        Backing::Content(content) => {
            group.contents.get(content).map_or_else(String::new, |content| content.origin.shown().into())
        }
        _ => match &mapping.name {
            Some(name) => format!("{} \"{}\"", kind(mapping), String::from_utf8_lossy(name)),
            None => kind(mapping).to_owned(),
        },
    }
}

fn sections(frame: &Frame) -> Table {
    let mut sections = Table::new(&["SECTION", "CODE", "VERSION", "REQUIRED", "SIZE"], &[2, 4]);
    for section in &frame.sections {
        sections.row([
            section.name.clone().unwrap_or_else(|| "unknown here".to_owned()),
            section.code.clone(),
            section.version.to_string(),
            if section.required { "yes" } else { "no" }.to_owned(),
            ByteSize(section.length).to_string(),
        ]);
    }
    sections
}
