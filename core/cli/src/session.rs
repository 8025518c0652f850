//! `dormouse session`: all groups of a user, put to sleep and woken with one command.

mod at_logout;

use std::process::ExitCode;

use clap::Subcommand;
use dormouse_engine::Born;
use dormouse_service::session::{self, Direct, Hands, OverBus, Slept, Wish, Woken, plan};
use dormouse_wire::dbus::{Failure as Refusal, Sleeping};
use dormouse_wire::{Listed, Problem, Remedy, SessionMark, ThawWish};
use nix::unistd::{Uid, User};
use serde::Serialize;

use crate::exit::{Failure, Outcome};
use crate::list::Lister;
use crate::output;
use crate::progress::Bar;
use crate::thaw::{Changed, Users};

/// Puts all groups of a user to sleep, and wakes them.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

const ABOUT: &str = "\
Puts all groups of a user to sleep, and wakes them.

Root does it for the user of `--user`, or whoever has called sudo; everybody else asks the service for what is his own.";

#[derive(Debug, Subcommand)]
enum What {
    Freeze(Freeze),
    Thaw(Thaw),
    Status(Status),
    Enable(at_logout::Enable),
    Disable(at_logout::Disable),
}

/// Whose session.
#[derive(Debug, clap::Args)]
pub struct Whose {
    /// Whose session, by name or number: for root. The usual one is whoever has called sudo.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

/// Of what copies are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Keep {
    /// Of the programs and libraries that the groups have mapped
    Programs,
    /// Of those, and of all files that they have open or mapped
    Files,
}

/// How a session is put to sleep, by itself or for a restart of the machine.
#[derive(Debug, clap::Args)]
pub struct How {
    #[command(flatten)]
    pub whose: Whose,

    /// Put a group to sleep, too, when something of it would be lost. What was lost is listed.
    #[arg(long)]
    pub accept_losses: bool,

    /// Keep TCP connections to outside: their other ends are held off until the thaw.
    #[arg(long)]
    pub keep_connections: bool,

    /// Of what copies are kept beside the images, so that it does not matter when it changes meanwhile.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Keep::Programs)]
    pub keep: Keep,

    /// Leave this group as it is, by its id, its name or the pid of one of its processes; may be given more than once.
    #[arg(long, value_name = "GROUP")]
    pub except: Vec<String>,

    /// Say what would be put to sleep, and what would not be tried; nothing is touched.
    #[arg(long)]
    pub dry_run: bool,
}

/// Puts all groups to sleep that can be, and tells of the others.
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Puts all groups to sleep that can be, and tells of the others.

Groups that are connected with each other go into one image; the youngest fall asleep first. What the session itself runs in \
(systemd, the message bus, the display server, the login), the groups that this command runs in, and services of systemd stay \
as they are. Ctrl-C undoes the freeze that is under way; what sleeps already sleeps on, and `dormouse session thaw` wakes it.")]
#[command(after_long_help = "\
Exit status: 0 where all sleep that were to, 1 where some run on. With --json the report goes to standard output.")]
pub struct Freeze {
    #[command(flatten)]
    how: How,

    #[command(flatten)]
    chosen: at_logout::Chosen,

    /// Write the report to standard output as JSON.
    #[arg(long)]
    json: bool,
}

/// Wakes what sleeps of sessions: what had been there first comes first.
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Wakes what sleeps of sessions: what had been there first comes first.

Its images are deleted as soon as their groups run. What cannot be woken sleeps on and is told, and so is what needs a terminal: \
wake that in one, with `dormouse thaw`.")]
pub struct Thaw {
    #[command(flatten)]
    whose: Whose,

    #[command(flatten)]
    chosen: at_logout::Chosen,

    /// What becomes of files that they had open, and that have changed since the freeze.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Changed::Stop)]
    changed_files: Changed,

    /// Who counts as who, where users and groups have other numbers here than where they were frozen.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Users::Stop)]
    users: Users,

    /// Write the report to standard output as JSON.
    #[arg(long)]
    json: bool,
}

/// Lists what sleeps of sessions, in the order in which it would be woken.
#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    whose: Whose,

    /// Write the list to standard output as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(arguments: Arguments) -> Outcome {
    match arguments.what {
        What::Freeze(freeze) => asked(freeze.json, || fall_asleep(&freeze)),
        What::Thaw(thaw) => asked(thaw.json, || wake_up(&thaw)),
        What::Status(status) => asked(status.json, || list(&status)),
        What::Enable(enable) => at_logout::enable(&enable),
        What::Disable(disable) => at_logout::disable(&disable),
    }
}

fn asked(json: bool, work: impl FnOnce() -> Outcome) -> Outcome {
    work().map_err(|failure| if json { output::failure_as_json(failure) } else { failure })
}

/// A refusal of the service or of a worker.
pub fn failure(refusal: Refusal) -> Failure {
    Failure::new(refusal.sentence.to_string()).because(refusal.problems)
}

impl Whose {
    /// The user who is meant, who must have been named where that is root: root's groups are those of the whole system.
    pub fn not_root_by_chance(&self) -> Result<Uid, Failure> {
        let user = self.user()?;
        if user.is_root() && self.user.is_none() {
            let hint = "Name the user: --user NAME. The groups of root are those of the whole system: --user root.";
            return Err(Failure::new("It is not clear whose session is meant.").hint(hint));
        }
        Ok(user)
    }

    /// The user who is meant.
    pub fn user(&self) -> Result<Uid, Failure> {
        let Some(wanted) = &self.user else {
            let sudo = std::env::var("SUDO_UID").ok().and_then(|text| text.parse().ok()).map(Uid::from_raw);
            return Ok(sudo.filter(|_| Uid::effective().is_root()).unwrap_or_else(Uid::current));
        };
        let found = match wanted.parse() {
            Ok(number) => User::from_uid(Uid::from_raw(number)),
            Err(_) => User::from_name(wanted),
        };
        let user = found.ok().flatten().ok_or_else(|| Failure::new(format!("There is no user {wanted}.")))?.uid;
        if user != Uid::effective() && !Uid::effective().is_root() {
            return Err(Failure::new("Sessions of other users are for root."));
        }
        Ok(user)
    }
}

/// Whoever does the work for a user.
pub fn hands(user: Uid) -> Result<Box<dyn Hands>, Failure> {
    if Uid::effective().is_root() {
        Ok(Box::new(Direct::of(user.as_raw()).map_err(failure)?))
    } else {
        Ok(Box::new(OverBus::find().map_err(failure)?))
    }
}

/// Puts the session of a user to sleep.
pub fn sleep(user: Uid, how: &How, hands: &mut dyn Hands, bar: &Bar) -> Result<Slept, Failure> {
    let (groups, graph, born) = groups_of(user)?;
    all_are_there(&groups, &how.except)?;
    let plan = plan(user.as_raw(), groups, &graph, &how.except);
    let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid")
        .map_err(|error| Failure::system("The session cannot be given a number", &error))?;
    let mark = SessionMark { id: id.trim().to_owned(), order: 0 };
    let wish = Wish {
        accept_losses: how.accept_losses,
        keep_connections: how.keep_connections,
        keep_files: how.keep == Keep::Files,
        mark,
        born,
    };
    let _alone = session::alone(hands).map_err(failure)?;
    Ok(session::sleep(plan, &graph, hands, wish, bar))
}

/// Whoever is left out runs: else somebody's work would fall asleep that was to go on.
pub fn all_are_there(groups: &[Listed], except: &[String]) -> Result<(), Failure> {
    let nobody: Vec<&str> = except
        .iter()
        .filter(|text| !groups.iter().any(|group| session::is_meant(group, text)))
        .map(String::as_str)
        .collect();
    if nobody.is_empty() {
        return Ok(());
    }
    let hint =
        "Name a group by its id or its name, as `dormouse list` shows them, or by the pid of one of its processes.";
    Err(Failure::new(format!("There is nobody to leave out: {}. Nothing has changed.", nobody.join(", "))).hint(hint))
}

/// The groups in which a user has a process, what ties everybody together, and when everybody started.
pub fn groups_of(user: Uid) -> Result<(Vec<Listed>, dormouse_wire::Graph, Born), Failure> {
    let mut lister = Lister::of_user(user);
    let (groups, graph) = lister.look_with_ties()?;
    Ok((groups, graph, lister.born()))
}

fn fall_asleep(arguments: &Freeze) -> Outcome {
    let user = arguments.how.whose.not_root_by_chance()?;
    if arguments.chosen.leaves_alone(user)? {
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.how.dry_run {
        return dry_run(user, arguments);
    }
    // First the bar: threads of a connection to the bus would take signals that are not held back by then.
    let bar = Bar::new()?;
    let mut hands = hands(user)?;
    let slept = sleep(user, &arguments.how, hands.as_mut(), &bar)?;
    drop(bar);
    if arguments.json {
        output::json(&slept)?;
    } else {
        tell_asleep(&slept);
    }
    Ok(if slept.stayed.is_empty() && !slept.interrupted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What would be done.
#[derive(Serialize)]
struct Planned {
    together: Vec<Vec<session::Named>>,
    stayed: Vec<session::Stayed>,
    left: Vec<session::Left>,
}

fn dry_run(user: Uid, arguments: &Freeze) -> Outcome {
    let (groups, graph, _) = groups_of(user)?;
    all_are_there(&groups, &arguments.how.except)?;
    let plan = plan(user.as_raw(), groups, &graph, &arguments.how.except);
    let together = plan.clusters.iter().map(|cluster| cluster.iter().map(session::Named::from).collect()).collect();
    let planned = Planned { together, stayed: plan.tied, left: plan.left };
    if arguments.json {
        output::json(&planned)?;
        return Ok(ExitCode::SUCCESS);
    }
    for together in &planned.together {
        output::say(&format!("Would be put to sleep: {}", named(together)));
    }
    tell_stayed(&planned.stayed, "would run on");
    tell_left(&planned.left);
    Ok(ExitCode::SUCCESS)
}

/// What groups are called, in one line.
pub fn named(groups: &[session::Named]) -> String {
    let names: Vec<String> = groups.iter().map(|group| format!("{} ({})", group.name, group.id)).collect();
    names.join(", ")
}

/// Says what has come of it.
pub fn tell_asleep(slept: &Slept) {
    for asleep in &slept.asleep {
        output::say(&format!("Asleep: {}, in {} ({})", named(&asleep.groups), asleep.image.display(), asleep.size));
        output::losses(&asleep.losses);
    }
    tell_stayed(&slept.stayed, "runs on");
    tell_left(&slept.left);
    if slept.interrupted {
        output::say("Interrupted: what had not been reached runs on.");
    }
    if slept.asleep.is_empty() {
        output::say("Nothing was put to sleep.");
    } else {
        let images = output::count(slept.asleep.len(), "image", "images");
        output::say(&format!("{images} in all. To wake them: dormouse session thaw"));
    }
}

fn tell_stayed(stayed: &[session::Stayed], runs_on: &str) {
    for stayed in stayed {
        let failure = Failure::new(format!("{} {runs_on}. {}", named(&stayed.groups), stayed.sentence))
            .because(stayed.problems.clone());
        let is_cut = |problem: &Problem| problem.boundary.is_some();
        output::failure(&if stayed.problems.iter().any(is_cut) {
            failure.hint("--disconnect is an option of `dormouse freeze`, which puts this group alone to sleep.")
        } else {
            failure
        });
    }
}

fn tell_left(left: &[session::Left]) {
    for left in left {
        output::say(&format!("Left as it is: {}, for {}.", named(std::slice::from_ref(&left.group)), left.why));
    }
}

fn wake_up(arguments: &Thaw) -> Outcome {
    let user = arguments.whose.user()?;
    let bar = Bar::new()?;
    let mut hands = hands(user)?;
    if arguments.chosen.sleeps_on(user, hands.as_mut())? {
        return Ok(ExitCode::SUCCESS);
    }
    let wish = ThawWish {
        changed_files: arguments.changed_files.into(),
        users: arguments.users.into(),
        ..ThawWish::default()
    };
    let woken = wake(hands.as_mut(), wish, None, &bar)?;
    drop(bar);
    if !woken.interrupted {
        session::wish::forget(hands.as_mut()).map_err(failure)?;
    }
    if arguments.json {
        output::json(&woken)?;
    } else {
        tell_awake(&woken);
    }
    Ok(if woken.asleep.is_empty() && !woken.interrupted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Wakes the sessions of a user, or only one of them.
pub fn wake(hands: &mut dyn Hands, wish: ThawWish, session: Option<&str>, bar: &Bar) -> Result<Woken, Failure> {
    let _alone = session::alone(hands).map_err(failure)?;
    session::wake(hands, wish, session, bar).map_err(failure)
}

/// Says what has come of it.
pub fn tell_awake(woken: &Woken) {
    for awake in &woken.awake {
        let awake_since = if awake.ended { "Woken before, and ended since" } else { "Awake" };
        output::say(&format!("{awake_since}: {}", awake.name));
        output::losses(&awake.losses);
        if let Some(why) = &awake.undeleted {
            output::say(&format!("Its image {} is still there: {}", awake.image, why.sentence));
        }
    }
    for asleep in &woken.asleep {
        let failure = Failure::new(format!("{} sleeps on in {}: {}", asleep.name, asleep.image, asleep.why))
            .because(asleep.problems.clone());
        // Who takes whose place is another question for each image, and --user says here whose session is meant.
        let has = |remedy: Remedy| asleep.problems.iter().any(|problem| problem.remedies.contains(&remedy));
        output::failure(&if has(Remedy::AsTheyAre) {
            failure.hint(
                "--user OLD=NEW and --group OLD=NEW are options of `dormouse thaw`, which wakes this image alone.",
            )
        } else if has(Remedy::KeptFiles) {
            failure.hint("To go on with what they held at the freeze: --changed-files kept. With files as they are now: --changed-files new.")
        } else if has(Remedy::NewFiles) {
            failure.hint("To go on with files as they are now: --changed-files new.")
        } else {
            failure
        });
    }
    if woken.interrupted {
        output::say("Interrupted: what had not been reached sleeps on.");
    }
    if woken.awake.is_empty() && woken.asleep.is_empty() {
        output::say("Nothing sleeps of a session.");
    }
}

fn list(arguments: &Status) -> Outcome {
    let mut hands = hands(arguments.whose.user()?)?;
    let images = session::order(hands.images().map_err(failure)?);
    if arguments.json {
        output::json(&images)?;
    } else if images.is_empty() {
        output::say("Nothing sleeps of a session.");
    } else {
        let mut table = output::Table::new(&["STATE", "NAME", "PROCESSES", "SIZE", "IMAGE"], &[2, 3]);
        for image in &images {
            table.row([
                state(image).to_owned(),
                image.name.clone(),
                image.processes.len().to_string(),
                image.size.to_string(),
                image.id.clone(),
            ]);
        }
        output::print(&table.lines(output::width()))?;
        let damaged: Vec<Problem> =
            images.iter().filter_map(|image| Some(image.damage.clone()?.at(image.id.clone()))).collect();
        if !damaged.is_empty() {
            output::failure(&Failure::new("Some images cannot be thawed.").because(damaged));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn state(image: &Sleeping) -> &'static str {
    match image {
        Sleeping { damage: Some(_), .. } => "damaged",
        Sleeping { awake: true, .. } => "awake",
        Sleeping { woken: true, .. } => "woken before",
        Sleeping { terminal: true, .. } => "wants a terminal",
        _ => "asleep",
    }
}
