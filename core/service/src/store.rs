//! The folder of images. They hold all memory of their processes, so nobody else may enter it.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dormouse_engine::image::kept::KeptFiles;
use dormouse_wire::Pid;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::unistd::Uid;

use crate::when;

/// What the name of an image ends with, without the dot.
pub const EXTENSION: &str = "dormouse";
/// Where the images of root lie.
const OF_ROOT: &str = "/var/lib/dormouse";
/// The link that leads to a folder that was chosen, in the folder of what is configured.
const CHOICE: &str = "images";
const CHOICE_OF_ROOT: &str = "/etc/dormouse/images";

/// The folder of the images of whoever runs this, by the environment; it may not exist yet. None: neither XDG_DATA_HOME nor
/// HOME is set.
pub fn folder() -> Option<PathBuf> {
    choice().as_deref().and_then(chosen).or_else(usual)
}

/// The folder where no other was chosen.
pub fn usual() -> Option<PathBuf> {
    if Uid::effective().is_root() {
        return Some(PathBuf::from(OF_ROOT));
    }
    in_home(env::var_os("XDG_DATA_HOME").as_deref(), env::var_os("HOME").as_deref(), ".local/share")
}

/// The link that leads to a folder that was chosen, by the environment; it need not exist.
pub fn choice() -> Option<PathBuf> {
    if Uid::effective().is_root() {
        return Some(PathBuf::from(CHOICE_OF_ROOT));
    }
    let folder = in_home(env::var_os("XDG_CONFIG_HOME").as_deref(), env::var_os("HOME").as_deref(), ".config")?;
    Some(folder.join(CHOICE))
}

/// The same of a user, by his home.
pub fn choice_of(user: u32, home: &Path) -> PathBuf {
    if user == 0 { PathBuf::from(CHOICE_OF_ROOT) } else { home.join(".config/dormouse").join(CHOICE) }
}

/// The folder that was chosen: where the link leads. One that does not lead from the root on is as good as none.
pub fn chosen(choice: &Path) -> Option<PathBuf> {
    fs::read_link(choice).ok().filter(|folder| folder.is_absolute())
}

/// The usual folder of a user's images, by his home.
pub fn folder_of(user: u32, home: &Path) -> PathBuf {
    if user == 0 { PathBuf::from(OF_ROOT) } else { home.join(".local/share/dormouse") }
}

/// XDG Base Directory Specification: a path that is not absolute is as good as none.
fn in_home(data: Option<&OsStr>, home: Option<&OsStr>, usual: &str) -> Option<PathBuf> {
    let absolute = |path: Option<&OsStr>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute(data).or_else(|| absolute(home).map(|home| home.join(usual)))?;
    Some(data.join("dormouse"))
}

/// The name of a new image for the process in the folder.
pub fn new_image(folder: &Path, pid: Pid) -> PathBuf {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    unused(folder, &name(&comm, pid, SystemTime::now()))
}

/// The first name that no image in the folder has, by the name that somebody wants it to have.
pub fn named(folder: &Path, wanted: &str) -> PathBuf {
    unused(folder, &stem(wanted))
}

/// The same in a folder that has no images.
pub fn plainly_named(wanted: &str) -> PathBuf {
    PathBuf::from(format!("{}.{EXTENSION}", stem(wanted)))
}

fn stem(wanted: &str) -> String {
    plain(wanted.strip_suffix(EXTENSION).and_then(|stem| stem.strip_suffix('.')).unwrap_or(wanted))
}

/// The image in the folder that has this id: the name of its file, and nothing that leads elsewhere.
pub fn with_id(folder: &Path, id: &str) -> Option<PathBuf> {
    let is_name = !id.starts_with('.') && !id.contains(['/', '\0']);
    let path = Path::new(id);
    (is_name && path.extension().is_some_and(|extension| extension == EXTENSION)).then(|| folder.join(path))
}

/// Makes the folder with mode 0700, and takes the rights of others away from one that is there.
pub fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if fs::metadata(folder)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// `NAME-PID-DATE`.
fn name(comm: &str, pid: Pid, now: SystemTime) -> String {
    format!("{}-{pid}-{}", plain(comm), when::stamp(now))
}

/// Only letters, digits, dots, dashes and underscores, so that no shell needs quotes; and not more than a file can have.
fn plain(name: &str) -> String {
    const MOST: usize = 120;
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' };
    let name: String = name.trim_end().chars().take(MOST).map(plain).collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() { "process".to_owned() } else { name.to_owned() }
}

/// The first name that no file has: a job can be frozen, thawed and frozen again within a second.
fn unused(folder: &Path, name: &str) -> PathBuf {
    let numbered = |number| match number {
        1 => folder.join(format!("{name}.{EXTENSION}")),
        _ => folder.join(format!("{name}-{number}.{EXTENSION}")),
    };
    let mut number: u64 = 1;
    while numbered(number).symlink_metadata().is_ok() {
        number += 1;
    }
    numbered(number)
}

/// The copies of programs and libraries that are kept for the images in the folder.
pub fn kept(folder: &Path) -> KeptFiles {
    KeptFiles::beside(folder)
}

/// The image with this id in the folder has been deleted: what was kept for it alone goes with it.
pub fn forget(folder: &Path, id: &str) {
    if let Err(error) = kept(folder).deleted(id, folder) {
        tracing::warn!(%error, folder = %folder.display(), "what was kept for a deleted image stays");
    }
    sweep(folder);
}

/// The same, if that was not done for a day: after a freeze, which is not to wait for it.
pub fn sweep_sometimes(folder: &Path) {
    const DAY: Duration = Duration::from_hours(24);
    let swept = kept(folder).swept();
    if swept.is_none_or(|swept| swept.elapsed().is_ok_and(|since| since > DAY)) {
        sweep(folder);
    }
}

/// Removes what no image in the folder needs any more. What goes wrong is tried again another time.
pub fn sweep(folder: &Path) {
    match kept(folder).sweep(folder) {
        Ok(swept) => tracing::debug!(swept.files, swept.bytes, "kept files that nobody needs are removed"),
        Err(error) => tracing::warn!(%error, folder = %folder.display(), "kept files that nobody needs stay"),
    }
}

/// In the folder of images: held by whoever wakes one of them.
const THAWS: &str = "thaws.lock";

fn thaws(folder: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(folder.join(THAWS))?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(ErrorKind::InvalidData.into()) }
}

fn lock(file: &File, kind: i32) -> nix::Result<()> {
    // A lock of a process, fcntl(2), and not of a descriptor: what is woken inherits none.
    let wanted = libc::flock { l_type: kind as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(file, FcntlArg::F_SETLK(&wanted)).map(drop)
}

/// This process wakes an image of the folder, as long as the answer lives.
pub fn waking(folder: &Path) -> io::Result<File> {
    let file = thaws(folder)?;
    lock(&file, libc::F_RDLCK)?;
    Ok(file)
}

/// Whether some other process wakes an image of the folder just now.
pub fn is_waking(folder: &Path) -> io::Result<bool> {
    match lock(&thaws(folder)?, libc::F_WRLCK) {
        Ok(()) => Ok(false),
        Err(Errno::EACCES | Errno::EAGAIN) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// Where copies of working files come that take the place of changed ones for this user: among his own files, apart for each image.
pub fn copies(user: u32, id: &str) -> Option<PathBuf> {
    let home = nix::unistd::User::from_uid(Uid::from_raw(user)).ok().flatten()?.dir;
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_id.then(|| folder_of(user, &home).join("files").join(id))
}

/// The images in the folder, by name. A folder that is not there holds none.
pub fn images(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut images = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            images.push(path);
        }
    }
    images.sort();
    Ok(images)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::time::UNIX_EPOCH;

    use dormouse_wire::Pid;

    use super::{images, in_home, make, name, named, unused, with_id};

    #[test]
    fn a_name_needs_no_quotes_in_a_shell() {
        let names = ["bash\n", "Web Content", "-sh", "../x", "", "été"].map(|comm| name(comm, Pid(42), UNIX_EPOCH));
        let begins = ["bash", "Web_Content", "sh", "_x", "process", "_t_"];
        assert_eq!(names, begins.map(|comm| format!("{comm}-42-1970-01-01-000000")));
    }

    #[test]
    fn images_lie_in_the_data_folder_or_in_the_home() {
        let [data, home, relative] = ["/d", "/h", "x"].map(OsStr::new);
        assert_eq!(in_home(Some(data), Some(home), ".local/share"), Some(PathBuf::from("/d/dormouse")));
        assert_eq!(
            in_home(Some(relative), Some(home), ".local/share"),
            Some(PathBuf::from("/h/.local/share/dormouse"))
        );
        assert_eq!(in_home(None, None, ".local/share"), None);
    }

    #[test]
    fn a_name_that_is_taken_is_never_used_again() {
        let folder = tempfile::tempdir().expect("a folder");
        for expected in ["sh-1.dormouse", "sh-1-2.dormouse", "sh-1-3.dormouse"] {
            let path = unused(folder.path(), "sh-1");
            assert_eq!(path, folder.path().join(expected));
            fs::write(path, "").expect("a file");
        }
        fs::write(folder.path().join("notes.txt"), "").expect("a file");
        assert_eq!(images(folder.path()).expect("the folder can be read").len(), 3);
        assert_eq!(images(&folder.path().join("absent")).expect("it is as good as empty"), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_folder_is_closed_to_others() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("a/b");
        for _ in 0..2 {
            make(&folder).expect("the folder is made");
            assert_eq!(fs::metadata(&folder).expect("it is there").permissions().mode() & 0o777, 0o700);
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("it can be opened to others");
        }
    }

    #[test]
    fn an_id_leads_nowhere_but_to_an_image_in_the_folder() {
        let folder = std::path::Path::new("/f");
        assert_eq!(with_id(folder, "sh-1.dormouse"), Some(PathBuf::from("/f/sh-1.dormouse")));
        for odd in [
            "../x.dormouse",
            "/etc/x.dormouse",
            "a/b.dormouse",
            ".x.dormouse",
            "",
            "..",
            "x",
            "x.dormouse/",
            "\0.dormouse",
        ] {
            assert_eq!(with_id(folder, odd), None, "{odd:?}");
        }
        assert_eq!(named(folder, "my build.dormouse"), PathBuf::from("/f/my_build.dormouse"));
        assert_eq!(named(folder, "../../etc/passwd"), PathBuf::from("/f/_.._etc_passwd.dormouse"));
    }
}
