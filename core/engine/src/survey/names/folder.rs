//! The desktop entries in folders: Desktop Entry Specification, "Desktop File ID".

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::entry::{self, Entry};
use crate::kernel::threads::each;

/// Folders within folders are gone into so deep: links may lead in circles.
const DEEPEST: usize = 6;
/// No desktop entry is larger, in bytes.
const LARGEST: u64 = 1 << 20;

/// All entries, those of the first folder first.
pub fn read(folders: &[PathBuf], languages: &[String]) -> Vec<Entry> {
    let mut files = Vec::new();
    for folder in folders {
        collect(&folder.join("applications"), "", 0, &mut files);
    }
    let entries = each(&files, |(id, path)| entry::parse(id, &content(path)?, languages));
    entries.into_iter().flatten().collect()
}

/// The files of a folder with their IDs; in `kde4/konsole.desktop` the slash becomes a dash.
fn collect(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<(String, PathBuf)>) {
    let Ok(found) = fs::read_dir(folder) else { return };
    let mut found: Vec<PathBuf> = found.flatten().map(|file| file.path()).collect();
    found.sort();
    for path in found {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if let Some(stem) = name.strip_suffix(".desktop") {
            files.push((format!("{prefix}{stem}"), path));
        } else if depth < DEEPEST && path.is_dir() {
            collect(&path, &format!("{prefix}{name}-"), depth + 1, files);
        }
    }
}

/// The bytes of a regular file. What has its name may be a FIFO, which must not be waited for.
fn content(path: &Path) -> Option<Vec<u8>> {
    let file: File = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join("applications").join(name);
        fs::create_dir_all(path.parent().expect("a folder"))
            .and_then(|()| fs::write(path, text))
            .expect("it is written");
    }

    #[test]
    fn entries_are_found_with_their_ids_and_nothing_else_is() {
        let [one, two] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let entry = |name: &str| format!("[Desktop Entry]\nType=Application\nName={name}\n");
        write(two.path(), "b.desktop", &entry("late"));
        write(one.path(), "b.desktop", &entry("early"));
        write(one.path(), "kde4/a.desktop", &entry("below"));
        write(one.path(), "c.txt", &entry("no"));
        let fifo = one.path().join("applications/d.desktop");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO can be made");
        std::os::unix::fs::symlink(".", one.path().join("applications/round")).expect("a link can be made");
        let folders = [one.path().to_owned(), two.path().to_owned(), "/nowhere".into()];
        let found = read(&folders, &[]);
        let plain = found.iter().filter(|entry| !entry.id.starts_with("round-"));
        let names: Vec<(&str, &str)> = plain.map(|entry| (entry.id.as_str(), entry.name.as_str())).collect();
        assert_eq!(names, [("b", "early"), ("kde4-a", "below"), ("b", "late")]);
    }
}
