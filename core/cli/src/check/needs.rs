//! What a group needs of the system, as a short tree for a person. All of it is in the JSON.

use std::collections::BTreeSet;

use dormouse_wire::needs::{Device, Endpoint, EndpointState, File, Filesystem, Holder, Sandbox, Use};
use dormouse_wire::{Needs, ProcessName};

use crate::output::{self, several};

/// The tree; empty where there is nothing to tell.
pub fn listed(needs: &Needs, width: usize) -> String {
    let mut text = String::new();
    for filesystem in &needs.filesystems {
        text += &output::indented(&mount(filesystem), width, 2);
        for line in files(&filesystem.files) {
            text += &output::indented(&line, width, 6);
        }
    }
    for device in &needs.devices {
        let Device { kind, path, holders } = device;
        text += &output::indented(&format!("{} {path}", kind.shown()), width, 2);
        text += &output::indented(&who(holders), width, 6);
    }
    for (what, holders) in ends(&needs.endpoints) {
        text += &output::indented(&what, width, 2);
        text += &output::indented(&holders, width, 6);
    }
    if let Some(Sandbox { namespaces, paths }) = &needs.sandbox {
        text += &output::indented(&format!("a sandbox of its own (namespaces: {})", namespaces.join(", ")), width, 2);
        if !paths.is_empty() {
            text += &output::indented(&format!("mounted in it: {}", paths.join(", ")), width, 6);
        }
    }
    if text.is_empty() { text } else { format!("\nWhat it needs of this system:\n{text}") }
}

fn mount(filesystem: &Filesystem) -> String {
    let Filesystem { mount_point, source, kind, subtree, elsewhere, .. } = filesystem;
    let Some(mount_point) = mount_point else {
        return match kind.as_str() {
            "" => "files on a mount that nobody sees any more".to_owned(),
            kind => format!("files on {kind} of {source}, by a mount that it does not see"),
        };
    };
    let source =
        if source.is_empty() || source == "none" || source == kind { String::new() } else { format!(" of {source}") };
    let subtree = if subtree == "/" { String::new() } else { format!(", {subtree} in it") };
    let elsewhere = if *elsewhere { ", in a mount namespace of its own" } else { "" };
    format!("{mount_point} ({kind}{source}{subtree}{elsewhere})")
}

/// How many files there are of each use, and the names of those that matter: of few programs and folders, and of what is
/// written.
fn files(files: &[File]) -> Vec<String> {
    let of = |does: Use| -> Vec<String> {
        files.iter().filter(|file| file.uses.contains(&does)).map(|file| file.path.clone()).collect()
    };
    let written: BTreeSet<String> =
        [of(Use::OpenForWriting), of(Use::MappedForWriting)].into_iter().flatten().collect();
    let mut parts = Vec::new();
    for (does, one, many) in [
        (Use::Program, "program", "programs"),
        (Use::WorkingDirectory, "working directory", "working directories"),
        (Use::Root, "root directory", "root directories"),
    ] {
        match of(does) {
            // That of nearly everybody.
            found if found.is_empty() || does == Use::Root && found == ["/"] => {}
            found if found.len() <= 2 => {
                parts.push(format!("{} {}", if found.len() == 1 { one } else { many }, found.join(", ")));
            }
            found => parts.push(output::count(found.len(), one, many)),
        }
    }
    for (does, one, many) in [
        (Use::Library, "library", "libraries"),
        (Use::Mapped, "mapped file", "mapped files"),
        (Use::Open, "file open for reading", "files open for reading"),
    ] {
        let found = of(does);
        if !found.is_empty() {
            parts.push(output::count(found.len(), one, many));
        }
    }
    let mut lines = Vec::new();
    if !parts.is_empty() {
        lines.push(parts.join("; "));
    }
    if !written.is_empty() {
        lines.push(format!("written: {}", several(&Vec::from_iter(written))));
    }
    if lines.is_empty() {
        lines.push("its root directory".to_owned());
    }
    lines
}

/// Ends of one kind that the same processes hold, and these.
fn ends(endpoints: &[Endpoint]) -> Vec<(String, String)> {
    let mut rows: Vec<(&'static str, &Endpoint, Vec<String>, String)> = Vec::new();
    for endpoint in endpoints {
        let (does, holders) = (does(endpoint), who(&endpoint.holders));
        let same = rows.iter_mut().find(|(other, first, _, by)| {
            *other == does
                && first.protocol == endpoint.protocol
                && first.elsewhere == endpoint.elsewhere
                && *by == holders
        });
        match same {
            Some((_, _, places, _)) => places.extend(place(endpoint)),
            None => rows.push((does, endpoint, Vec::from_iter(place(endpoint)), holders)),
        }
    }
    let row = |(does, first, places, holders): (&str, &Endpoint, Vec<String>, String)| {
        let protocol = match first.protocol.as_str() {
            name @ ("tcp" | "udp" | "icmp") => name.to_uppercase(),
            name => name.to_owned(),
        };
        let places = if places.is_empty() { String::new() } else { format!(" {}", several(&places)) };
        let elsewhere = if first.elsewhere { " (in a network of its own)" } else { "" };
        (format!("{protocol}{does}{places}{elsewhere}"), holders)
    };
    rows.into_iter().map(row).collect()
}

/// What an end does, between its protocol and its addresses.
fn does(endpoint: &Endpoint) -> &'static str {
    match endpoint.state {
        EndpointState::Listens => " listens at",
        EndpointState::Bound => " bound to",
        EndpointState::Connecting => " connecting",
        EndpointState::Connected => " connected",
        EndpointState::Closing => " closing",
        _ if endpoint.protocol == "packet" => " socket on",
        _ => " socket",
    }
}

fn place(endpoint: &Endpoint) -> Option<String> {
    match (&endpoint.local, &endpoint.remote) {
        (Some(local), Some(remote)) => Some(format!("{local} to {remote}")),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    }
}

fn who(holders: &[Holder]) -> String {
    let name = |process: &ProcessName| process.to_string();
    several(&holders.iter().map(|holder| name(&holder.process)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use dormouse_wire::needs::{Device, Endpoint, EndpointState, File, Filesystem, Holder, Sandbox, Use};
    use dormouse_wire::{FdNumber, Needs, Pid, ProcessName, ThingKind};

    use super::listed;

    fn process() -> ProcessName {
        ProcessName { pid: Pid(7), comm: "vi".to_owned() }
    }

    fn file(path: &str, uses: &[Use]) -> File {
        File { path: path.to_owned(), uses: uses.to_vec(), processes: vec![process()] }
    }

    fn end(protocol: &str, state: EndpointState, local: &str, remote: Option<&str>) -> Endpoint {
        Endpoint {
            protocol: protocol.to_owned(),
            state,
            local: Some(local.to_owned()),
            remote: remote.map(str::to_owned),
            elsewhere: false,
            holders: vec![Holder { process: process(), descriptors: vec![FdNumber(3)] }],
        }
    }

    #[test]
    fn needs_are_told_with_counts_and_with_the_names_that_matter() {
        let filesystem = |mount_point: Option<&str>, kind: &str, elsewhere, files| Filesystem {
            mount_point: mount_point.map(str::to_owned),
            source: "/dev/sda1".to_owned(),
            kind: kind.to_owned(),
            subtree: "/".to_owned(),
            elsewhere,
            files,
        };
        let libraries = (0..200).map(|number| file(&format!("/usr/lib/lib{number}.so"), &[Use::Library]));
        let written = (0..5).map(|number| file(&format!("/m/file{number}"), &[Use::OpenForWriting, Use::Open]));
        let mut root = vec![file("/", &[Use::Root, Use::WorkingDirectory]), file("/usr/bin/vi", &[Use::Program])];
        root.extend(libraries);
        let holders = vec![Holder { process: process(), descriptors: vec![FdNumber(4)] }];
        let needs = Needs {
            filesystems: vec![
                filesystem(Some("/"), "ext4", false, root),
                filesystem(Some("/m"), "ext4", true, written.collect()),
            ],
            devices: vec![Device { kind: ThingKind::Gpu, path: "/dev/dri/card0".to_owned(), holders }],
            endpoints: vec![
                end("tcp", EndpointState::Listens, "127.0.0.1:80", None),
                end("tcp", EndpointState::Listens, "127.0.0.1:81", None),
                end("udp", EndpointState::Connected, "127.0.0.1:9", Some("127.0.0.1:53")),
                end("netlink", EndpointState::Open, "route", None),
            ],
            sandbox: Some(Sandbox {
                namespaces: vec!["mnt".to_owned(), "pid".to_owned()],
                paths: vec!["/etc".to_owned(), "/usr".to_owned()],
            }),
        };
        assert_eq!(
            listed(&needs, 100),
            "\nWhat it needs of this system:\n\
             \x20 / (ext4 of /dev/sda1)\n\
             \x20     program /usr/bin/vi; working directory /; 200 libraries\n\
             \x20 /m (ext4 of /dev/sda1, in a mount namespace of its own)\n\
             \x20     5 files open for reading\n\
             \x20     written: /m/file0, /m/file1, /m/file2 and 2 others\n\
             \x20 graphics card /dev/dri/card0\n\
             \x20     vi (pid 7)\n\
             \x20 TCP listens at 127.0.0.1:80, 127.0.0.1:81\n\
             \x20     vi (pid 7)\n\
             \x20 UDP connected 127.0.0.1:9 to 127.0.0.1:53\n\
             \x20     vi (pid 7)\n\
             \x20 netlink socket route\n\
             \x20     vi (pid 7)\n\
             \x20 a sandbox of its own (namespaces: mnt, pid)\n\
             \x20     mounted in it: /etc, /usr\n"
        );
        assert_eq!(listed(&Needs::default(), 100), "");
        let narrow = listed(&needs, 40);
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
    }
}
