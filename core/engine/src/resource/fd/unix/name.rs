//! Where a unix socket is bound, unix(7): nowhere, at a path, or at an abstract name; and the file of one at a path.
//!
//! The name is what was given to bind(2), and may be relative; the file may have been renamed or removed since. A socket
//! gets its very name again by being bound in a folder that is its root for that moment.

// zoo: no kind

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::super::{FileFacts, Put, path_of};
use crate::kernel::identity::{Acting, Identity, Making};
use crate::kernel::socket::{self, UnixAddress};
use crate::kernel::{Answer, Errno, files};
use crate::proc;
use crate::resource::named_file::{Owner, shown};

/// A name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Name {
    /// A path as it was given to bind(2).
    Path(ByteBuf),
    /// An abstract name, without the zero before it.
    Abstract(ByteBuf),
}

/// The file of a socket that is bound at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketFile {
    /// Where it is now: an absolute path.
    pub path: ByteBuf,
    /// Its permissions.
    pub mode: u32,
    /// User and group it belongs to.
    pub owner: (u32, u32),
    /// With whose rights it is made again.
    pub maker: Owner,
}

/// How many bytes `sun_path` has.
const MOST: usize = 108;

impl Name {
    /// The name that the kernel tells as `sun_path`; none: an empty one.
    pub fn of(sun_path: &[u8]) -> Option<Self> {
        match sun_path {
            [] => None,
            [0, name @ ..] => Some(Self::Abstract(ByteBuf::from(name))),
            path => {
                let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
                Some(Self::Path(ByteBuf::from(&path[..end])))
            }
        }
    }

    /// The name within `struct sockaddr`, whose first two bytes are the family.
    pub fn of_address(address: &[u8]) -> Option<Self> {
        Self::of(address.get(2..).unwrap_or_default())
    }

    /// For a person: `/run/x`, `@name`.
    pub fn shown(&self) -> String {
        match self {
            Self::Path(path) => shown(&path_of(path)),
            Self::Abstract(name) => format!("@{}", name.escape_ascii()),
        }
    }

    /// The address for the kernel.
    pub fn address(&self) -> Answer<UnixAddress> {
        match self {
            Self::Path(path) if path.contains(&0) => Err(Errno::EINVAL),
            Self::Path(path) if path.len() < MOST => UnixAddress::new(&[path.as_slice(), &[0]].concat()),
            Self::Path(path) => UnixAddress::new(path),
            Self::Abstract(name) => UnixAddress::new(&[&[0], name.as_slice()].concat()),
        }
    }

    /// Binds a socket to this name without a file that stays: a path is bound within a folder of our own.
    pub fn bind(&self, socket: &impl AsFd) -> Answer<()> {
        match self {
            Self::Abstract(_) => socket::bind(socket, &self.address()?),
            Self::Path(path) => {
                let parent = std::env::temp_dir();
                let bind = || {
                    let room = Room::make(&parent)?;
                    bind_in(room.0.as_path(), path, socket, &self.address()?)
                };
                match bind() {
                    // It belongs to a user namespace, which has a name for its owner at least.
                    Err(Errno::EOVERFLOW) => {
                        let owner = files::stat(&files::open(&parent, libc::O_PATH)?)?;
                        let _making = Making::begin((owner.st_uid, owner.st_gid))?;
                        bind()
                    }
                    bound => bound,
                }
            }
        }
    }
}

/// Whether the kernel chose the name of a socket: NUL and five hexadecimal digits, unix(7), "Autobind feature". A socket that
/// sends credentials is given one, an end of a pair too.
pub fn is_automatic(sun_path: &[u8]) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    matches!(sun_path, [0, digits @ ..] if digits.len() == 5 && digits.iter().all(is_digit))
}

/// A folder that is removed with all that is in it.
struct Room(PathBuf);

impl Room {
    fn make(parent: &Path) -> Answer<Self> {
        for attempt in 0..100 {
            let path = parent.join(format!(".dormouse-{}-{attempt}", std::process::id()));
            match nix::unistd::mkdir(&path, nix::sys::stat::Mode::S_IRWXU) {
                Ok(()) => return Ok(Self(path)),
                Err(Errno::EEXIST) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::EEXIST)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "a folder of the engine stays");
        }
    }
}

/// Binds a socket to a path that is looked up with this folder as the root. A thread of its own, for the root stays with
/// it.
fn bind_in(root: &Path, path: &[u8], socket: &impl AsFd, address: &UnixAddress) -> Answer<()> {
    let socket = socket.as_fd();
    let (root, address) = (root.to_owned(), *address);
    let folder = Path::new(OsStr::from_bytes(path)).parent().map(Path::to_owned);
    let work = move || {
        unshare(CloneFlags::CLONE_FS)?;
        nix::unistd::chroot(&root)?;
        nix::unistd::chdir("/")?;
        if let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
        }
        socket::bind(&socket, &address)
    };
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().spawn_scoped(scope, work);
        let worker = worker.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
        worker.join().unwrap_or(Err(Errno::EIO))
    })
}

impl SocketFile {
    /// The file of a bound socket; none: its name was removed.
    pub fn capture(facts: &FileFacts) -> Answer<Option<Self>> {
        let file = socket::bound_file(&facts.file)?;
        let stat = files::stat(&file)?;
        let link = std::fs::read_link(super::super::own_path(&file)).map_err(|_| Errno::ENOENT)?;
        let link = link.into_os_string();
        if stat.st_nlink == 0 || proc::strip_deleted(link.as_bytes()).1 {
            return Ok(None);
        }
        let path = PathBuf::from(link);
        // A program may have made it before it gave up the right to.
        let folder = path.parent().unwrap_or(Path::new("/"));
        let may = Acting::begin(&Identity::from(&facts.owner))
            .and_then(|_acting| files::may_access(folder, libc::W_OK | libc::X_OK));
        let maker = match may {
            Ok(()) => facts.owner.clone(),
            Err(_) => Owner { user: stat.st_uid, group: stat.st_gid, groups: Vec::new() },
        };
        Ok(Some(Self {
            path: ByteBuf::from(path.as_os_str().as_bytes()),
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            maker,
        }))
    }

    fn folder(&self) -> PathBuf {
        path_of(&self.path).parent().map_or_else(|| PathBuf::from("/"), Path::to_owned)
    }

    /// What is in the way of making it again.
    pub fn preflight(&self) -> Vec<Problem> {
        let path = path_of(&self.path);
        let problem = |what: Phrase, way_out: Phrase| {
            vec![Problem::blocks(ProblemKind::UnixSocket, what).at(shown(&path)).way_out(way_out)]
        };
        if !path.is_absolute() || self.path.contains(&0) {
            return vec![Problem::blocks(
                ProblemKind::Image,
                phrase!("the image holds a socket at an impossible path"),
            )];
        }
        match path.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.folder().is_dir() => Vec::new(),
            Err(error) => problem(
                phrase!("the socket cannot be put there: {why}", why = error),
                phrase!("Make its folder again, then thaw again"),
            ),
            Ok(found) if !found.file_type().is_socket() => problem(
                phrase!("something else has the name of its socket now"),
                phrase!("Move it away, then thaw again"),
            ),
            Ok(_) if is_in_use(&path) => {
                problem(phrase!("another program has a socket there now"), phrase!("End that program, then thaw again"))
            }
            Ok(found) if found.uid() != self.owner.0 => {
                let what = phrase!("the socket file that is there now belongs to user {uid}", uid = found.uid());
                problem(what, phrase!("Remove it if it is not needed, then thaw again"))
            }
            Ok(_) => Vec::new(),
        }
    }

    /// Binds a socket to its name and puts its file where it was. A dead file that stands there gives way.
    pub fn bind(&self, name: &Name, socket: &OwnedFd) -> Answer<()> {
        let Name::Path(given) = name else { return Err(Errno::EINVAL) };
        let path = path_of(&self.path);
        {
            let _acting = Acting::begin(&Identity::from(&self.maker))?;
            let dead = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket()) && !is_in_use(&path);
            if given == &self.path {
                if dead {
                    nix::unistd::unlink(&path)?;
                }
                socket::bind(socket, &name.address()?)?;
            } else {
                self.bind_beside(given, name, socket, &path, dead)?;
            }
        }
        // By the file itself, for its name may lead elsewhere by now.
        let bound = socket::bound_file(socket)?;
        let place = super::super::own_path(&bound);
        let failed = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
        chown(&place, Some(self.owner.0), Some(self.owner.1)).map_err(failed)?;
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(self.mode & 0o7777)).map_err(failed)
    }

    /// The file that a socket has been bound to, for a thaw that fails.
    pub fn put(&self, socket: &OwnedFd) -> Answer<Put> {
        let path = path_of(&self.path);
        let name = path.file_name().ok_or(Errno::ENOENT)?.to_owned();
        let maker = Identity::from(&self.maker);
        let _acting = Acting::begin(&maker)?;
        let folder = files::open(&self.folder(), libc::O_PATH | libc::O_DIRECTORY)?;
        let bound = files::stat(&socket::bound_file(socket)?)?;
        Ok(Put::new(folder, name, (bound.st_dev, bound.st_ino), maker))
    }

    /// The name is not the path: bound to its name in a folder beside the place, the file is moved there.
    fn bind_beside(&self, given: &[u8], name: &Name, socket: &OwnedFd, path: &Path, dead: bool) -> Answer<()> {
        let room = Room::make(&self.folder())?;
        bind_in(&room.0, given, socket, &name.address()?)?;
        let bound = files::stat(&socket::bound_file(socket)?)?;
        let inside = Path::new(OsStr::from_bytes(given));
        let inside = inside.strip_prefix("/").unwrap_or(inside);
        // `..` leads nowhere in a root, and must not lead out of the folder here.
        let inside: PathBuf = inside.components().filter(|part| *part != std::path::Component::ParentDir).collect();
        let made = room.0.join(inside);
        if files::identity(&made)? != (bound.st_dev, bound.st_ino) {
            return Err(Errno::EINVAL);
        }
        if dead {
            nix::unistd::unlink(path)?;
        }
        let flags = nix::fcntl::RenameFlags::RENAME_NOREPLACE;
        nix::fcntl::renameat2(nix::fcntl::AT_FDCWD, &made, nix::fcntl::AT_FDCWD, path, flags)
    }
}

/// Whether some socket is bound to this file, in whatever namespace: only a dead one refuses a connection of any type.
fn is_in_use(path: &Path) -> bool {
    let asked = files::open(path, libc::O_PATH | libc::O_NOFOLLOW)
        .and_then(|file| Ok((UnixAddress::of_descriptor(&file)?, file)))
        .and_then(|(address, _file)| socket::connect(&socket::unix(libc::SOCK_DGRAM)?, &address));
    asked != Err(Errno::ECONNREFUSED)
}

/// Whether some socket of this type is bound to this abstract name: each type has names of its own.
pub fn is_taken(name: &Name, kind: i32) -> bool {
    let asked = name.address().and_then(|address| socket::bind(&socket::unix(kind)?, &address));
    asked == Err(Errno::EADDRINUSE)
}

/// An address by which a bound socket of ours is reached, and what keeps it good.
pub fn address_of(socket: &OwnedFd, name: &Name) -> Answer<(UnixAddress, Option<OwnedFd>)> {
    match name {
        Name::Abstract(_) => Ok((name.address()?, None)),
        Name::Path(_) => {
            let file = socket::bound_file(socket)?;
            Ok((UnixAddress::of_descriptor(&file)?, Some(file)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Owner {
        Owner { user: nix::unistd::geteuid().as_raw(), group: nix::unistd::getegid().as_raw(), groups: Vec::new() }
    }

    fn name_of(socket: &OwnedFd) -> Option<Name> {
        Name::of_address(&socket::own_address(socket).unwrap_or_default())
    }

    #[test]
    fn names_are_read_as_the_kernel_tells_them() {
        assert_eq!(Name::of(b""), None);
        assert_eq!(Name::of(b"\0a\0b"), Some(Name::Abstract(ByteBuf::from(b"a\0b"))));
        assert_eq!(Name::of(b"/x\0"), Some(Name::Path(ByteBuf::from(b"/x"))));
    }

    #[test]
    fn a_name_without_a_file_is_the_same_name() -> Result<(), Errno> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        for path in ["/some/where/that/is/not", "relative", "../up/../and/down", &format!("/{}", "l".repeat(107))] {
            let name = Name::Path(ByteBuf::from(path));
            let socket = socket::unix(libc::SOCK_STREAM)?;
            name.bind(&socket)?;
            assert_eq!(name_of(&socket), Some(name));
        }
        Ok(())
    }

    #[test]
    fn a_renamed_socket_file_comes_back_under_its_new_name() -> Result<(), Box<dyn std::error::Error>> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("new");
        let file =
            SocketFile { path: ByteBuf::from(path.as_os_str().as_bytes()), mode: 0o640, owner: (7, 8), maker: own() };
        for given in ["old", "../a/old", "/else/where"] {
            let name = Name::Path(ByteBuf::from(given));
            let socket = socket::unix(libc::SOCK_STREAM)?;
            file.bind(&name, &socket)?;
            socket::listen(&socket, 1)?;
            std::os::unix::net::UnixStream::connect(&path)?;
            assert_eq!(name_of(&socket), Some(name));
            let found = path.metadata()?;
            assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (0o640, 7, 8));
            assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
            assert!(!file.preflight().is_empty(), "it is in use");
            drop(socket);
            assert!(file.preflight().is_empty(), "it is dead");
        }
        Ok(())
    }

    #[test]
    fn what_belongs_to_others_is_left_alone() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        std::fs::write(&path, "another's")?;
        let bytes = ByteBuf::from(path.as_os_str().as_bytes());
        let file = SocketFile { path: bytes.clone(), mode: 0o600, owner: (0, 0), maker: own() };
        assert_eq!(file.preflight().len(), 1);
        assert!(file.bind(&Name::Path(bytes), &socket::unix(libc::SOCK_DGRAM)?).is_err());
        assert_eq!(std::fs::read(&path)?, b"another's");
        Ok(())
    }
}
