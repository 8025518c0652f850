//! The process that serves a display.

use std::fs;
use std::os::unix::fs::MetadataExt;

use dormouse_wire::window::{Server, ServerKind};
use dormouse_wire::{Pid, ProcessName};

use crate::proc;

/// A process as a person knows it.
pub fn named(pid: Pid) -> ProcessName {
    let comm = proc::read(pid, "comm").unwrap_or_default();
    ProcessName { pid, comm: String::from_utf8_lossy(comm.trim_ascii_end()).into_owned() }
}

/// The server among those who hold the socket that listens: a compositor holds the one of its Xwayland too.
pub fn among(holders: &[Pid]) -> Option<Server> {
    let servers = || holders.iter().map(|pid| Server { process: named(*pid), kind: kind(*pid) });
    servers().find(|server| server.kind != ServerKind::Other).or_else(|| servers().next())
}

/// Which server a process is, by the name of its program, else by its own.
fn kind(pid: Pid) -> ServerKind {
    let program = proc::link(pid, "exe").or_else(|_| proc::read(pid, "comm")).unwrap_or_default();
    let (program, _) = proc::strip_deleted(program.trim_ascii_end());
    kind_of(program.rsplit(|byte| *byte == b'/').next().unwrap_or_default())
}

fn kind_of(program: &[u8]) -> ServerKind {
    match program {
        b"Xorg" | b"Xorg.bin" | b"X" => ServerKind::Xorg,
        b"Xwayland" => ServerKind::Xwayland,
        b"Xvfb" => ServerKind::Xvfb,
        b"Xephyr" => ServerKind::Xephyr,
        b"Xnest" => ServerKind::Xnest,
        b"Xvnc" | b"Xtigervnc" | b"Xtightvnc" | b"Xrealvnc" | b"Xvnc-core" => ServerKind::Xvnc,
        _ => ServerKind::Other,
    }
}

/// Whether a process knows others by the same pids as we do, pid_namespaces(7). Who may not be asked is thought to.
pub fn shares_our_pids(pid: Pid) -> bool {
    let namespace = |folder: &std::path::Path| fs::metadata(folder.join("ns/pid")).map(|found| found.ino());
    match (namespace(&proc::folder(pid)), namespace("/proc/self".as_ref())) {
        (Ok(other), Ok(own)) => other == own,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_told_by_its_program() {
        assert_eq!(kind_of(b"Xvfb"), ServerKind::Xvfb);
        assert_eq!(kind_of(b"gnome-shell"), ServerKind::Other);
        let own = Pid(std::process::id() as i32);
        assert_eq!(among(&[own]).map(|server| (server.process.pid, server.kind)), Some((own, ServerKind::Other)));
        assert_eq!(among(&[]), None);
        assert!(shares_our_pids(own));
    }
}
