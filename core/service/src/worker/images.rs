//! Images in the folder of their owner. All but the preflight is done as that user.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use dormouse_engine::image::{ImageError, Reader, SectionKind};
use dormouse_engine::resource::group::{Group, Process};
use dormouse_engine::{
    Asker, Owners, OwnersWish, Pids, ThawError, ThawOptions, pid_namespace, preflight as engine_preflight,
};
use dormouse_wire::dbus::{Failure, Folder, Sleeping};
use dormouse_wire::{ByteSize, Phase, Phrase, Problem, ProblemKind, ProcessName, Progress, phrase};
use nix::sys::statvfs::statvfs;

use super::{Said, Who};
use crate::alone::Alone;
use crate::bundle::{self, Exported};
use crate::copying::{self, Stopped, Unfinished, copy};
use crate::look::{Image, json};
use crate::moving::{self, MoveError, Places};
use crate::store;

fn failed(sentence: Phrase, problem: Problem) -> Said {
    Said::Failed(Failure { sentence, problems: vec![problem] })
}

fn of_system(sentence: Phrase, path: &Path, error: &io::Error) -> Said {
    of_place(sentence, path.display().to_string().into(), error)
}

fn of_place(sentence: Phrase, place: Phrase, error: &io::Error) -> Said {
    let why = error
        .raw_os_error()
        .map_or_else(|| error.to_string(), |code| nix::errno::Errno::from_raw(code).desc().to_owned());
    failed(sentence, Problem::blocks(ProblemKind::File, Phrase::verbatim(why)).at(place))
}

/// Where the image lies.
pub fn place(who: &Who, image: &str) -> Result<PathBuf, Said> {
    store::with_id(&who.folder, image).ok_or_else(|| {
        let problem = Problem::blocks(ProblemKind::Image, phrase!("this is not the name of an image")).at(image);
        failed(
            phrase!("There is no such image."),
            problem.way_out(phrase!("Choose one of those that sleep in the folder of images")),
        )
    })
}

fn open(who: &Who, image: &str, sentence: Phrase) -> Result<(PathBuf, Image), Said> {
    let path = place(who, image)?;
    let image = Image::open(&path).map_err(|error| failed(sentence, error.problem()))?;
    Ok((path, image))
}

/// A folder that was chosen is there: it is not made anew where a disk is missing.
pub fn there(who: &Who) -> Result<(), Problem> {
    if who.folder == who.usual || who.folder.is_dir() {
        return Ok(());
    }
    let problem = Problem::blocks(ProblemKind::File, phrase!("the folder that was chosen for images is not there"));
    let way_out = phrase!(
        "Attach the disk that it is on, or choose another folder in Preferences or by `dormouse images --move`"
    );
    Err(problem.at(who.folder.display().to_string()).way_out(way_out))
}

/// Who lives in pid namespaces of groups: looked up when it is first asked for.
type Below = OnceCell<Vec<ProcessName>>;

/// All images of the user, the newest first.
pub fn list(who: &Who) -> Result<Vec<Sleeping>, Said> {
    there(who).map_err(|problem| failed(phrase!("The images cannot be listed."), problem))?;
    let paths = store::images(&who.folder)
        .map_err(|error| of_system(phrase!("The folder of images cannot be read."), &who.folder, &error))?;
    copying::sweep(&who.folder);
    let below = Below::new();
    let mut list: Vec<Sleeping> = paths.iter().filter_map(|path| sleeping(path, &below)).collect();
    list.sort_by(|one, other| other.frozen.cmp(&one.frozen).then_with(|| one.id.cmp(&other.id)));
    Ok(list)
}

/// What a list says of an image; nothing where it is gone meanwhile.
fn sleeping(path: &Path, below: &Below) -> Option<Sleeping> {
    let metadata = fs::metadata(path).ok()?;
    let id = path.file_name()?.to_string_lossy().into_owned();
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let guessed = Sleeping {
        name: path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
        id,
        icon: None,
        application: None,
        frozen: since.map_or(0, |since| since.as_secs()),
        size: ByteSize(metadata.len()),
        processes: Vec::new(),
        kernel: None,
        machine: None,
        losses: Vec::new(),
        damage: None,
        session: None,
        terminal: false,
        awake: false,
        woken: false,
    };
    let looked = Image::open(path).and_then(|image| Ok((image.reader().has_been_woken(), image.inside()?)));
    Some(match looked {
        Ok((woken, inside)) => {
            let label = inside.label.unwrap_or_default();
            let processes: Vec<ProcessName> = inside.group.processes.iter().map(Process::shown).collect();
            let first = processes.first().map(|first| first.comm.clone());
            Sleeping {
                name: label.name.or(first).unwrap_or(guessed.name),
                icon: label.icon,
                application: label.application,
                frozen: inside.origin.created,
                kernel: Some(inside.origin.kernel),
                machine: Some(inside.origin.host),
                losses: inside.losses,
                session: label.session,
                terminal: inside.group.terminal.is_some(),
                awake: pid_namespace::running(&inside.group, || below.get_or_init(pid_namespace::below)).is_some(),
                woken,
                processes,
                ..guessed
            }
        }
        Err(error) => Sleeping { damage: Some(error.problem()), ..guessed },
    })
}

/// The folder, and how much room there is; where it does not exist yet, that of the folder it will be made in.
pub fn room(who: &Who) -> Folder {
    let free = who.folder.ancestors().find_map(|folder| statvfs(folder).ok());
    let free = free.map(|found| ByteSize(found.blocks_available().saturating_mul(found.fragment_size())));
    Folder { path: who.folder.clone(), free, chosen: who.folder != who.usual }
}

/// All that is in an image.
pub fn inspect(who: &Who, image: &str) -> Result<serde_json::Value, Said> {
    const SENTENCE: Phrase = phrase!("The image cannot be looked into.");
    let (path, image) = open(who, image, SENTENCE)?;
    json::everything(&path, &image).map_err(|error| failed(SENTENCE, error.problem()))
}

/// What stands in the way of a thaw here and now.
pub fn preflight(who: &Who, image: &str) -> Result<Vec<Problem>, Said> {
    let path = place(who, image)?;
    let asker = who.asker();
    let reader = match &asker {
        Some(asker) => asker.open(&path),
        None => Reader::open(&path).map_err(|error| error.problem()),
    };
    let found = reader.and_then(|reader| {
        let group: Group = reader.section(SectionKind::Group).map_err(|error| error.problem())?;
        let (owners, strangers) = match dormouse_engine::owners(&path, asker.as_ref(), &OwnersWish::default()) {
            Ok(owners) => (owners, Vec::new()),
            Err(ThawError::Refused(problems)) => (Owners::default(), problems),
            Err(ThawError::Failed(problem)) => (Owners::default(), vec![*problem]),
            Err(ThawError::Cancelled) => Default::default(),
        };
        let options = ThawOptions {
            asker,
            owners,
            pids: Pids::Elsewhere,
            kept: vec![store::kept(&who.folder)],
            ..ThawOptions::default()
        };
        Ok([strangers, engine_preflight(&group, &reader, &options)].concat())
    });
    Ok(found.unwrap_or_else(|problem| vec![problem]))
}

/// Copies an image to standard input, which the user has opened for that.
pub fn export(who: &Who, image: &str, progress: &dyn Progress) -> Result<u64, Said> {
    const SENTENCE: Phrase = phrase!("The image could not be exported; it is unchanged.");
    let (path, image) = open(who, image, SENTENCE)?;
    let to = given(SENTENCE)?;
    let from = File::open(&path).map_err(|error| of_system(SENTENCE, &path, &error))?;
    let size = image.frame().size.0;
    progress.begins(Phase::Writing, size);
    copy(from, &to, size, progress).map_err(|error| match error {
        Stopped::Cancelled => Said::Cancelled(Failure {
            sentence: phrase!("The export has been cancelled; what has been written of the copy is no image."),
            problems: Vec::new(),
        }),
        Stopped::Failed(error) => of_place(SENTENCE, phrase!("the copy"), &error),
    })?;
    to.sync_all()
        .or_else(|error| if error.kind() == ErrorKind::InvalidInput { Ok(()) } else { Err(error) })
        .map_err(|error| of_place(SENTENCE, phrase!("the copy"), &error))?;
    Ok(size)
}

/// Packs an image with what it needs into standard input, which the user has opened for that.
pub fn export_bundle(who: &Who, image: &str, working_files: bool, progress: &dyn Progress) -> Result<Exported, Said> {
    const SENTENCE: Phrase = phrase!("The image could not be exported; it is unchanged.");
    let (path, _) = open(who, image, SENTENCE)?;
    let to = given(SENTENCE)?;
    let exported = bundle::export_into(&path, &[store::kept(&who.folder)], working_files, &to, progress);
    exported.map_err(|failure| if progress.cancelled() { Said::Cancelled(failure) } else { Said::Failed(failure) })
}

/// Copies an image from standard input into the folder, and looks at every byte of it before it gets its name.
pub fn import(who: &Who, name: &str, progress: &dyn Progress) -> Result<Sleeping, Said> {
    const SENTENCE: Phrase = phrase!("The image could not be imported.");
    let from = given(SENTENCE)?;
    there(who).map_err(|problem| failed(SENTENCE, problem))?;
    store::make(&who.folder).map_err(|error| of_system(SENTENCE, &who.folder, &error))?;
    let size = from.metadata().map_err(|error| of_place(SENTENCE, phrase!("the file"), &error))?.size();
    copying::sweep(&who.folder);
    if bundle::is_open(&from) {
        let path = bundle::unpack_open(&from, Path::new(name), &who.folder, progress)
            .map_err(|failure| if progress.cancelled() { Said::Cancelled(failure) } else { Said::Failed(failure) })?;
        return shown(&path, SENTENCE);
    }
    let (hidden, to) = copying::begin(&who.folder).map_err(|error| of_system(SENTENCE, &who.folder, &error))?;
    let unfinished = Unfinished(&hidden);
    progress.begins(Phase::Reading, size);
    let cancelled = || {
        Said::Cancelled(Failure {
            sentence: phrase!("The import has been cancelled; there is no copy."),
            problems: Vec::new(),
        })
    };
    copy(from, &to, size, progress).map_err(|error| match error {
        Stopped::Cancelled => cancelled(),
        Stopped::Failed(error) => of_system(SENTENCE, &hidden, &error),
    })?;
    to.sync_all().map_err(|error| of_system(SENTENCE, &hidden, &error))?;
    progress.begins(Phase::Checking, size);
    match whole(&hidden, progress) {
        Ok(None) => {}
        Ok(Some(problem)) => return Err(failed(SENTENCE, problem.at(name))),
        Err(ImageError::Cancelled { .. }) => return Err(cancelled()),
        Err(error) => return Err(failed(SENTENCE, error.problem().at(name))),
    }
    let path = store::named(&who.folder, name);
    // Not a rename: nothing that is there is ever replaced.
    fs::hard_link(&hidden, &path).map_err(|error| of_system(SENTENCE, &path, &error))?;
    drop(unfinished);
    shown(&path, SENTENCE)
}

/// What a list says of an image that has just come.
fn shown(path: &Path, sentence: Phrase) -> Result<Sleeping, Said> {
    sleeping(path, &Below::new()).ok_or_else(|| {
        failed(sentence, Problem::blocks(ProblemKind::File, phrase!("it is gone again")).at(path.display().to_string()))
    })
}

/// Whether every byte of a file is as an image's should be; what is not.
fn whole(path: &Path, progress: &dyn Progress) -> Result<Option<Problem>, ImageError> {
    let (reader, sections) = Reader::examine(path)?;
    if let Some(error) = sections.first() {
        return Ok(Some(error.problem()));
    }
    let damage = reader.verify(progress)?;
    Ok(damage.chunks.values().next().map(ImageError::problem))
}

/// Deletes an image.
pub fn delete(who: &Who, image: &str) -> Result<Option<String>, Said> {
    let path = place(who, image)?;
    // Where the thaw fails, it is all there is.
    if !Alone::is_free(&path) {
        let what = phrase!("what sleeps in it is being woken");
        let problem = Problem::blocks(ProblemKind::Image, what).at(path.display().to_string());
        let problem = problem.way_out(phrase!("Delete it when its group runs, or when the thaw has failed"));
        return Err(failed(phrase!("The image could not be deleted."), problem));
    }
    // Where it is damaged nobody can tell any more.
    let inside = Image::open(&path).and_then(|image| image.inside()).ok();
    let id = inside.as_ref().map(|inside| inside.origin.id.clone()).unwrap_or_default();
    let held = inside.and_then(|inside| inside.group.hold);
    fs::remove_file(&path).map_err(|error| of_system(phrase!("The image could not be deleted."), &path, &error))?;
    store::forget(&who.folder, &id);
    Ok(held)
}

/// Holds what tells others that an image of the user's is being woken. Without it only a session cannot tell.
pub fn waking(who: &Who) -> Option<File> {
    let _acting = who.asker().as_ref().map(Asker::acting).transpose().ok()?;
    store::waking(&who.folder).inspect_err(|error| tracing::warn!(%error, "that an image is woken is not told")).ok()
}

/// Nobody else wakes the image as long as the answer lives, and its group does not run; with the user's rights.
pub fn alone(who: &Who, image: &Path) -> Result<Alone, Said> {
    const SENTENCE: Phrase = phrase!("The image was not thawed; it is unchanged.");
    let acting = who.asker().as_ref().map(Asker::acting).transpose();
    let _acting = acting.map_err(|problem| failed(SENTENCE, problem))?;
    Alone::with(image).map_err(|first| {
        let problem = Problem::blocks(ProblemKind::Process, phrase!("what sleeps in it runs already")).of(&first);
        let way_out = phrase!("To have it twice, on the same files: `dormouse thaw --pid-namespace always`");
        failed(SENTENCE, problem.way_out(way_out))
    })
}

/// Removes what was kept for images that are not there any more, with the user's rights.
pub fn sweep_kept(who: &Who, succeeded: bool) {
    if let Ok(_acting) = who.asker().as_ref().map(Asker::acting).transpose() {
        if succeeded { store::sweep_sometimes(&who.folder) } else { store::sweep(&who.folder) }
    }
}

/// Makes another folder the folder of images.
pub fn move_to(who: &Who, wanted: Option<&Path>, progress: &dyn Progress) -> Result<Folder, Said> {
    let places = Places { choice: &who.choice, usual: &who.usual };
    match moving::move_images(places, wanted, progress) {
        Ok(folder) => Ok(room(&Who { folder, ..who.clone() })),
        Err(MoveError::Cancelled) => Err(Said::Cancelled(Failure {
            sentence: phrase!("The images stay where they were."),
            problems: Vec::new(),
        })),
        Err(MoveError::Failed(problem)) => Err(failed(phrase!("The images stay where they were."), *problem)),
    }
}

/// The file that the user has opened.
fn given(sentence: Phrase) -> Result<File, Said> {
    let file = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let file = file.map_err(|error| of_place(sentence.clone(), phrase!("the file"), &error))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        _ => Err(failed(
            sentence,
            Problem::blocks(ProblemKind::File, phrase!("what was handed over is not an ordinary file")),
        )),
    }
}
