//! `dormouse thaw`: a group comes back from its file, and a job takes the terminal again.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, TypedValueParser};
use dormouse_engine::pid_namespace::{self, Inside, Side};
use dormouse_engine::{ChangedFiles, Move, Owners, OwnersWish, Pids, ThawOptions};
use dormouse_service::alone::Alone;
use dormouse_service::bundle;
use dormouse_service::store::{copies, kept};
use dormouse_wire::{Problem, ProblemKind, ProcessName, Progress, Remedy, Severity, Thawed, UserNames};
use nix::unistd::Pid;

use crate::exit::{Failure, Outcome};
use crate::progress::Bar;
use crate::terminal::Terminal;
use crate::{job, output, store};

/// Wakes what sleeps in a file: it runs on where it stopped.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT, after_long_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "options of the command line")]
pub struct Arguments {
    /// The image file, or a bundle that `dormouse export` has made.
    #[arg(value_name = "FILE")]
    image: PathBuf,

    /// Do not give the terminal to a job that had it, and do not wait for the job.
    #[arg(short, long)]
    background: bool,

    /// Give up TCP connections to outside that were kept (freeze --keep-connections): the programs find them reset.
    #[arg(long)]
    reset_connections: bool,

    /// What lay in the folder OLD at the freeze, or was this file, lies in NEW now; may be given more than once.
    ///
    /// Both are absolute paths. OLD stands for itself and all that lies below it; where several fit, the longest counts. It
    /// goes for files that are open, mapped or run, for working and root directories, for sockets and FIFOs with a name,
    /// for what is watched, and for what a sandbox has mounted of the system; within a sandbox names stay but for what has
    /// moved below what is mounted there. The program itself still knows the old names: what it opens by one from now on,
    /// it does not find. The first `=` parts the two; write `\=` for one that belongs to a path.
    #[arg(long = "map", value_name = "OLD=NEW", value_parser = OsStringValueParser::new().try_map(moved))]
    moves: Vec<Move>,

    /// Who counts as who, where users and groups have other numbers here than where the group was frozen.
    ///
    /// What the group is and holds is led to other numbers; what its programs have in their memory is not. Numbers of users and
    /// groups inside of its own user namespaces stay.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Users::Stop)]
    users: Users,

    /// Who takes the place of a user of the image, both by name or number; may be given more than once.
    #[arg(long = "user", value_name = "OLD=NEW", value_parser = instead)]
    user: Vec<(String, String)>,

    /// Which group takes the place of one of the image, both by name or number; may be given more than once.
    #[arg(long = "group", value_name = "OLD=NEW", value_parser = instead)]
    group: Vec<(String, String)>,

    /// What becomes of files that it had open, and that have changed since the freeze.
    ///
    /// Of programs and libraries that have changed copies are used that were kept at the freeze.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Changed::Stop)]
    changed_files: Changed,

    /// When the group comes back in a pid namespace of its own, where it keeps its pids whoever has them outside.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Taken)]
    pid_namespace: When,

    /// It came in a bundle.
    #[arg(skip)]
    is_bundle: bool,

    /// Who takes whose place, once that is known.
    #[arg(skip)]
    owners: Owners,

    /// Write what was done, or why it was not, to standard output as JSON.
    #[arg(long)]
    json: bool,
}

/// What becomes of files that have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Changed {
    /// They stand in the way
    Stop,
    /// The group uses them as they are now
    New,
    /// The group gets the copies of `freeze --keep files`, in a folder of their own; the files stay as they are
    Kept,
}

/// Who counts as who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Users {
    /// Those who have another number here stand in the way
    Stop,
    /// Whoever has the same name here
    ByName,
    /// Whoever has the same number here
    AsTheyAre,
}

impl From<Changed> for dormouse_wire::ChangedFiles {
    fn from(changed: Changed) -> Self {
        match changed {
            Changed::Stop => Self::Stop,
            Changed::New => Self::New,
            Changed::Kept => Self::Kept,
        }
    }
}

impl From<Users> for UserNames {
    fn from(users: Users) -> Self {
        match users {
            Users::Stop => Self::Stop,
            Users::ByName => Self::ByName,
            Users::AsTheyAre => Self::AsTheyAre,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum When {
    /// When other processes have some of its pids
    Taken,
    /// Always
    Always,
    /// Never: pids that others have stand in the way
    Never,
}

const ABOUT: &str = "\
Wakes what sleeps in a file: it runs on where it stopped, with the same pids. Where other processes have some of them, it \
comes back in a pid namespace of its own: it keeps its pids there, sees no other processes than its own, and has other pids \
outside.

The image is checked first, and everything that stands in the way is listed before any process exists. Ctrl-C undoes \
a thaw that is under way. The image stays where it is; remove it when you do not need it any more. Thaw it again only \
if you are sure that the files it uses have not gone on without it.

A job that was in the foreground of a terminal, such as an editor, comes back on the terminal of this command, in the \
foreground: Ctrl-Z stops it as usual, `fg` continues it, and this command ends when it ends, with its status. With \
--background it does not get the terminal, and finds out like any other job in the background when it wants it.";

const EXAMPLES: &str = "\
Examples:
  dormouse thaw build.dormouse
      Wake what sleeps in this file.
  dormouse thaw --background build.dormouse
      Wake it and return at once, even if it is a job of the terminal.
  dormouse thaw --map /home/ann=/home/bob --map /mnt/old=/srv build.dormouse
      Wake it where these folders have moved since it was frozen.

Exit status:
  0 when the group runs, 1 when it could not be thawed. After a job in the foreground: the status of the job, or 128 \
plus the number of the signal that ended it.";

/// Two paths with a `=` between them.
fn moved(text: OsString) -> Result<Move, String> {
    let text = text.as_bytes();
    let parts = (0..text.len()).find(|at| text[*at] == b'=' && (*at == 0 || text[at - 1] != b'\\'));
    let at = parts.ok_or("there is no = between an old path and a new one")?;
    let path = |bytes: &[u8]| {
        let escapes = |at: usize| bytes[at] == b'\\' && bytes.get(at + 1) == Some(&b'=');
        let bytes = (0..bytes.len()).filter(|at| !escapes(*at)).map(|at| bytes[at]).collect();
        PathBuf::from(OsString::from_vec(bytes))
    };
    Move::new(&path(&text[..at]), &path(&text[at + 1..])).map_err(|what| what.to_string())
}

/// Two users or groups with a `=` between them.
fn instead(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(old, new)| !old.is_empty() && !new.is_empty());
    let (old, new) = parts.ok_or("it is not OLD=NEW, with a name or number on either side")?;
    Ok((old.to_owned(), new.to_owned()))
}

/// Runs the subcommand.
pub fn run(mut arguments: Arguments) -> Outcome {
    if bundle::is_one(&arguments.image) {
        match unpacked(&arguments.image) {
            Err(failure) if arguments.json => return Err(output::failure_as_json(failure)),
            image => arguments.image = image?,
        }
        arguments.is_bundle = true;
    }
    arguments.owners = match owners(&arguments) {
        Err(failure) if arguments.json => return Err(output::failure_as_json(failure)),
        owners => owners?,
    };
    wake(&arguments)
}

fn runs_already(first: &ProcessName) -> Failure {
    Failure::new(format!("The image was not thawed: what sleeps in it runs already, {first} first.")).hint(
        "To have it twice: --pid-namespace always. Both work on the same files then, and what one of them writes is \
         not what the other one expects.",
    )
}

/// Wakes an image.
fn wake(arguments: &Arguments) -> Outcome {
    let alone = match arguments.pid_namespace {
        When::Always => None,
        When::Taken | When::Never => match Alone::with(&arguments.image).map_err(|first| runs_already(&first)) {
            Err(failure) if arguments.json => return Err(output::failure_as_json(failure)),
            alone => Some(alone?),
        },
    };
    // Before there are any threads.
    let mut inside = match own_pids(arguments) {
        Ok(Some(Side::Outside(status))) => return Ok(ExitCode::from(status)),
        Ok(Some(Side::Inside(inside))) => Some(inside),
        Ok(Some(Side::Frozen(_)) | None) => None,
        Err(failure) if arguments.json => return Err(output::failure_as_json(failure)),
        Err(failure) => return Err(failure),
    };
    // Before the thaw: the job's own settings of the terminal come back with it.
    let terminal = Terminal::of_standard_input();
    let has_own_pids = inside.as_ref().is_some_and(|inside| !inside.is_whole());
    let mut thawed = thaw(arguments, terminal.as_ref(), has_own_pids);
    let lost_a_race = thawed.as_ref().is_err_and(|failure| failure.is_only(ProblemKind::PidTaken));
    if lost_a_race && inside.is_none() && matches!(arguments.pid_namespace, When::Taken) {
        match pid_namespace::wanted(&arguments.image, None).map(|wanted| pid_namespace::make(&wanted)) {
            Some(Ok(Side::Outside(status))) => return Ok(ExitCode::from(status)),
            Some(Ok(Side::Inside(made))) => {
                inside = Some(made);
                thawed = thaw(arguments, terminal.as_ref(), true);
            }
            // What was in the way before is told.
            Some(Ok(Side::Frozen(_)) | Err(_)) | None => {}
        }
    }
    // Not as long as a job has the terminal.
    drop(alone);
    let first = || inside.as_ref().filter(|inside| inside.is_whole()).and_then(Inside::first_outside);
    let mut thawed = match thawed {
        Err(failure) if arguments.json => return Err(output::failure_as_json(failure)),
        thawed => thawed?,
    };
    let first = first();
    if let Some(inside) = &inside {
        inside.group_runs();
        thawed.losses.extend_from_slice(inside.losses());
    }
    tell(arguments, &thawed, terminal, first)
}

/// Says what has come of it, and stays with a job that has the terminal.
fn tell(
    arguments: &Arguments,
    thawed: &Thawed,
    terminal: Option<Terminal>,
    first: Option<dormouse_wire::Pid>,
) -> Outcome {
    if arguments.json {
        output::json(thawed)?;
    }
    output::losses(&thawed.losses);
    output::kept(if arguments.json { &[] } else { &thawed.kept });
    if let (Some(group), Some(terminal)) = (thawed.foreground, &terminal)
        && terminal.is_of(Pid::from_raw(group.0))
    {
        // What we have shown is not what the job knows of its screen.
        terminal.repaint();
    }
    match (thawed.foreground, terminal) {
        (Some(group), Some(terminal)) if !arguments.background => {
            let roots: Vec<Pid> = thawed.roots.iter().map(|root| Pid::from_raw(root.0)).collect();
            job::attend(&terminal, Pid::from_raw(group.0), &roots).map(ExitCode::from)
        }
        _ => {
            if !arguments.json {
                output::say(&summary(thawed, first));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A bundle is taken apart first: its image is one like any other from then on.
fn unpacked(file: &Path) -> Result<PathBuf, Failure> {
    let folder = store::folder()?;
    // Gone again before there is another process.
    let bar = Bar::new()?;
    let image = bundle::unpack(file, &folder, &bar);
    if bar.cancelled() {
        return Err(Failure::new("The bundle was not thawed: that was interrupted."));
    }
    image.map_err(|failure| Failure::new(failure.sentence.to_string()).because(failure.problems))
}

/// Who takes whose place. It is asked here, for within a sandbox others would answer.
fn owners(arguments: &Arguments) -> Result<Owners, Failure> {
    let wish =
        OwnersWish { names: arguments.users.into(), users: arguments.user.clone(), groups: arguments.group.clone() };
    dormouse_engine::owners(&arguments.image, None, &wish).map_err(Failure::from)
}

/// Where the group must or may have pids of its own: which half of this command this is.
fn own_pids(arguments: &Arguments) -> Result<Option<Side>, Failure> {
    let unthawed =
        |problems| hinted(Failure::new("The image was not thawed; it is unchanged.").because(problems), arguments);
    if let Some(side) =
        pid_namespace::make_capsule(&arguments.image, None, &arguments.moves, &arguments.owners).map_err(unthawed)?
    {
        return Ok(Some(side));
    }
    let wanted = match arguments.pid_namespace {
        When::Taken => pid_namespace::taken(&arguments.image, None),
        When::Always => pid_namespace::wanted(&arguments.image, None),
        When::Never => None,
    };
    let made = wanted.map(|wanted| pid_namespace::make(&wanted)).transpose();
    made.map_err(|problem| unthawed(vec![problem]))
}

fn thaw(arguments: &Arguments, terminal: Option<&Terminal>, own_pids: bool) -> Result<Thawed, Failure> {
    let options = ThawOptions {
        terminal: terminal.map(|terminal| terminal.path().to_owned()),
        background: arguments.background,
        reset_connections: arguments.reset_connections,
        moves: arguments.moves.clone(),
        owners: arguments.owners.clone(),
        kept: store::folder().ok().map(|folder| kept(&folder)).into_iter().collect(),
        changed: match arguments.changed_files {
            Changed::Stop if arguments.is_bundle => ChangedFiles::Missing(copies),
            Changed::Stop => ChangedFiles::Stop,
            Changed::New => ChangedFiles::New,
            Changed::Kept => ChangedFiles::Kept(copies),
        },
        pids: if own_pids { Pids::Own } else { Pids::Free },
        ..ThawOptions::default()
    };
    let bar = Bar::new()?;
    dormouse_engine::thaw(&arguments.image, &options, &bar).map_err(|error| hinted(error.into(), arguments))
}

/// Files that are missing may only lie elsewhere.
fn hinted(failure: Failure, arguments: &Arguments) -> Failure {
    let is_file = |problem: &Problem| problem.kind == ProblemKind::File && problem.severity == Severity::Blocks;
    let has = |remedy: Remedy| failure.problems.iter().any(|problem| problem.remedies.contains(&remedy));
    if has(Remedy::NewFiles) && matches!(arguments.changed_files, Changed::Kept) {
        return failure.hint(
            "No copy of these was kept at the freeze (freeze --keep files). To go on with files as they are now: \
             --changed-files new.",
        );
    }
    if has(Remedy::NewFiles) {
        return failure.hint(
            "To go on with files as they are now: --changed-files new. With what they held at the freeze, where copies of \
             them were kept (freeze --keep files): --changed-files kept.",
        );
    }
    if arguments.moves.is_empty() && failure.problems.iter().any(is_file) {
        let copies = if has(Remedy::KeptFiles) {
            " To go on with what they held at the freeze: --changed-files kept."
        } else {
            ""
        };
        return failure
            .hint(format!("Where files have only moved since the freeze, say where to: --map OLD=NEW.{copies}"));
    }
    failure
}

/// `outside`: what the first process of a sandbox is called where this command was given.
fn summary(thawed: &Thawed, outside: Option<dormouse_wire::Pid>) -> String {
    let first = thawed.processes.first().map_or_else(String::new, |first| format!(", {first} first"));
    let verb = if thawed.processes.len() == 1 { "runs" } else { "run" };
    let outside = outside.map_or_else(String::new, |pid| format!(" in a sandbox; outside the first one is pid {pid}"));
    format!(
        "{}{first}, {verb} again{outside}. The image is still there: {}",
        output::count(thawed.processes.len(), "process", "processes"),
        thawed.image.display()
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_first_equals_sign_that_is_not_escaped_parts_old_from_new() {
        for (text, old, new) in
            [("/a=/b", "/a", "/b"), ("/a\\=b=/c=d", "/a=b", "/c=d"), ("/a\\b=/c\\=", "/a\\b", "/c=")]
        {
            assert_eq!(
                moved(OsString::from(text)),
                Move::new(Path::new(old), Path::new(new)).map_err(|_| String::new())
            );
        }
        for text in ["", "/a", "=", "=/b", "/a=", "a=/b", "/a\\=/b"] {
            assert!(moved(OsString::from(text)).is_err(), "{text}");
        }
    }
}
