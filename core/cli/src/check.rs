//! `dormouse check`: whether a group can be frozen, and why not.

use std::path::PathBuf;
use std::process::ExitCode;

use dormouse_engine::survey::x11::Options;
use dormouse_engine::{Born, Selection};
use dormouse_wire::bus::Bus;
use dormouse_wire::window::{Access, Display, Window, sentence};
use dormouse_wire::{Checked, Verdict};

mod needs;
mod ties;

use crate::cut::Cut;
use crate::exit::Outcome;
use crate::output;
use crate::picture::{self, Picture};
use crate::target::{Meant, Target};

/// Says whether a running process and what belongs to it can be frozen, and what would be lost.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT, after_long_help = EXIT)]
pub struct Arguments {
    /// The process to look at, by its pid; its descendants belong to it; or a group by its id in `dormouse list`.
    #[arg(value_name = "PID|GROUP")]
    target: Target,

    /// Look only at the process and its descendants, even where something that cannot be cut leads out of them.
    #[arg(long)]
    tree_only: bool,

    #[command(flatten)]
    disconnect: Cut,

    /// Write the answer to standard output as JSON.
    #[arg(long)]
    json: bool,

    /// Write a picture of what ties the group together to standard output: in the language of Graphviz, or drawn.
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    graph: Option<Picture>,
}

const ABOUT: &str = "\
Says whether a running process and what belongs to it can be frozen, and what would be lost.

The answer is what `dormouse freeze` would say, for it is found in the same way: the group stands still for some \
milliseconds, is looked at and asked, and runs on. Each reason names the process, the thing it holds, what would be \
lost, and the way out.";

const EXIT: &str = "\
Exit status:
  0  The group can be frozen, and nothing would be lost.
  1  It can be frozen, and something would be lost.
  2  Something stands in the way, or there is no such process or group.

JSON: an object with `processes` (each with `pid` and `comm`), `threads`, `memory` in bytes, `verdict` (`freezable`, \
`lossy` or `blocked`) and, but for `freezable`, `reasons`: what `freeze --json` has as `problems`; `graph` with `nodes` and `edges`, whose `from` and `to` are places in the list of \
nodes; `needs`, what the group needs of the system: `filesystems` with its `files`, `devices`, `endpoints` in the network, and the `sandbox` it lives in; `displays`, the X displays with its windows; `buses`, the message buses with its names; and `unseen`, how many processes could not be looked into.";

/// The exit status where something stands in the way.
const BLOCKED: u8 = 2;

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    let (pid, others) = match arguments.target.at_home() {
        Ok(Meant::Processes(pid, others)) => (pid, others),
        Ok(Meant::Done(status)) => return Ok(ExitCode::from(status)),
        // Nobody is put to sleep by a check.
        Ok(Meant::Frozen(_)) => return Ok(ExitCode::SUCCESS),
        // 1 would say that it can be frozen.
        Err(failure) => {
            let failure = if arguments.json { output::failure_as_json(failure) } else { failure };
            output::failure(&failure);
            return Ok(ExitCode::from(BLOCKED));
        }
    };
    let selection = Selection {
        pid,
        others,
        born: Born::default(),
        tree_only: arguments.tree_only,
        disconnect: arguments.disconnect.meant(),
        keep_connections: arguments.disconnect.keeps(),
        asker: None,
    };
    let checked = dormouse_engine::check(&selection, &displays());
    match arguments.graph {
        Some(form) => form.print(&picture::dot(&checked.graph))?,
        None if arguments.json => output::json(&checked)?,
        None => output::print(&report(&checked, output::width()))?,
    }
    Ok(ExitCode::from(match checked.verdict {
        Verdict::Freezable => 0,
        Verdict::Lossy(_) => 1,
        Verdict::Blocked(_) => BLOCKED,
    }))
}

/// How X servers are asked: with the authority that every program of this caller would use.
fn displays() -> Options {
    let named = std::env::var_os("XAUTHORITY").map(PathBuf::from);
    let usual = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".Xauthority"));
    Options { authorities: named.into_iter().chain(usual).collect(), ..Options::default() }
}

/// A line for each display: the windows on it, or why they are not known.
fn windows(displays: &[Display]) -> Vec<String> {
    let line = |display: &Display| {
        let name = format!("On the X display :{}", display.number);
        match &display.access {
            Access::Answered => {
                let windows: Vec<&Window> = display.windows.iter().collect();
                format!("{name} it {}.", sentence(&windows))
            }
            Access::Refused(why) => format!("{name} it may have windows: the server does not let Dormouse in ({why})."),
            Access::Silent => format!("{name} it may have windows: the server does not answer."),
            Access::Gone | Access::Unasked => format!("{name} it has no windows: the server is gone."),
        }
    };
    displays.iter().map(line).collect()
}

/// A line for each bus that has not told all names.
fn unnamed(buses: &[Bus]) -> Vec<String> {
    let line = |bus: &Bus| {
        let why = match &bus.access {
            Access::Answered => return None,
            Access::Refused(why) => format!("the bus does not let Dormouse in ({why})"),
            Access::Silent => "the bus does not answer".to_owned(),
            Access::Gone | Access::Unasked => "the bus is gone".to_owned(),
        };
        Some(format!("On the message bus {} it may have names: {why}.", bus.name))
    };
    buses.iter().filter_map(line).collect()
}

fn report(checked: &Checked, width: usize) -> String {
    let mut text = String::new();
    if let Some(first) = checked.processes.first() {
        let size = match checked.threads {
            0 => String::new(),
            threads => {
                format!(", {} and {} of memory", output::count(threads, "thread", "threads"), checked.memory)
            }
        };
        let processes = output::count(checked.processes.len(), "process", "processes");
        text += &output::wrapped(&format!("{first}: {processes}{size}."), width);
    }
    let (sentence, reasons) = match &checked.verdict {
        Verdict::Freezable => ("It can be frozen, and nothing would be lost.", None),
        Verdict::Lossy(reasons) => ("It can be frozen, but something would be lost.", Some(reasons)),
        Verdict::Blocked(reasons) => ("It cannot be frozen.", Some(reasons)),
    };
    text += &output::wrapped(sentence, width);
    if let Some(reasons) = reasons {
        text += &output::weighed(reasons, width);
    }
    if !checked.displays.is_empty() {
        text += "\n";
    }
    for line in windows(&checked.displays) {
        text += &output::wrapped(&line, width);
    }
    for line in unnamed(&checked.buses) {
        text += "\n";
        text += &output::wrapped(&line, width);
    }
    text += &ties::listed(&checked.graph, width);
    text += &needs::listed(&checked.needs, width);
    if checked.unseen > 0 {
        let others = output::count(checked.unseen, "process", "processes");
        let root = if nix::unistd::geteuid().is_root() { "" } else { "; as root they could" };
        let sentence = format!("{others} outside the group could not be looked into{root}.");
        text += "\n";
        text += &output::wrapped(&sentence, width);
    }
    text
}

#[cfg(test)]
mod tests {
    use dormouse_wire::phrase;
    use dormouse_wire::{ByteSize, Checked, Graph, Needs, Pid, Problem, ProblemKind, ProcessName, Verdict};

    use super::report;

    #[test]
    fn a_verdict_comes_with_all_its_reasons() {
        let cat = ProcessName { pid: Pid(12), comm: "cat".to_owned() };
        let blocks =
            Problem::blocks(ProblemKind::Device, phrase!("it is a graphics card")).of(&cat).at("/dev/dri/card0");
        let loses =
            Problem::loses(ProblemKind::Socket, phrase!("it leads to another machine"), phrase!("the connection"))
                .of(&cat);
        let checked = |verdict| Checked {
            processes: vec![cat.clone()],
            threads: 2,
            memory: ByteSize(4096),
            verdict,
            graph: Graph::default(),
            needs: Needs::default(),
            displays: Vec::new(),
            buses: Vec::new(),
            unseen: 0,
        };
        assert_eq!(
            report(&checked(Verdict::Freezable), 80),
            "cat (pid 12): 1 process, 2 threads and 4.1 kB of memory.\nIt can be frozen, and nothing would be lost.\n"
        );
        assert_eq!(
            report(&checked(Verdict::from_problems(vec![loses, blocks])), 80),
            "cat (pid 12): 1 process, 2 threads and 4.1 kB of memory.\nIt cannot be frozen.\n\n\
             1 thing stands in the way:\n\n  cat (pid 12), /dev/dri/card0\n    Why      it is a graphics card\n\n\
             1 thing would be lost:\n\n  cat (pid 12)\n    Why      it leads to another machine\n    \
             Lost     the connection\n"
        );
    }
}
