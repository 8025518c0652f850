//! The worker's side.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use dormouse_engine::pid_namespace::{self, Inside, Side};
use dormouse_engine::survey::x11;
use dormouse_engine::{
    Asker, Born, ChangedFiles, FreezeError, FreezeOptions, Owners, OwnersWish, PauseOptions, Pids, Selection,
    ThawError, ThawOptions,
};
use dormouse_wire::dbus::{AtLogout, Failure};
use dormouse_wire::{Disconnect, Phase, Phrase, Problem, ProblemKind, Progress, phrase};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Pid, Uid, getppid, setgroups, setresgid, setresuid};
use serde::Serialize;

use super::{Meant, ORDER, Order, Said, Task, Who, images, process};
use crate::alone::Alone;
use crate::session::at_logout;
use crate::systemd::Systemd;
use crate::{failure, runtime, store};

/// Between two lines about bytes.
const BREATH: Duration = Duration::from_millis(100);

/// Does what the environment orders, and says on standard output how it went.
pub fn run() {
    // It has been started by another name than its own; it is a matter of looks.
    let _ = prctl::set_name(c"dormouse");
    let told = order().and_then(|mut order| {
        let parent = hold_back(&order)?;
        still_there(&mut order)?;
        let order = settled(order)?;
        let before = Before::of(&order)?;
        let Some((order, inside)) = at_home(order, &before)? else { return Ok(None) };
        // The parent of one half in a pid namespace is another one, which is waited for there.
        let parent = if inside.is_some() { getppid() } else { parent };
        let watcher = Watcher::begin(&order, parent)?;
        let done = work(&order, watcher, inside.as_ref(), before);
        if let (Some(inside), Ok(_)) = (inside, &done) {
            inside.group_runs();
        }
        done.map(Some)
    });
    if let Some(said) = told.unwrap_or_else(Some) {
        say(&said);
    }
}

/// What is known before this process goes into the group's own namespaces, where paths may lead elsewhere and others know who is who.
#[derive(Debug, Default)]
struct Before {
    /// The image that a freeze is to make.
    image: Option<PathBuf>,
    /// Who takes whose place in the image that is thawed.
    owners: Owners,
    /// That nobody else thaws it.
    _alone: Option<Alone>,
}

impl Before {
    fn of(order: &Order) -> Result<Self, Said> {
        match &order.task {
            Task::Freeze { meant, .. } => Ok(Self { image: Some(new_image(&order.who, meant)?), ..Self::default() }),
            Task::Thaw { image, wish } => {
                let (image, asker) = (images::place(&order.who, image)?, order.who.asker());
                let alone = Some(images::alone(&order.who, &image)?);
                let wish = OwnersWish { names: wish.users, ..OwnersWish::default() };
                let owners = dormouse_engine::owners(&image, asker.as_ref(), &wish);
                let owners = owners.map_err(|error| Said::Failed(failure::of_thaw(error)))?;
                Ok(Self { owners, _alone: alone, ..Self::default() })
            }
            _ => Ok(Self::default()),
        }
    }
}

/// With the folder that the user has chosen.
fn settled(order: Order) -> Result<Order, Said> {
    let failed =
        |problem| Said::Failed(Failure { sentence: phrase!("The work could not begin."), problems: vec![problem] });
    Ok(Order { who: order.who.settled().map_err(failed)?, ..order })
}

/// Holds back the wish for an end, and waits until the worker has been put in its place. Answers who has started it.
fn hold_back(order: &Order) -> Result<Pid, Said> {
    let parent = getppid();
    ending().thread_block().map_err(|errno| failed(phrase!("signals cannot be held"), errno))?;
    prctl::set_pdeathsig(Signal::SIGTERM).map_err(|errno| failed(phrase!("the service cannot be watched"), errno))?;
    if order.task.waits() {
        // Whatever ends it, the end is what counts.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    }
    Ok(parent)
}

/// Leaves out who has ended since somebody meant him, and whoever has got his pid.
fn still_there(order: &mut Order) -> Result<(), Said> {
    let (Task::Verdict(meant) | Task::Check(meant) | Task::Freeze { meant, .. }) = &mut order.task else {
        return Ok(());
    };
    if meant.born.is_empty() {
        return Ok(());
    }
    let mut there = std::iter::once(meant.pid).chain(std::mem::take(&mut meant.others));
    let mut there = there.by_ref().filter(|pid| meant.born.is_there(*pid));
    let first = there.next().ok_or_else(|| Said::Failed(sentence(phrase!("It has ended meanwhile."))))?;
    let others = there.collect();
    (meant.pid, meant.others) = (first, others);
    Ok(())
}

fn ending() -> SigSet {
    [Signal::SIGTERM].into_iter().collect()
}

fn failed(what: Phrase, errno: Errno) -> Said {
    Said::Failed(sentence(phrase!("The work could not begin: {what} ({why}).", what, why = errno.desc())))
}

/// The order as it is to be done here, where the group lives or is to live in a pid namespace of its own: then in one half of this
/// process there, which speaks to the service as this one would have. None: this is the other half, and the work has been done.
fn at_home(mut order: Order, before: &Before) -> Result<Option<(Order, Option<Inside>)>, Said> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(Some((order, None)));
    }
    let begun = |problem| {
        let sentence = phrase!("The work could not begin; nothing has changed.");
        Said::Failed(Failure { sentence, problems: vec![problem] })
    };
    let refused =
        |problems| Said::Failed(Failure { sentence: phrase!("The image was not thawed; it is unchanged."), problems });
    let side = match &order.task {
        Task::Verdict(meant) | Task::Check(meant) | Task::Freeze { meant, .. } => {
            pid_namespace::enter(meant.pid).map_err(begun)?
        }
        Task::Thaw { image, .. } => {
            let (image, asker) = (images::place(&order.who, image)?, order.who.asker());
            let made = pid_namespace::make_capsule(&image, asker.as_ref(), &[], &before.owners).map_err(refused)?;
            let wanted = made.is_none().then(|| pid_namespace::taken(&image, asker.as_ref())).flatten();
            match wanted {
                Some(wanted) => Some(pid_namespace::make(&wanted).map_err(begun)?),
                None => made,
            }
        }
        _ => None,
    };
    match side {
        None => Ok(Some((order, None))),
        Some(Side::Outside(_)) => Ok(None),
        Some(Side::Frozen(frozen)) => {
            say(&done(&frozen)?);
            Ok(None)
        }
        Some(Side::Inside(inside)) => {
            if let Task::Verdict(meant) | Task::Check(meant) | Task::Freeze { meant, .. } = &mut order.task {
                (meant.pid, meant.others) = inside.meant(meant.pid, &meant.others).map_err(begun)?;
                // Here they have other pids, and perhaps other clocks.
                meant.born = Born::default();
            }
            Ok(Some((order, Some(inside))))
        }
    }
}

fn order() -> Result<Order, Said> {
    let odd = |what: &str| Said::Failed(sentence(phrase!("This is not for people: {what}.", what)));
    let text = env::var(ORDER).map_err(|_| odd("the service starts it"))?;
    serde_json::from_str(&text).map_err(|_| odd("the order cannot be understood"))
}

fn sentence(sentence: Phrase) -> Failure {
    Failure { sentence, problems: Vec::new() }
}

fn say(said: &Said) {
    // Whoever has ordered it is gone when this fails: then the signal that says so is on its way.
    if let Ok(line) = serde_json::to_string(said) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// Watches the work for the service.
#[derive(Debug)]
struct Watcher {
    moved: AtomicU64,
    told: Mutex<Instant>,
    cancelled: &'static AtomicBool,
}

impl Watcher {
    /// Becomes who must do it, and hears of the end of the service, or of whoever else has made it, from now on.
    fn begin(order: &Order, parent: Pid) -> Result<Self, Said> {
        static CANCELLED: AtomicBool = AtomicBool::new(false);
        if !order.task.takes_power() {
            become_user(&order.who)
                .map_err(|errno| failed(phrase!("it cannot be done as the user who asks"), errno))?;
        }
        // A change of users clears it, prctl(2).
        prctl::set_pdeathsig(Signal::SIGTERM)
            .map_err(|errno| failed(phrase!("the service cannot be watched"), errno))?;
        if getppid() != parent {
            CANCELLED.store(true, Ordering::Relaxed);
        }
        thread::spawn(move || {
            if ending().wait().is_ok() {
                CANCELLED.store(true, Ordering::Relaxed);
            }
        });
        Ok(Self { moved: AtomicU64::new(0), told: Mutex::new(Instant::now()), cancelled: &CANCELLED })
    }
}

fn become_user(who: &Who) -> nix::Result<()> {
    let (user, group) = (Uid::from_raw(who.user), Gid::from_raw(who.group));
    if Uid::effective() == user {
        return Ok(());
    }
    let groups: Vec<Gid> = who.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)
}

impl Progress for Watcher {
    fn begins(&self, phase: Phase, bytes: u64) {
        self.moved.store(0, Ordering::Relaxed);
        say(&Said::Begins(phase, bytes));
    }

    fn moved(&self, bytes: u64) {
        let moved = self.moved.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // Whoever comes while another one tells has nothing new to say.
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.elapsed() >= BREATH {
            *told = Instant::now();
            say(&Said::Moved(moved));
        }
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

fn done<T: Serialize>(value: &T) -> Result<Said, Said> {
    let odd = |error: serde_json::Error| {
        Said::Failed(sentence(phrase!("The answer cannot be written down: {why}.", why = error)))
    };
    serde_json::to_value(value).map(Said::Done).map_err(odd)
}

// tidy: long because each task has its arm
fn work(order: &Order, watcher: Watcher, inside: Option<&Inside>, before: Before) -> Result<Said, Said> {
    let who = &order.who;
    match &order.task {
        Task::Verdict(meant) => done(&dormouse_engine::verdict(&selection(meant, who))),
        Task::Check(meant) => done(&dormouse_engine::check(&selection(meant, who), &displays(who))),
        Task::Freeze { meant, accept_losses, label, compression, disconnect, keep_connections, keep_files } => {
            let options = FreezeOptions {
                image: before.image.map_or_else(|| new_image(who, meant), Ok)?,
                leave_running: false,
                accept_losses: *accept_losses,
                label: Some(label.clone()),
                compression: *compression,
                kept: Some(store::kept(&who.folder)),
                keep_files: *keep_files,
            };
            let selection = Selection {
                disconnect: disconnect.clone(),
                keep_connections: *keep_connections,
                ..selection(meant, who)
            };
            let frozen = dormouse_engine::freeze(&selection, &options, &watcher);
            images::sweep_kept(who, frozen.is_ok());
            ended(frozen, failure::of_freeze, |error| matches!(error, FreezeError::Cancelled))
        }
        Task::Thaw { image, wish } => {
            let pids = if inside.is_some_and(|inside| !inside.is_whole()) { Pids::Own } else { Pids::Free };
            let options = ThawOptions {
                asker: who.asker(),
                pids,
                reset_connections: wish.reset_connections,
                changed: match wish.changed_files {
                    dormouse_wire::ChangedFiles::Stop => ChangedFiles::Stop,
                    dormouse_wire::ChangedFiles::New => ChangedFiles::New,
                    dormouse_wire::ChangedFiles::Kept => ChangedFiles::Kept(store::copies),
                },
                owners: before.owners,
                kept: vec![store::kept(&who.folder)],
                ..ThawOptions::default()
            };
            let _waking = images::waking(who);
            let thawed = dormouse_engine::thaw(&images::place(who, image)?, &options, &watcher).map(|mut thawed| {
                thawed.losses.extend_from_slice(inside.map_or(&[], Inside::losses));
                thawed
            });
            ended(thawed, failure::of_thaw, |error| matches!(error, ThawError::Cancelled))
        }
        Task::Preflight(image) => done(&images::preflight(who, image)?),
        Task::Pause(meant) => still(meant, |options| {
            dormouse_engine::pause(options)
                .map_err(failure::of_pause)
                .map_err(Said::Failed)
                .and_then(|paused| done(&paused))
        }),
        Task::Resume(meant) => still(meant, |options| {
            let resumed = dormouse_engine::resume(options).map_err(failure::of_resume).map_err(Said::Failed)?;
            done(&resumed)
        }),
        Task::Process(pid) => done(&process::details(*pid)?),
        Task::Images => done(&images::list(who)?),
        Task::Room => done(&images::room(who)),
        Task::Inspect(image) => done(&images::inspect(who, image)?),
        Task::Export(image) => done(&images::export(who, image, &watcher)?),
        Task::ExportBundle { image, working_files } => {
            done(&images::export_bundle(who, image, *working_files, &watcher)?)
        }
        Task::Import(name) => done(&images::import(who, name, &watcher)?),
        Task::Delete(image) => done(&images::delete(who, image)?),
        Task::AtLogout(wanted) => done(&at_logout(who, *wanted)?),
        Task::Move(folder) => done(&images::move_to(who, folder.as_deref(), &watcher)?),
    }
}

/// How a freeze or a thaw has ended.
fn ended<T: Serialize, E>(
    end: Result<T, E>,
    told: impl Fn(E) -> Failure,
    was_cancelled: impl Fn(&E) -> bool,
) -> Result<Said, Said> {
    match end {
        Ok(value) => done(&value),
        Err(error) if was_cancelled(&error) => Err(Said::Cancelled(told(error))),
        Err(error) => Err(Said::Failed(told(error))),
    }
}

/// X servers are asked with the user's own authority.
fn displays(who: &Who) -> x11::Options {
    let usual = who.home.join(".Xauthority");
    let is_own = usual.symlink_metadata().is_ok_and(|found| found.is_file() && found.uid() == who.user);
    x11::Options { authorities: is_own.then_some(usual).into_iter().collect(), ..x11::Options::default() }
}

fn selection(meant: &Meant, who: &Who) -> Selection {
    Selection {
        pid: meant.pid,
        others: meant.others.clone(),
        born: meant.born.clone(),
        tree_only: false,
        disconnect: Disconnect::Nothing,
        keep_connections: false,
        asker: who.asker(),
    }
}

/// What is chosen for the logout, after this has been.
fn at_logout(who: &Who, wanted: Option<bool>) -> Result<AtLogout, Said> {
    if let Some(wanted) = wanted {
        at_logout::choose(who.user, &who.home, wanted).map_err(|error| {
            let home = who.home.display();
            Said::Failed(sentence(phrase!(
                "The choice for the logout cannot be written down in {home}: {why}.",
                home,
                why = error
            )))
        })?;
    }
    Ok(at_logout::look(who.user, &who.home))
}

/// The name of an image that is not there yet, in a folder that is, closed to others.
fn new_image(who: &Who, meant: &Meant) -> Result<PathBuf, Said> {
    let refused = |problem| Said::Failed(failure::of_freeze(FreezeError::Failed(Box::new(problem))));
    let _acting = who.asker().as_ref().map(Asker::acting).transpose().map_err(refused)?;
    images::there(who).map_err(refused)?;
    store::make(&who.folder).map_err(|error| {
        let what = phrase!("the folder of images cannot be made or closed to others: {why}", why = error);
        refused(Problem::blocks(ProblemKind::File, what).at(who.folder.display().to_string()))
    })?;
    Ok(store::new_image(&who.folder, meant.pid))
}

fn still(meant: &Meant, work: impl FnOnce(&PauseOptions<'_>) -> Result<Said, Said>) -> Result<Said, Said> {
    let place = runtime::place().ok_or_else(|| {
        Said::Failed(sentence(phrase!("There is no folder to write down who is paused, such as /run/user/1000.")))
    })?;
    store::make(&place).map_err(|error| {
        let place = place.display();
        Said::Failed(sentence(phrase!(
            "The folder {place} cannot be made or closed to others: {why}.",
            place,
            why = error
        )))
    })?;
    let options =
        PauseOptions { pid: meant.pid, others: &meant.others, records: &place, units: &Systemd, reclaim: false };
    work(&options)
}
