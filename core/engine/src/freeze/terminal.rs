//! The terminal outside the group that its job is on: how it was set, and how a person finds it afterwards.

use std::os::fd::AsFd;

use dormouse_wire::{Pid, Problem, ProblemKind, phrase};
use serde_bytes::ByteBuf;

use crate::kernel::terminal::{self, Settings};
use crate::kernel::{Errno, outside};
use crate::resource::fd::{self, path_of, pty};
use crate::resource::group::OutsideTerminal;
use crate::survey::collect::ProcessFacts;
use crate::survey::files::OpenFiles;
use crate::survey::terminals;

/// The sessions whose terminal lies outside the group.
pub fn sessions(processes: &[ProcessFacts], open: &OpenFiles) -> Vec<Pid> {
    let outside = |process: &&ProcessFacts| terminals::controlling(process, open).is_some();
    processes.iter().filter(outside).map(|process| process.stat.session).collect()
}

/// The record of it, where there is one.
pub fn record(processes: &[ProcessFacts], open: &OpenFiles) -> Result<Option<OutsideTerminal>, Problem> {
    // In a sandbox nobody has it open, and it is not given again.
    let outside = terminals::outside(processes, open).pop_first().filter(|_| outside::known().is_none());
    let Some((device, process)) = outside else { return Ok(None) };
    let name = pty::node(device.1);
    let failed = |errno: Errno| {
        let what = phrase!("the terminal it is on cannot be looked at: {why}", why = errno.desc());
        Problem::blocks(ProblemKind::Terminal, what).of(&process).at(name.display().to_string())
    };
    let opened = open.facts.files.iter().find(|facts| fd::terminal::outside(facts, &open.facts) == Some(device));
    let looked = if opened.is_none() { Some(terminal::look(&name).map_err(failed)?) } else { None };
    let file = opened.map(|facts| facts.file.as_fd()).or(looked.as_ref().map(AsFd::as_fd));
    let file = file.ok_or(Errno::ENOTTY).map_err(failed)?;
    let on_it = processes.iter().find(|process| process.stat.terminal() == Some(device));
    let foreground = on_it.map(|process| Pid(process.stat.foreground));
    let is_ours = |group: &Pid| processes.iter().any(|process| process.stat.pgrp == *group);
    Ok(Some(OutsideTerminal {
        settings: ByteBuf::from(terminal::settings(&file).map_err(failed)?.bytes()),
        size: terminal::size(&file).map_err(failed)?,
        foreground: foreground.filter(is_ours),
        name: ByteBuf::from(name.to_string_lossy().as_bytes()),
    }))
}

/// Leaves the alternate screen and what else full-screen programs use, xterm's control sequences: attributes, cursor,
/// keypad, mouse and paste reports. The cursor goes to the last line.
const PLAIN: &[u8] = b"\x1b[?1047l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[?1l\x1b>\x1b[?25h\x1b[r\x1b[m\x1b[999;1H\r\n";

/// What a job does to its terminal when it ends, done for it: it is about to be ended in the middle of its work. A shell
/// that sees the end sets its terminal after us.
pub fn leave_usable(terminal: &OutsideTerminal) {
    let (Some(settings), Some(_)) = (Settings::from_bytes(&terminal.settings), terminal.foreground) else { return };
    let name = path_of(&terminal.name);
    let set = || {
        let file = terminal::look(&name)?;
        if !settings.is_canonical() {
            // One that takes nothing now, because it was stopped, need not be told.
            let _ = nix::unistd::write(&file, PLAIN);
        }
        terminal::set_settings(&file, &settings.sane())
    };
    if let Err(error) = set() {
        tracing::warn!(terminal = %name.display(), %error, "the terminal stays as the job has set it");
    }
}
