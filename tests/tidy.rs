//! What a program can check of how the code looks: sizes, where unsafe stands, which way imports run, names, and that
//! every kind has its program in the zoo and its row in FORMAT.md. Plain rules over plain text.
#![allow(clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What lets a file or a function be longer, with the reason behind it.
const LONG: &str = "// tidy: long because";
const MOST_LINES: usize = 500;
const MOST_LINES_OF_A_FUNCTION: usize = 60;

/// The engine's modules; each may use those before it. Those in one step may not use each other.
const STEPS: [&[&str]; 10] = [
    &["model"],
    &["kernel"],
    &["proc"],
    &["puppet"],
    &["image"],
    &["resource"],
    &["survey"],
    &["pid_namespace"],
    &["freeze", "thaw", "pause"],
    &["lib"],
];

/// A source file of the project.
struct Source {
    /// From the workspace's folder on.
    path: PathBuf,
    text: String,
}

impl Source {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn is_under(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| panic!("the tests lie in no workspace"))
}

/// Every Rust file of the project.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in ["core", "app", "tests"] {
        collect(&workspace().join(folder), &mut found);
    }
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let path = path.strip_prefix(workspace()).map_or_else(|_| path.clone(), Path::to_owned);
            found.push(Source { path, text });
        }
    }
}

/// Fails with all that was found.
fn nothing(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

/// The line without its comment. A `//` within a string cuts too much, which finds too little and never too much.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// The words of a line of code.
fn words(line: &str) -> impl Iterator<Item = &str> {
    code(line).split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let long = |source: &Source| source.text.lines().count() > MOST_LINES && !source.text.contains(LONG);
    let found: Vec<String> = sources()
        .iter()
        .filter(|source| long(source))
        .map(|source| format!("{}: {} lines", source.name(), source.text.lines().count()))
        .collect();
    nothing(&found, "files that ask for their own split, or for a reason (`// tidy: long because ...`)");
}

#[test]
fn no_function_is_longer_than_60_lines() {
    let found: Vec<String> = sources().iter().flat_map(long_functions).collect();
    nothing(&found, "functions that ask for their own split, or for a reason above them (`// tidy: long because ...`)");
}

/// The code is formatted: a function ends with a brace that stands as far in as its first line.
fn long_functions(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        if !words(line).any(|word| word == "fn") || !code(line).trim_end().ends_with(['{', '(']) {
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let is_end = |line: &&str| line.strip_prefix(indent).is_some_and(|rest| rest.starts_with('}'));
        let length = lines[start..].iter().position(is_end).map_or(0, |end| end + 1);
        let reason = lines[start.saturating_sub(6)..start].iter().any(|line| line.contains(LONG));
        if length > MOST_LINES_OF_A_FUNCTION && !reason {
            found.push(format!("{}:{}: {length} lines", source.name(), start + 1));
        }
    }
    found
}

#[test]
fn unsafe_stands_where_it_may() {
    const HOMES: [&str; 4] = ["core/engine/src/kernel", "core/engine/src/puppet", "app/src/accessible", "tests"];
    let at_home = |source: &Source| {
        let file = |home: &str| source.path == Path::new(&format!("{home}.rs"));
        HOMES.iter().any(|home| source.is_under(home) || file(home))
    };
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !at_home(source)) {
        for (number, line) in source.text.lines().enumerate() {
            if words(line).any(|word| word == "unsafe") {
                found.push(format!("{}:{}: {}", source.name(), number + 1, line.trim()));
            }
        }
    }
    nothing(&found, "unsafe outside its homes");
}

#[test]
fn the_engines_imports_run_one_way() {
    let engine = Path::new("core/engine/src");
    let step_of = |module: &str| STEPS.iter().position(|step| step.contains(&module));
    let mut found = Vec::new();
    for source in sources() {
        let Ok(inside) = source.path.strip_prefix(engine) else { continue };
        let Some(own) =
            inside.iter().next().and_then(|first| first.to_str()).map(|first| first.trim_end_matches(".rs"))
        else {
            continue;
        };
        for (number, line) in source.text.lines().enumerate() {
            for used in code(line).split("crate::").skip(1).flat_map(first_segments) {
                let upwards = match (step_of(own), step_of(used)) {
                    (Some(own_step), Some(used_step)) => used_step > own_step || (used_step == own_step && used != own),
                    _ => false,
                };
                if upwards {
                    found.push(format!("{}:{}: `{own}` uses `{used}`", source.name(), number + 1));
                }
            }
        }
    }
    nothing(&found, "imports that run upwards");
}

/// What follows `crate::`: one name, or several in braces.
fn first_segments(path: &str) -> Vec<&str> {
    let names = path.strip_prefix('{').map_or(vec![path], |several| several.split(',').collect());
    let first = |name: &'_ str| {
        name.trim().len()
            - name.trim().trim_start_matches(|letter: char| letter.is_alphanumeric() || letter == '_').len()
    };
    names.into_iter().map(|name| &name.trim()[..first(name)]).collect()
}

#[test]
fn no_module_is_named_after_nothing() {
    const EMPTY: [&str; 9] = ["util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "stuff"];
    let empty = |part: &str| part.trim_end_matches(".rs").split('_').any(|word| EMPTY.contains(&word));
    let found: Vec<String> = sources()
        .iter()
        .filter(|source| source.path.iter().filter_map(|part| part.to_str()).any(empty))
        .map(Source::name)
        .collect();
    nothing(&found, "names that say nothing");
}

/// The files of the engine that hold a kind: its stem, and the file.
fn kinds() -> Vec<(String, Source)> {
    const FOLDERS: [&str; 4] = ["fd", "memory", "system_v", "task"];
    let resource = Path::new("core/engine/src/resource");
    let is_kind = |source: &Source| {
        FOLDERS.iter().any(|folder| source.path.starts_with(resource.join(folder))) && !source.path.ends_with("mod.rs")
    };
    let stem = |source: &Source| source.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
    sources().into_iter().filter(is_kind).map(|source| (stem(&source), source)).collect()
}

/// The programs in the zoo's table.
fn programs() -> BTreeSet<String> {
    let table = fs::read_to_string(workspace().join("tests/zoo/table.rs")).unwrap_or_else(|error| panic!("{error}"));
    let name = |line: &str| {
        let (name, users) = line.trim().split_once(": ")?;
        let users = users.split(['.', ';']).next()?.trim();
        ["root", "user", "both"].contains(&users).then(|| name.to_owned())
    };
    table.lines().filter_map(name).collect()
}

/// A kind says which programs hold it in a line `// zoo: NAME NAME`, or why none can: `// zoo: none, because ...`. A file
/// that only serves the kinds beside it says `// zoo: no kind`.
#[test]
fn every_kind_has_its_program_in_the_zoo() {
    let programs = programs();
    assert!(programs.len() > 50, "the zoo's table is not read any more");
    let mut found = Vec::new();
    for (_, source) in kinds() {
        let named: Vec<&str> =
            source.text.lines().filter_map(|line| line.trim().strip_prefix("// zoo:")).map(str::trim).collect();
        if named.is_empty() {
            found.push(format!("{}: no line `// zoo: PROGRAM`", source.name()));
        }
        for line in named.iter().filter(|line| !line.starts_with("none, because") && **line != "no kind") {
            let unknown = line.split_whitespace().filter(|name| !programs.contains(*name));
            found.extend(unknown.map(|name| format!("{}: there is no program {name} in the zoo", source.name())));
        }
    }
    nothing(&found, "kinds without a program");
}

#[test]
fn every_program_of_the_zoo_is_in_its_table() {
    let programs = programs();
    let zoo = Path::new("tests/zoo");
    let is_program = |source: &&Source| source.path.parent() == Some(zoo) && source.text.contains("\npub fn hold(");
    let found: Vec<String> = sources()
        .iter()
        .filter(is_program)
        .filter(|source| source.path.file_stem().is_none_or(|stem| !programs.contains(&*stem.to_string_lossy())))
        .map(Source::name)
        .collect();
    nothing(&found, "programs that no test runs");
}

#[test]
fn the_format_mentions_every_kind() {
    let text = fs::read_to_string(workspace().join("core/FORMAT.md")).unwrap_or_default().to_lowercase();
    let told = |kind: &str| text.contains(kind) || text.contains(&kind.replace('_', " "));
    let is_kind = |source: &Source| !source.text.contains("// zoo: no kind");
    let silent = kinds().into_iter().filter(|(kind, source)| is_kind(source) && !told(kind)).map(|(kind, _)| kind);
    nothing(&silent.collect::<Vec<_>>(), "kinds that core/FORMAT.md is silent about");
}
