//! `dormouse reboot`: a session over a restart of the machine, under another kernel if that is wanted.

mod kernel;

use std::ffi::OsStr;
use std::process::{Command, ExitCode, Stdio};

use dormouse_engine::Born;
use dormouse_service::session::{self, Direct, Left, Named, Plan, Slept, plan, wish};
use dormouse_wire::{Listed, Problem, Progress, ThawWish, Verdict};
use nix::unistd::{Uid, User};

use self::kernel::Kernel;
use crate::exit::{Failure, Outcome};
use crate::output;
use crate::progress::Bar;
use crate::session::{How, all_are_there, failure, groups_of, named, sleep, tell_asleep, tell_awake, wake};

/// Restarts the machine, under another kernel if wanted: the session sleeps meanwhile.
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Restarts the machine, under another kernel if wanted: the session sleeps meanwhile.

What cannot be put to sleep is found first, and stops it unless --force is said; what is left as it is, with --except among it, ends. Then the kernel is loaded with kexec(8), then the session falls \
asleep, and then the machine restarts. Until the restart itself all of that is undone when something goes wrong, and with Ctrl-C. After it the \
session wakes at the next login where `dormouse-session@UID.service` of systemd is installed; elsewhere, and at any time, \
`dormouse session thaw` wakes it.")]
#[command(after_long_help = "\
Where systemd runs the machine is shut down in good order. Elsewhere `kexec -e` or reboot(8) is called at once: what had not been put to sleep \
ends without a word.

With --dry-run the exit status is that of `dormouse check`: 0 where all would sleep, 1 where something would be lost, 2 where something stands in \
the way.")]
pub struct Arguments {
    #[command(flatten)]
    how: How,

    /// Start this kernel at once with kexec, without the firmware: a file, or the release of one in /boot.
    #[arg(long, value_name = "FILE")]
    kernel: Option<String>,

    /// With this initial file system; the usual one is the one beside the kernel that is named like it. `none`: without one.
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<std::path::PathBuf>,

    /// With this command line; the usual one is that of the kernel that runs.
    #[arg(long, value_name = "TEXT", requires = "kernel", allow_hyphen_values = true)]
    append: Option<String>,

    /// Go on where groups cannot be put to sleep: they end.
    #[arg(long)]
    force: bool,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    if !Uid::effective().is_root() {
        return Err(Failure::new("Only root can restart the machine.").hint("sudo dormouse reboot"));
    }
    let how = &arguments.how;
    let user = how.whose.not_root_by_chance()?;
    let kernel = arguments
        .kernel
        .as_deref()
        .map(|wanted| Kernel::find(wanted, arguments.initrd.as_deref(), arguments.append.as_deref()));
    let kernel = kernel.transpose()?;
    let mut direct = Direct::of(user.as_raw()).map_err(failure)?;
    let (groups, graph, born) = groups_of(user)?;
    all_are_there(&groups, &how.except)?;
    let mut plan = plan(user.as_raw(), groups, &graph, &how.except);
    let foreseen = foresee(&mut plan, &born, &direct, how)?;
    if how.dry_run {
        return Ok(told(&plan, &foreseen, kernel.as_ref()));
    }
    if !arguments.force && !foreseen.is_empty() {
        return Err(foreseen.failure(how.accept_losses));
    }
    let ends = plan.left;
    // From here on Ctrl-C is a wish, until nothing can be undone any more.
    let bar = Bar::new()?;
    if let Some(kernel) = &kernel {
        kernel.load()?;
    }
    let slept = sleep(user, how, &mut direct, &bar);
    bar.clear();
    let mut slept = match slept {
        Ok(slept) => slept,
        Err(failure) => {
            forget(kernel.as_ref());
            return Err(failure);
        }
    };
    slept.interrupted |= bar.cancelled();
    if !slept.interrupted && (slept.stayed.is_empty() || arguments.force) {
        tell_asleep(&slept);
        let by_hand = announce(user, &ends, &mut direct);
        slept.interrupted = bar.cancelled();
        if !slept.interrupted {
            return restart(kernel.as_ref(), &by_hand);
        }
    }
    forget(kernel.as_ref());
    Err(undone(&slept, &mut direct))
}

/// What would not sleep, and why.
#[derive(Debug, Default)]
struct Foreseen {
    blocked: Vec<(Vec<Named>, Vec<Problem>)>,
    lossy: Vec<(Vec<Named>, Vec<Problem>)>,
}

impl Foreseen {
    fn is_empty(&self) -> bool {
        self.blocked.is_empty() && self.lossy.is_empty()
    }

    fn failure(&self, accepts: bool) -> Failure {
        let lossy = if accepts { &[][..] } else { &self.lossy };
        let all = self.blocked.iter().chain(lossy);
        let names: Vec<String> = all.clone().map(|(groups, _)| named(groups)).collect();
        let problems = all.flat_map(|(_, problems)| problems.clone()).collect();
        let hint = match (self.blocked.is_empty(), lossy.is_empty()) {
            (true, _) => "To restart and accept the losses: --accept-losses.",
            (false, true) => "To restart all the same: --force. These end then.",
            (false, false) => {
                "To accept losses: --accept-losses. To restart all the same: --force. What cannot be put to sleep ends then."
            }
        };
        let sentence =
            format!("The machine was not restarted, and nothing has changed: {} would not sleep.", names.join(", "));
        Failure::new(sentence).because(problems).hint(hint)
    }
}

/// Has every group looked at before anything is touched. Who has ended meanwhile is not in the plan any more.
fn foresee(plan: &mut Plan, born: &Born, direct: &Direct, how: &How) -> Result<Foreseen, Failure> {
    let mut foreseen = Foreseen::default();
    let tied = plan.tied.iter().map(|tied| (tied.groups.clone(), tied.problems.clone()));
    foreseen.blocked.extend(tied);
    for cluster in std::mem::take(&mut plan.clusters) {
        let Some((cluster, verdict)) = looked_at(cluster, born, direct, how)? else { continue };
        let names = || cluster.iter().map(Named::from).collect();
        match verdict {
            Verdict::Blocked(problems) => foreseen.blocked.push((names(), problems)),
            Verdict::Lossy(problems) if !how.accept_losses || how.dry_run => {
                foreseen.lossy.push((names(), problems));
            }
            Verdict::Lossy(_) | Verdict::Freezable => {}
        }
        plan.clusters.push(cluster);
    }
    Ok(foreseen)
}

/// What is said of those who are still there. Where one of them ends while it is looked at, the others are looked at again.
fn looked_at(
    mut cluster: Vec<Listed>,
    born: &Born,
    direct: &Direct,
    how: &How,
) -> Result<Option<(Vec<Listed>, Verdict)>, Failure> {
    cluster = session::there(cluster, born, &mut Vec::new());
    while !cluster.is_empty() {
        let verdict = direct.verdict(&cluster.iter().collect::<Vec<_>>(), born, how.keep_connections);
        if let Ok(verdict @ (Verdict::Freezable | Verdict::Lossy(_))) = verdict {
            return Ok(Some((cluster, verdict)));
        }
        let before = cluster.len();
        cluster = session::there(cluster, born, &mut Vec::new());
        if cluster.len() == before {
            return verdict.map(|verdict| Some((cluster, verdict))).map_err(failure);
        }
    }
    Ok(None)
}

/// Says what would be done.
fn told(plan: &Plan, foreseen: &Foreseen, kernel: Option<&Kernel>) -> ExitCode {
    if let Some(kernel) = kernel {
        output::say(&format!("Would be started: {kernel}"));
    }
    for cluster in &plan.clusters {
        let names: Vec<Named> = cluster.iter().map(Named::from).collect();
        if !foreseen.blocked.iter().any(|(blocked, _)| *blocked == names) {
            output::say(&format!("Would be put to sleep: {}", named(&names)));
        }
    }
    for (names, problems) in &foreseen.lossy {
        output::say(&format!("Something of {} would be lost:", named(names)));
        output::losses(problems);
    }
    for (names, problems) in &foreseen.blocked {
        output::failure(&Failure::new(format!("{} would end.", named(names))).because(problems.clone()));
    }
    tell_ends(&plan.left);
    match (foreseen.blocked.is_empty(), foreseen.lossy.is_empty()) {
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::FAILURE,
        (false, _) => ExitCode::from(2),
    }
}

fn tell_ends(left: &[Left]) {
    for left in left {
        output::say(&format!("Ends with the restart: {}, for {}.", named(std::slice::from_ref(&left.group)), left.why));
    }
}

/// The next restart is the usual one.
fn forget(kernel: Option<&Kernel>) {
    if kernel.is_some() {
        kernel::unload();
    }
}

/// Wakes what had fallen asleep already, and says why there is no restart.
fn undone(slept: &Slept, direct: &mut Direct) -> Failure {
    let mut failure = if slept.interrupted {
        Failure::new("The machine was not restarted: that was interrupted.")
    } else {
        let names: Vec<String> = slept.stayed.iter().map(|stayed| named(&stayed.groups)).collect();
        let problems = slept.stayed.iter().flat_map(|stayed| stayed.problems.clone()).collect();
        Failure::new(format!("The machine was not restarted: {} would not sleep.", names.join(", ")))
            .because(problems)
            .hint("To restart all the same: --force. These end then.")
    };
    if !slept.asleep.is_empty() {
        // What slept before sleeps on.
        let session = Some(slept.session.as_str());
        match Bar::new().and_then(|bar| wake(direct, ThawWish::default(), session, &bar)) {
            Ok(woken) => {
                if !woken.interrupted
                    && let Err(refusal) = wish::forget(direct)
                {
                    tracing::warn!(%refusal, "that the session is to wake at the next login stays written down");
                }
                tell_awake(&woken);
            }
            Err(other) => {
                failure.hint = Some(format!("{} What sleeps is woken with: dormouse session thaw", other.sentence));
            }
        }
    }
    failure
}

/// Says what comes, and writes it down; answers how the session is woken by hand.
fn announce(user: Uid, ends: &[Left], direct: &mut Direct) -> String {
    let name = User::from_uid(user).ok().flatten().map_or_else(|| user.to_string(), |user| user.name);
    let by_hand = format!("dormouse session thaw --user {name}");
    tell_ends(ends);
    let wished = wish::write(direct).map_err(failure);
    let by_itself = wished.is_ok() && direct.at_logout(None).is_ok_and(|at_logout| at_logout.hindrance.is_none());
    output::say(&if by_itself {
        format!("The machine restarts. The session of {name} wakes at the next login; by hand: {by_hand}")
    } else {
        format!("The machine restarts. To wake the session of {name} then: {by_hand}")
    });
    nix::unistd::sync();
    by_hand
}

/// From here on there is no way back but by waking.
fn restart(kernel: Option<&Kernel>, by_hand: &str) -> Outcome {
    let booted = session::is_booted_by_systemd();
    let command: &[&str] = match (kernel.is_some(), booted) {
        (true, true) => &["systemctl", "kexec"],
        (true, false) => &["kexec", "-e"],
        (false, true) => &["systemctl", "reboot"],
        (false, false) => &["reboot"],
    };
    call(&command.iter().map(OsStr::new).collect::<Vec<_>>()).map(|()| ExitCode::SUCCESS).map_err(|why| {
        let sentence = format!("The machine does not restart, and the session sleeps: {why}");
        Failure::new(sentence).hint(format!("To wake it: {by_hand}"))
    })
}

/// Runs a program of the system; else says what it said.
fn call(command: &[&OsStr]) -> Result<(), String> {
    let [program, arguments @ ..] = command else { return Ok(()) };
    let line = command.join(OsStr::new(" ")).to_string_lossy().into_owned();
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{line} cannot be run: {error}."))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stderr, output.stdout].map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    let said = said.iter().find(|said| !said.is_empty()).map(|said| output::printable(said)).unwrap_or_default();
    Err(format!("{line} has failed ({}): {said}", output.status))
}
