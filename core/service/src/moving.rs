//! Another folder of images: what sleeps in the old one comes along.
//!
//! Every image is in the new folder before that one becomes the folder of images, and goes from the old one after that: cut
//! off at any moment, each is in the one that counts.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use dormouse_engine::image::Reader;
use dormouse_wire::{Phase, Phrase, Problem, ProblemKind, Progress, phrase};
use nix::errno::Errno;
use nix::unistd::Uid;

use crate::copying::{self, Stopped, Unfinished, carefully};
use crate::store;

/// What the folder of images is called in one that others may enter.
const OWN: &str = "dormouse";

/// The rights of group and others, chmod(2).
const OTHERS: u32 = 0o077;

/// Why the folder stays where it was.
#[derive(Debug)]
pub enum MoveError {
    /// It was to be undone, and was.
    Cancelled,
    /// This stood in the way.
    Failed(Box<Problem>),
}

/// Where the folder of images is, and where it is written down which it is.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The link that leads to a folder that was chosen.
    pub choice: &'a Path,
    /// The folder where none was chosen.
    pub usual: &'a Path,
}

/// Makes a folder the folder of images, or one in it where others may enter it; none: the usual one. The images come along.
/// Answers which folder it is now.
pub fn move_images(places: Places<'_>, wanted: Option<&Path>, progress: &dyn Progress) -> Result<PathBuf, MoveError> {
    let wanted = wanted.filter(|wanted| !is_same(wanted, places.usual));
    let from = store::chosen(places.choice).unwrap_or_else(|| places.usual.to_owned());
    let to = match wanted {
        None => {
            store::make(places.usual).map_err(|error| failed(phrase!("it cannot be made"), places.usual, &error))?;
            places.usual.to_owned()
        }
        Some(wanted) => {
            for folder in [&from, places.usual] {
                beside_kept(wanted, store::kept(folder).folder())?;
            }
            ready(wanted)?
        }
    };
    // Under another name perhaps.
    if is_same(&to, &from) {
        return Ok(from);
    }
    let images = store::images(&from).map_err(|error| failed(phrase!("it cannot be read"), &from, &error))?;
    let mut made = Made(Vec::new());
    let size = |image: &PathBuf| image.symlink_metadata().map_or(0, |found| found.len());
    progress.begins(Phase::Writing, images.iter().map(size).sum());
    for image in &images {
        made.0.push(put(image, &to, progress)?);
    }
    // The images come without them where that cannot be; they stay where they were then.
    let brought = store::kept(&from).bring(&store::kept(&to), (&from, &to));
    File::open(&to)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| failed(phrase!("it cannot be synced"), &to, &error))?;
    choose(places.choice, wanted.is_some().then_some(to.as_path()))?;
    made.0.clear();
    for image in &images {
        if let Err(error) = fs::remove_file(image) {
            tracing::warn!(%error, image = %image.display(), "an image stays in the old folder, too");
        }
    }
    match brought.and_then(|()| store::kept(&from).leave_to(&store::kept(&to))) {
        Ok(()) => store::sweep(&from),
        Err(error) => tracing::warn!(%error, "the programs and libraries that are kept do not come along"),
    }
    Ok(to)
}

/// Whether two paths lead to one folder. What is not there leads nowhere.
fn is_same(one: &Path, other: &Path) -> bool {
    let [one, other] = [one, other].map(|path| path.metadata().map(|found| (found.dev(), found.ino())).ok());
    one.is_some() && one == other
}

/// Refuses a folder within a store of kept files: what no image needs there is removed, and whoever looks for images would find none.
fn beside_kept(wanted: &Path, kept: &Path) -> Result<(), MoveError> {
    // Either may become the folder, and each may be a link.
    let places = [wanted.to_owned(), wanted.join(OWN)].map(|place| place.canonicalize().unwrap_or(place));
    if !places.iter().any(|place| place.ancestors().any(|above| is_same(above, kept))) {
        return Ok(());
    }
    let what = phrase!("copies of programs and libraries are kept there, and nothing else may lie among them");
    let problem = Problem::blocks(ProblemKind::File, what).at(wanted.display().to_string());
    let way_out = phrase!("Choose a folder outside of {folder}", folder = kept.display());
    Err(MoveError::Failed(Box::new(problem.way_out(way_out))))
}

/// Files that are gone when this is.
struct Made(Vec<PathBuf>);

impl Drop for Made {
    fn drop(&mut self) {
        for file in &self.0 {
            let _ = fs::remove_file(file);
        }
    }
}

/// The folder itself where it is closed to others, else one in it that is.
fn ready(wanted: &Path) -> Result<PathBuf, MoveError> {
    let wrong = |what: Phrase| {
        let problem = Problem::blocks(ProblemKind::File, what).at(wanted.display().to_string());
        MoveError::Failed(Box::new(problem.way_out(phrase!("Choose a folder that exists, by its whole path"))))
    };
    if !wanted.is_absolute() {
        return Err(wrong(phrase!("this is not the whole path of a folder")));
    }
    let found = wanted.metadata().map_err(|error| failed(phrase!("there is no such folder"), wanted, &error))?;
    if !found.is_dir() {
        return Err(wrong(phrase!("this is not a folder")));
    }
    let is_closed = |found: &fs::Metadata| found.permissions().mode() & OTHERS == 0;
    let own = found.uid() == Uid::effective().as_raw();
    let folder = if own && is_closed(&found) { wanted.to_owned() } else { wanted.join(OWN) };
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(failed(phrase!("nothing can be made there"), &folder, &error))
        }
        _ => {
            let found =
                folder.metadata().map_err(|error| failed(phrase!("it cannot be looked at"), &folder, &error))?;
            if found.is_dir() && found.uid() == Uid::effective().as_raw() && is_closed(&found) {
                return Ok(folder);
            }
            let what = phrase!("others could enter it, and images hold all memory of their processes");
            let problem = Problem::blocks(ProblemKind::File, what).at(folder.display().to_string());
            let way_out = phrase!("Choose a folder of your own, on a filesystem that keeps permissions");
            Err(MoveError::Failed(Box::new(problem.way_out(way_out))))
        }
    }
}

/// Puts an image into a folder under its name, or the next one that is free there, and leaves the old one.
fn put(image: &Path, folder: &Path, progress: &dyn Progress) -> Result<PathBuf, MoveError> {
    if progress.cancelled() {
        return Err(MoveError::Cancelled);
    }
    let wrong = |error: &io::Error| failed(phrase!("it cannot be moved"), image, error);
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let place = store::named(folder, &name);
    match fs::hard_link(image, &place) {
        Ok(()) => {
            progress.moved(place.metadata().map_or(0, |found| found.len()));
            return Ok(place);
        }
        // Another filesystem, or one without hard links: link(2).
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EXDEV | Errno::EPERM | Errno::EMLINK | Errno::EOPNOTSUPP | Errno::ENOSYS) => {}
            _ => return Err(wrong(&error)),
        },
    }
    let from = OpenOptions::new().read(true).custom_flags(carefully()).open(image).map_err(|error| wrong(&error))?;
    let size = from.metadata().map_err(|error| wrong(&error))?.len();
    let (hidden, to) =
        copying::begin(folder).map_err(|error| failed(phrase!("nothing can be made there"), folder, &error))?;
    let unfinished = Unfinished(&hidden);
    if let Err(error) = Reader::carry_woken(&from, &to) {
        tracing::warn!(%error, image = %image.display(), "that it has been woken is not noted of the copy");
    }
    copying::copy(from, &to, size, progress).map_err(|stopped| match stopped {
        Stopped::Cancelled => MoveError::Cancelled,
        Stopped::Failed(error) => failed(phrase!("it cannot be copied"), image, &error),
    })?;
    to.sync_all().map_err(|error| failed(phrase!("it cannot be synced"), &hidden, &error))?;
    // Not a rename where a link will do: nothing that is there is replaced.
    let named = match fs::hard_link(&hidden, &place) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => fs::rename(&hidden, &place),
        named => named,
    };
    named.map_err(|error| failed(phrase!("it cannot be named"), &place, &error))?;
    drop(unfinished);
    Ok(place)
}

/// Writes down the choice; none: there is none any more.
fn choose(choice: &Path, folder: Option<&Path>) -> Result<(), MoveError> {
    let wrong = |error: io::Error| failed(phrase!("the choice cannot be written down"), choice, &error);
    let Some(folder) = folder else {
        return match fs::remove_file(choice) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(wrong(error)),
            _ => Ok(()),
        };
    };
    if let Some(parent) = choice.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(wrong)?;
    }
    let fresh = choice.with_extension(std::process::id().to_string());
    symlink(folder, &fresh).map_err(wrong)?;
    fs::rename(&fresh, choice).map_err(|error| {
        let _ = fs::remove_file(&fresh);
        wrong(error)
    })?;
    // It must not be forgotten after the old images are gone.
    choice.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all()).map_err(wrong)
}

fn failed(what: Phrase, path: &Path, error: &io::Error) -> MoveError {
    let why = error.raw_os_error().map_or_else(|| error.to_string(), |code| Errno::from_raw(code).desc().to_owned());
    let problem =
        Problem::blocks(ProblemKind::File, phrase!("{what}: {why}", what, why)).at(path.display().to_string());
    MoveError::Failed(Box::new(problem))
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use dormouse_wire::Quiet;

    use super::*;

    /// A folder with two images, and one that may become the next.
    fn begin() -> (tempfile::TempDir, PathBuf, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let [choice, usual, other] = ["config/images", "usual", "other"].map(|name| folder.path().join(name));
        store::make(&usual).expect("it is made");
        fs::create_dir(&other).expect("it is made");
        fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).expect("it is opened");
        for name in ["a.dormouse", "b.dormouse", "notes.txt"] {
            fs::write(usual.join(name), name).expect("a file");
        }
        (folder, choice, usual, other)
    }

    fn names(folder: &Path) -> Vec<String> {
        let images = store::images(folder).expect("it can be read");
        images.iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn images_come_along_and_go_back() {
        let (_folder, choice, usual, other) = begin();
        let places = Places { choice: &choice, usual: &usual };
        let own = other.join(OWN);
        for _ in 0..2 {
            assert_eq!(move_images(places, Some(&other), &Quiet).expect("it is moved"), own);
            assert_eq!((names(&own), names(&usual)), (vec!["a.dormouse".into(), "b.dormouse".into()], Vec::new()));
            assert_eq!(own.metadata().expect("it is there").permissions().mode() & 0o777, 0o700);
            assert_eq!(store::chosen(&choice), Some(own.clone()));
        }
        // What is no image stays.
        assert!(usual.join("notes.txt").exists());
        assert_eq!(move_images(places, None, &Quiet).expect("it is moved back"), usual);
        assert_eq!((names(&own), names(&usual).len(), store::chosen(&choice)), (Vec::new(), 2, None));
    }

    #[test]
    fn images_are_copied_onto_another_disk() {
        let (folder, choice, usual, _) = begin();
        let disk = tempfile::tempdir_in("/dev/shm").expect("memory as a disk");
        let device = |path: &Path| path.metadata().expect("it is there").dev();
        assert_ne!(device(disk.path()), device(folder.path()), "both are one filesystem");
        let places = Places { choice: &choice, usual: &usual };
        let to = move_images(places, Some(disk.path()), &Quiet).expect("it is moved");
        assert_eq!(to, disk.path().join(OWN));
        assert_eq!((names(&to), names(&usual)), (vec!["a.dormouse".into(), "b.dormouse".into()], Vec::new()));
        assert_eq!(fs::read(to.join("b.dormouse")).expect("it is there"), b"b.dormouse");
        assert_eq!(fs::read_dir(&to).expect("a listing").count(), 2);
        assert_eq!(move_images(places, None, &Quiet).expect("it is moved back"), usual);
        assert_eq!((names(&to).len(), names(&usual).len()), (0, 2));
    }

    #[test]
    fn the_same_folder_under_another_name_is_no_other() {
        let (folder, choice, usual, other) = begin();
        let places = Places { choice: &choice, usual: &usual };
        let alias = folder.path().join("alias");
        symlink(&usual, &alias).expect("a link");
        assert_eq!(move_images(places, Some(&alias), &Quiet).expect("nothing moves"), usual);
        assert_eq!((names(&usual), store::chosen(&choice)), (vec!["a.dormouse".into(), "b.dormouse".into()], None));
        let own = move_images(places, Some(&other), &Quiet).expect("it is moved");
        fs::remove_file(&alias).expect("it was there");
        symlink(&own, &alias).expect("a link");
        assert_eq!(move_images(places, Some(&alias), &Quiet).expect("nothing moves"), own);
        assert_eq!(names(&own), ["a.dormouse", "b.dormouse"]);
    }

    #[test]
    fn a_name_that_is_taken_there_hides_nothing() {
        let (_folder, choice, usual, other) = begin();
        let own = other.join(OWN);
        store::make(&own).expect("it is made");
        fs::write(own.join("a.dormouse"), "another").expect("a file");
        move_images(Places { choice: &choice, usual: &usual }, Some(&own), &Quiet).expect("it is moved");
        assert_eq!(names(&own), ["a-2.dormouse", "a.dormouse", "b.dormouse"]);
        assert_eq!(fs::read(own.join("a.dormouse")).expect("it is there"), b"another");
    }

    #[test]
    fn what_is_kept_stays_among_itself() {
        let (folder, choice, usual, other) = begin();
        let places = Places { choice: &choice, usual: &usual };
        let refused = |wanted: &Path, kept: &Path| {
            let answer = move_images(places, Some(wanted), &Quiet);
            let Err(MoveError::Failed(problem)) = answer else { panic!("{}: {answer:?}", wanted.display()) };
            let said = format!("{problem:?}");
            assert!(said.contains("copies of programs") && said.contains(&kept.display().to_string()), "{said}");
            assert!(!wanted.join(OWN).exists(), "something was made in {}", wanted.display());
        };
        let kept = usual.join("kept");
        let alias = folder.path().join("alias");
        symlink(kept.join("objects"), &alias).expect("a link");
        let wide = kept.join("objects/wide");
        fs::create_dir_all(&wide).expect("folders");
        fs::set_permissions(&wide, fs::Permissions::from_mode(0o755)).expect("it is opened");
        for inside in [kept.clone(), kept.join("objects"), wide.clone(), alias] {
            refused(&inside, &kept);
        }
        assert_eq!((names(&usual).len(), store::chosen(&choice)), (2, None));
        // The same of a folder that was chosen; and of that which counts again one day.
        let own = move_images(places, Some(&other), &Quiet).expect("it is moved");
        let theirs = own.join("kept");
        fs::create_dir_all(&theirs).expect("a folder");
        refused(&theirs, &theirs);
        refused(&kept, &kept);
        assert_eq!((names(&own).len(), store::chosen(&choice)), (2, Some(own)));
        // What is only called so is a folder as any other.
        let called = folder.path().join("kept");
        fs::create_dir(&called).expect("a folder");
        assert_eq!(move_images(places, Some(&called), &Quiet).expect("it is moved"), called.join(OWN));
    }

    #[test]
    fn what_cannot_be_the_folder_is_refused_and_all_stays() {
        let (folder, choice, usual, _) = begin();
        let places = Places { choice: &choice, usual: &usual };
        for odd in ["relative", "/absent/folder", "/dev/null", "/proc"] {
            let MoveError::Failed(problem) = move_images(places, Some(Path::new(odd)), &Quiet).expect_err("it is odd")
            else {
                panic!("nobody has cancelled");
            };
            assert_eq!(problem.resource.as_deref().map(|at| at.starts_with(odd)), Some(true), "{problem:?}");
        }
        let wide = folder.path().join("wide");
        fs::create_dir_all(wide.join(OWN)).expect("folders");
        for path in [&wide, &wide.join(OWN)] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is opened");
        }
        assert!(matches!(move_images(places, Some(&wide), &Quiet), Err(MoveError::Failed(_))));
        assert_eq!((names(&usual).len(), store::chosen(&choice)), (2, None));
    }
}
