//! Who has an address that a thaw needs.

// zoo: no kind

use dormouse_wire::{Phrase, Problem, ProblemKind, ProcessName, phrase};

use super::address::Address;
use crate::kernel::Errno;
use crate::proc::{self, tcp};

/// `TCP_TIME_WAIT` of include/net/tcp_states.h.
const TIME_WAIT: u8 = 6;

/// Why an address cannot be bound; `what` it is for, `list` the kernel's list of its kind in /proc/net.
pub fn problem(what: Phrase, list: &str, own: &Address, device: Option<&str>, errno: Errno) -> Problem {
    let problem = |told: Phrase| Problem::blocks(ProblemKind::Socket, told).at(own.shown());
    match errno {
        Errno::EADDRINUSE => match holders(list, own) {
            Holders::Process(process) => problem(phrase!("{process} has the address of {what} now", process, what))
                .way_out(phrase!("End that program, then thaw again")),
            Holders::Ended => {
                problem(phrase!("connections that have ended a moment ago still have the address of {what}", what))
                    .way_out(phrase!("Thaw again in a minute"))
            }
            Holders::Unknown => problem(phrase!("another program has the address of {what} now", what))
                .way_out(phrase!("End that program, then thaw again")),
        },
        Errno::EADDRNOTAVAIL => problem(phrase!("this machine does not have the address of {what}", what))
            .way_out(phrase!("Give it this address (ip address add), or join the network that it comes from")),
        Errno::ENODEV => {
            let device = device.or(own.interface.as_deref()).unwrap_or("?").escape_debug().to_string();
            problem(phrase!("there is no network interface {device} for {what}", device, what))
                .way_out(phrase!("Make or rename one, then thaw again"))
        }
        errno => problem(phrase!("{what} cannot be bound again: {why}", what, why = errno.desc())),
    }
}

enum Holders {
    Process(ProcessName),
    Ended,
    Unknown,
}

fn holders(list: &str, own: &Address) -> Holders {
    let six = format!("{list}6");
    let lines = [list, &six]
        .into_iter()
        .flat_map(|list| proc::parsed_system(&format!("net/{list}"), tcp::parse).unwrap_or_default());
    let wanted = own.listed();
    let lines: Vec<_> = lines
        .filter(|line| line.local.port() == wanted.port())
        .filter(|line| own.is_any() || line.local.ip().is_unspecified() || line.local.ip() == wanted.ip())
        .collect();
    let holder = lines.iter().filter(|line| line.inode != 0).find_map(|line| holder(line.inode));
    match holder {
        Some(process) => Holders::Process(process),
        None if list == "tcp" && lines.iter().any(|line| line.state == TIME_WAIT) => Holders::Ended,
        None => Holders::Unknown,
    }
}

/// Who has the socket of this inode, as far as may be seen.
fn holder(inode: u64) -> Option<ProcessName> {
    let link = format!("socket:[{inode}]").into_bytes();
    let holds = |pid: &dormouse_wire::Pid| {
        let numbers = proc::list_fds(*pid).unwrap_or_default();
        numbers.into_iter().any(|number| proc::link(*pid, &format!("fd/{number}")).is_ok_and(|found| found == link))
    };
    let pid = proc::list_pids().ok()?.into_iter().find(holds)?;
    let comm = proc::read(pid, "comm").unwrap_or_default();
    Some(ProcessName { pid, comm: String::from_utf8_lossy(comm.trim_ascii_end()).into_owned() })
}
