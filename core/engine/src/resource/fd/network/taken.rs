//! Who has an address that a thaw needs.

// zoo: no kind

use dormouse_wire::{Problem, ProblemKind, ProcessName};

use super::address::Address;
use crate::kernel::Errno;
use crate::proc::{self, tcp};

/// `TCP_TIME_WAIT` of include/net/tcp_states.h.
const TIME_WAIT: u8 = 6;

/// Why an address cannot be bound; `what` it is for, `list` the kernel's list of its kind in /proc/net.
pub fn problem(what: &str, list: &str, own: &Address, device: Option<&str>, errno: Errno) -> Problem {
    let problem = |told: String| Problem::blocks(ProblemKind::Socket, told).at(own.shown());
    match errno {
        Errno::EADDRINUSE => match holders(list, own) {
            Holders::Process(process) => {
                problem(format!("{process} has the address of {what} now")).way_out("End that program, then thaw again")
            }
            Holders::Ended => {
                problem(format!("connections that have ended a moment ago still have the address of {what}"))
                    .way_out("Thaw again in a minute")
            }
            Holders::Unknown => problem(format!("another program has the address of {what} now"))
                .way_out("End that program, then thaw again"),
        },
        Errno::EADDRNOTAVAIL => problem(format!("this machine does not have the address of {what}"))
            .way_out("Give it this address (ip address add), or join the network that it comes from"),
        Errno::ENODEV => {
            let device = device.or(own.interface.as_deref()).unwrap_or("?").escape_debug().to_string();
            problem(format!("there is no network interface {device} for {what}"))
                .way_out("Make or rename one, then thaw again")
        }
        errno => problem(format!("{what} cannot be bound again: {}", errno.desc())),
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
