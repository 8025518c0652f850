//! What stands in the way of freezing a TCP socket, and what would be lost: above all connections that lead out of the
//! group.

// zoo: no kind

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};

use super::super::address::Address;
use super::super::judge_any;
use super::facts::{FIN_WAIT_1, FIN_WAIT_2, Info, Link};
use super::kept;
use crate::kernel::{inet, outside, socket};
use crate::resource::fd::{FileFacts, FilesFacts};

const KIND: ProblemKind = ProblemKind::Socket;
const LATER: Phrase = phrase!("Try again in a moment, when the connection has been accepted");

/// All reasons.
pub fn judge(facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
    let mut problems = judge_any(facts, files);
    problems.extend(link(facts, files));
    if let Some(name) = layer(facts) {
        let what =
            phrase!("a layer of the kernel changes what goes through it ({name}), which cannot be given back", name);
        problems.push(facts.problem(KIND, what).way_out(phrase!("Pause the group instead")));
    }
    problems
}

fn link(facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
    let connections = files.connections();
    match connections.link(facts) {
        Link::Listens => listening(facts, files),
        Link::Outside(..) | Link::Closing(_) | Link::Gone(_) if kept::keeps(facts, files).is_some() => {
            keeping(facts, files)
        }
        Link::Nothing | Link::Asks(_) | Link::Gone(_) | Link::Ended => Vec::new(),
        Link::Inside(_) if socket::has_urgent(&facts.file) => {
            vec![urgent(facts)]
        }
        Link::Inside(peer) if peer == facts.id => {
            let what = phrase!("it is connected to itself, which cannot be given back yet");
            vec![facts.problem(KIND, what).way_out(phrase!("Close it in the program, or pause the group instead"))]
        }
        Link::Inside(_) => Vec::new(),
        Link::WaitsAt(_, waiting) => {
            // The end of what it has sent counts like a byte.
            let end = Info::of(&facts.file).is_ok_and(|info| matches!(info.state, FIN_WAIT_1 | FIN_WAIT_2));
            let sent = waiting > u32::from(end) || socket::unreceived(&facts.file).unwrap_or(1) > 0;
            let what = phrase!(
                "it has sent something to a program that has not accepted the connection yet, which cannot be read before"
            );
            if sent { vec![facts.problem(KIND, what).way_out(LATER)] } else { Vec::new() }
        }
        Link::Closing(peer) => {
            let what = phrase!(
                "its other end, {peer}, was closed while something from it was on its way, which cannot be read",
                peer = peer.shown()
            );
            let loss = phrase!("what was on its way: the program finds the connection reset behind what had come");
            let problem = facts.loss(KIND, what, loss).way_out(phrase!("Try again when the program has received it"));
            vec![unless_kept(problem, facts, files)]
        }
        Link::Outside(peer, inode) => {
            let holder = connections.holders(inode, files).first().map(|holder| format!(", {}", holder.process));
            vec![leads_out(facts, &peer, holder.as_deref().unwrap_or_default(), files)]
        }
    }
}

fn urgent(facts: &FileFacts) -> Problem {
    let what = phrase!("urgent data waits in it (MSG_OOB), which cannot be kept");
    facts.problem(KIND, what).way_out(phrase!("Try again in a moment, when the program has taken it"))
}

/// A connection that leaves the group and is to be kept.
fn keeping(facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
    if socket::has_urgent(&facts.file) {
        return vec![urgent(facts)];
    }
    files.can_hold().err().map(kept::not_held).into_iter().collect()
}

/// A connection that leaves the group; `holder`: who has its other end.
fn leads_out(facts: &FileFacts, peer: &Address, holder: &str, files: &FilesFacts) -> Problem {
    let keep = files.keep_connections;
    let peer = format!("{}{holder}", peer.shown());
    let what = match Address::own(&facts.file) {
        Some(own) => phrase!(
            "it is a TCP connection from {own} to {peer}, which is not part of the group",
            own = own.shown(),
            peer
        ),
        None => phrase!("it is a TCP connection to {peer}, which is not part of the group", peer),
    };
    let loss = phrase!("the connection: the program finds it reset after the thaw, and the other end finds it closed");
    let way_out = if keep {
        phrase!("It is in no state to be kept now: try again in a moment, or close it in the program")
    } else {
        phrase!("Keep it (--keep-connections), close it in the program, or freeze both ends together")
    };
    unless_kept(facts.loss(KIND, what, loss).way_out(way_out), facts, files)
}

/// A loss there would not be if the connection were kept, where that is possible.
fn unless_kept(loss: Problem, facts: &FileFacts, files: &FilesFacts) -> Problem {
    // Who ends a sandbox holds nobody off.
    let able = outside::known().is_none() && kept::keepable(facts, files).is_some() && !socket::has_urgent(&facts.file);
    if !files.keep_connections && able && files.can_hold().is_ok() { loss.keepable() } else { loss }
}

/// Who waits to be accepted and is not of the group.
fn listening(facts: &FileFacts, files: &FilesFacts) -> Vec<Problem> {
    let problem = |(from, waiting): (std::net::SocketAddr, u32)| {
        let loss =
            if waiting > 0 { phrase!("that connection, with what it has sent") } else { phrase!("that connection") };
        let what =
            phrase!("a TCP connection from {from} waits to be accepted by it, and is not part of the group", from);
        facts.loss(KIND, what, loss).way_out(LATER)
    };
    files.connections().strangers(facts).into_iter().map(problem).collect()
}

/// TCP_ULP: such as encryption in the kernel.
fn layer(facts: &FileFacts) -> Option<String> {
    let name = inet::option_bytes(&facts.file, libc::IPPROTO_TCP, libc::TCP_ULP, &[], 16).ok()?;
    let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
    (!name.is_empty() && name != "mptcp").then_some(name)
}
