//! What a display server wants to be shown before it lets anybody in: the cookies of .Xauthority files, Xsecurity(7),
//! xauth(1). x11rb reads only the one file that its environment names, so they are read here.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use dormouse_wire::Pid;
use nix::sys::stat::{SFlag, fstat};

use super::sockets::seen_by;
use crate::kernel::files;
use crate::proc;
use crate::resource::content::reopen;

/// The only kind of cookie that is used between processes of one machine.
pub const KIND: &[u8] = b"MIT-MAGIC-COOKIE-1";
/// How long a file may be: an entry has some 60 bytes.
const LONGEST_FILE: u64 = 256 * 1024;
/// How many cookies are tried on one display, and how many clients are asked for theirs.
const MOST: usize = 6;

/// A file that may hold the cookie of a display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The file.
    pub path: PathBuf,
    /// It is the one that the server itself reads: then it does not matter for which machine an entry is.
    pub is_servers: bool,
}

/// An entry of such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    family: u16,
    address: Vec<u8>,
    number: Vec<u8>,
    kind: Vec<u8>,
    data: Vec<u8>,
}

const LOCAL: u16 = 256;
const WILD: u16 = 65535;

/// The files that may hold the cookie of a display: those of the caller, the server's, those of its clients.
pub fn candidates(given: &[PathBuf], server: Option<Pid>, clients: &[Pid]) -> Vec<Candidate> {
    let other = |path: PathBuf| Candidate { path, is_servers: false };
    let servers = server.and_then(of_server).map(|path| Candidate { path, is_servers: true });
    let clients = clients.iter().take(MOST).filter_map(|pid| of_client(*pid)).map(other);
    let mut found: Vec<Candidate> = given.iter().cloned().map(other).chain(servers).chain(clients).collect();
    let mut seen = std::collections::HashSet::new();
    found.retain(|candidate| seen.insert(candidate.path.clone()));
    found
}

/// `-auth FILE` among the server's arguments, Xserver(1).
fn of_server(pid: Pid) -> Option<PathBuf> {
    let arguments = proc::read(pid, "cmdline").ok()?;
    let mut arguments = arguments.split(|byte| *byte == 0).skip_while(|argument| *argument != b"-auth");
    arguments.nth(1).filter(|path| !path.is_empty()).map(|path| seen_by(pid, path))
}

/// XAUTHORITY in a client's environment, else the file in its home.
fn of_client(pid: Pid) -> Option<PathBuf> {
    let environment = proc::read(pid, "environ").ok()?;
    let variable = |name: &[u8]| environment.split(|byte| *byte == 0).find_map(|line| line.strip_prefix(name));
    let home = || variable(b"HOME=").map(|home| [home, b"/.Xauthority"].concat());
    variable(b"XAUTHORITY=").map(<[u8]>::to_vec).or_else(home).map(|path| seen_by(pid, &path))
}

/// The cookies to try on a display, each once.
///
/// A server gets no cookie out of a file that its user could not read: anybody can listen at the name of a display, and a
/// cookie opens the display it belongs to.
pub fn cookies(candidates: &[Candidate], display: u32, server_user: u32) -> Vec<Vec<u8>> {
    let host = nix::unistd::gethostname().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
    let mut cookies: Vec<Vec<u8>> = Vec::new();
    for candidate in candidates {
        let entries = content(&candidate.path, server_user).map(|bytes| parse(&bytes)).unwrap_or_default();
        let fitting = entries.into_iter().filter(|entry| entry.fits(display, &host, candidate.is_servers));
        for entry in fitting {
            if !cookies.contains(&entry.data) && cookies.len() < MOST {
                cookies.push(entry.data);
            }
        }
    }
    cookies
}

impl Entry {
    fn fits(&self, display: u32, host: &[u8], anywhere: bool) -> bool {
        let here = anywhere || self.family == WILD || (self.family == LOCAL && self.address == host);
        let number = self.number.is_empty() || self.number == display.to_string().as_bytes();
        here && number && self.kind == KIND
    }
}

/// The bytes of an ordinary file that a server of this user may know. Others name these files, so nothing else is opened.
fn content(path: &Path, server_user: u32) -> io::Result<Vec<u8>> {
    let found = files::open(path, libc::O_PATH)?;
    let stat = fstat(&found)?;
    let is_ordinary = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
    if !is_ordinary || stat.st_size as u64 > LONGEST_FILE || (server_user != 0 && server_user != stat.st_uid) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let file = reopen(&found, libc::O_RDONLY | libc::O_NONBLOCK)?;
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(LONGEST_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The entries of a file; what is no entry ends it. Numbers are big-endian, and each text has its length before it.
fn parse(mut bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    while let Some(entry) = entry(&mut bytes) {
        entries.push(entry);
    }
    entries
}

fn entry(bytes: &mut &[u8]) -> Option<Entry> {
    let family = number(bytes)?;
    let mut text = || {
        let length = number(bytes)?.into();
        let (text, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(text.to_vec())
    };
    Some(Entry { family, address: text()?, number: text()?, kind: text()?, data: text()? })
}

fn number(bytes: &mut &[u8]) -> Option<u16> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u16::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn file(entries: &[(u16, &str, &str, &[u8], &str)]) -> Vec<u8> {
        let text = |text: &[u8]| [&(text.len() as u16).to_be_bytes()[..], text].concat();
        let entry = |(family, address, number, kind, data): &(u16, &str, &str, &[u8], &str)| {
            let texts = [address.as_bytes(), number.as_bytes(), kind, data.as_bytes()].map(text).concat();
            [&family.to_be_bytes()[..], &texts].concat()
        };
        entries.iter().map(entry).collect::<Vec<_>>().concat()
    }

    #[test]
    fn only_cookies_for_this_display_of_this_machine_are_tried() -> io::Result<()> {
        let host = nix::unistd::gethostname()?.to_string_lossy().into_owned();
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("authority");
        let entries: [(u16, &str, &str, &[u8], &str); 7] = [
            (LOCAL, &host, "7", KIND, "one"),
            (LOCAL, &host, "8", KIND, "of another display"),
            (LOCAL, "elsewhere", "7", KIND, "of another machine"),
            (0, "1234", "7", KIND, "of the network"),
            (LOCAL, &host, "7", b"XDM-AUTHORIZATION-1", "of another kind"),
            (WILD, "", "", KIND, "two"),
            (LOCAL, &host, "7", KIND, "one"),
        ];
        fs::write(&path, file(&entries))?;
        let own = nix::unistd::geteuid().as_raw();
        let candidate = |is_servers| [Candidate { path: path.clone(), is_servers }];
        let found = |is_servers, user| cookies(&candidate(is_servers), 7, user);
        assert_eq!(found(false, own), [b"one".to_vec(), b"two".to_vec()]);
        assert_eq!(found(true, own).len(), 4);
        assert_eq!(found(false, 0), found(false, own));
        assert_eq!(found(false, 4242), Vec::<Vec<u8>>::new(), "a server of another user is shown the cookie");
        Ok(())
    }

    #[test]
    fn nothing_but_ordinary_files_is_opened() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU)?;
        for path in [fifo, folder.path().to_owned(), PathBuf::from("/dev/zero"), folder.path().join("missing")] {
            assert!(content(&path, 0).is_err(), "{} is read", path.display());
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
