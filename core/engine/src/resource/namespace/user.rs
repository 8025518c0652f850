//! The user namespaces of a group, user_namespaces(7): a chain of them, each in the one before, as bubblewrap makes two, of which the outer
//! one is nobody's home any more. Ids in all records are those outside; what its members are given leads through the maps.

// zoo: none, because a group with namespaces of its own is no program: see tests/capsules

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, ProcessName, phrase};
use serde::{Deserialize, Serialize};

use super::limits::{self, Limit};
use crate::kernel::inner_namespaces::Maid;
use crate::kernel::{Answer, Errno, files, user_namespaces as kernel};
use crate::proc;
use crate::resource::task::credentials::{Credentials, Privileges};

/// A user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNamespace {
    /// The user outside who has made it.
    pub maker: u32,
    /// How users lead out of it.
    pub users: Vec<Extent>,
    /// How groups do.
    pub groups: Vec<Extent>,
    /// Its members may set supplementary groups, /proc/PID/setgroups.
    pub may_set_groups: bool,
    /// How much may be made in it, where that is not the usual.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
}

/// Ids that follow each other: the first one inside, the first one outside of all namespaces of the group, how many.
pub type Extent = (u32, u32, u32);

/// A kind of namespace that a user namespace of the chain is mighty over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// By the name of the link in /proc/PID/ns.
    pub kind: String,
    /// Which of the chain, an index.
    pub by: usize,
}

/// So many lines a map has at most, user_namespaces(7).
pub const MOST: usize = 340;
/// So deep can one user namespace lie in another.
const DEEPEST: usize = 32;

/// The id inside of one outside.
pub fn inside(extents: &[Extent], outside: u32) -> Option<u32> {
    let fits = |(_, first, count): &&Extent| outside >= *first && outside - first < *count;
    extents.iter().find(fits).map(|(inner, first, _)| inner + (outside - first))
}

/// The lines of a map as the kernel takes them: with the ids of the namespace around it.
pub fn lines(extents: &[Extent], around: Option<&[Extent]>) -> Option<String> {
    let line = |(inner, outer, count): &Extent| {
        let outer = around.map_or(Some(*outer), |around| inside(around, *outer))?;
        Some(format!("{inner} {outer} {count}\n"))
    };
    extents.iter().map(line).collect()
}

/// Whether a map can be one: each id once on either side, and all of it within the map of the namespace around it.
fn is_possible(extents: &[Extent], around: Option<&[Extent]>) -> bool {
    let meets = |(one, many): (u32, u32), (other, more): (u32, u32)| {
        u64::from(one) < u64::from(other) + u64::from(more) && u64::from(other) < u64::from(one) + u64::from(many)
    };
    let alone = |index: usize, (inner, outer, count): &Extent| {
        let others = extents.iter().take(index);
        others.into_iter().all(|(i, o, c)| !meets((*inner, *count), (*i, *c)) && !meets((*outer, *count), (*o, *c)))
    };
    let ends = |first: u32, count: u32| first.checked_add(count).is_some();
    let within = |(_, outer, count): &Extent| {
        let holds = |(_, first, many): &Extent| {
            outer >= first && u64::from(outer - first) + u64::from(*count) <= u64::from(*many)
        };
        around.is_none_or(|around| around.iter().any(holds))
    };
    let fits = |(index, extent): (usize, &Extent)| {
        let (inner, outer, count) = *extent;
        count > 0 && ends(inner, count) && ends(outer, count) && alone(index, extent) && within(extent)
    };
    // The kernel takes a map in one write of less than a page.
    let short = lines(extents, around).is_some_and(|lines| lines.len() < 4096);
    extents.len() <= MOST && short && extents.iter().enumerate().all(fits)
}

/// What is wrong with a chain, whoever wrote it.
pub fn verify(chain: &[UserNamespace], owned: &[Owned], kinds: &[String]) -> Option<&'static str> {
    if chain.is_empty() == kinds.iter().any(|kind| kind == "user") || chain.len() > DEEPEST {
        return Some("a chain of user namespaces that cannot be");
    }
    for (index, one) in chain.iter().enumerate() {
        let around = index.checked_sub(1).and_then(|above| chain.get(above));
        if let Some(odd) = one.verify(around) {
            return Some(odd);
        }
    }
    for (index, one) in owned.iter().enumerate() {
        let again = owned.iter().take(index).any(|other| other.kind == one.kind);
        if again || one.kind == "user" || one.by >= chain.len() || !kinds.contains(&one.kind) {
            return Some("an owner of a namespace that there is none of");
        }
    }
    // What the mounts are made by must be mighty over them, and stands where the first process is born.
    (owner(owned, "mnt") < owner(owned, "pid"))
        .then_some("mounts that belong to somebody mightier than its first process")
}

/// Which of the chain is mighty over a kind; none: root outside.
pub fn owner(owned: &[Owned], kind: &str) -> Option<usize> {
    owned.iter().find(|one| one.kind == kind).map(|one| one.by)
}

/// Whether those who live in the last of the chain are born in another one, with the pid namespace, and go home from there.
pub fn goes_home(chain: &[UserNamespace], owned: &[Owned]) -> bool {
    owner(owned, "pid").map_or(0, |birth| birth + 1) < chain.len()
}

fn unread(what: &'static str) -> impl Fn(Errno) -> Problem {
    move |errno| {
        let what = phrase!("its user namespaces cannot be looked at: {what}: {why}", what, why = errno.desc());
        Problem::blocks(ProblemKind::Namespace, what).way_out(phrase!("Run Dormouse as root, outside of any sandbox"))
    }
}

fn link(pid: Pid, kind: &str) -> Answer<OwnedFd> {
    files::open(&proc::folder(pid).join("ns").join(kind), libc::O_RDONLY)
}

/// The user namespaces between that of a process and our own, the outermost first.
fn chain(of: Pid) -> Answer<Vec<OwnedFd>> {
    let own =
        kernel::inode(&files::open(&proc::folder(Pid(std::process::id() as i32)).join("ns/user"), libc::O_RDONLY)?)?;
    let mut chain = vec![link(of, "user")?];
    while chain.len() <= DEEPEST {
        let Some(last) = chain.last() else { break };
        if kernel::inode(last)? == own {
            chain.pop();
            chain.reverse();
            return Ok(chain);
        }
        let above = kernel::parent(last)?;
        chain.push(above);
    }
    Err(Errno::ELOOP)
}

/// What is seen of the chain that ends with the user namespace of a process, and which of these kinds of namespaces of the same process
/// belong to which.
pub fn look(of: Pid, kinds: &[&'static str]) -> Result<(Vec<UserNamespace>, Vec<Owned>), Problem> {
    let found = chain(of).map_err(unread("ioctl_ns"))?;
    let numbers = found.iter().map(kernel::inode).collect::<Answer<Vec<_>>>().map_err(unread("fstat"))?;
    let mut owned = Vec::new();
    for kind in kinds.iter().filter(|kind| **kind != "user") {
        let by = link(of, kind).and_then(|link| kernel::inode(&kernel::owner(&link)?)).map_err(unread("ioctl_ns"))?;
        let by = numbers.iter().position(|number| *number == by);
        owned.extend(by.map(|by| Owned { kind: (*kind).to_owned(), by }));
    }
    Ok((found.iter().map(one).collect::<Result<_, _>>()?, owned))
}

/// What is seen of one.
pub fn one(namespace: &OwnedFd) -> Result<UserNamespace, Problem> {
    let maker = kernel::maker(namespace).map_err(unread("ioctl_ns"))?;
    // Nobody need live there, and only who does has the maps in /proc.
    let visitor = Maid::visit(namespace).map_err(unread("setns"))?;
    let read = |name: &str| {
        let text = proc::read(visitor.pid(), name);
        text.map_err(|error| Problem::blocks(ProblemKind::Namespace, error.said()))
    };
    Ok(UserNamespace {
        maker,
        users: map(&read("uid_map")?),
        groups: map(&read("gid_map")?),
        may_set_groups: read("setgroups")?.trim_ascii() == b"allow",
        limits: limits::look(namespace).map_err(unread("/proc/sys/user"))?,
    })
}

/// The lines of proc_pid_uid_map(5), which show the ids of whoever reads them.
fn map(text: &[u8]) -> Vec<Extent> {
    let text = String::from_utf8_lossy(text);
    let extent = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    };
    text.lines().filter_map(extent).collect()
}

fn nameless_group(id: u32) -> Phrase {
    phrase!("its user namespace has no name for group {id}", id)
}

impl UserNamespace {
    /// What is wrong with the record of one, and of the one around it if that is not ours.
    pub fn verify(&self, around: Option<&Self>) -> Option<&'static str> {
        let maps =
            [(&self.users, around.map(|around| &around.users)), (&self.groups, around.map(|around| &around.groups))];
        if maps.into_iter().any(|(own, around)| !is_possible(own, around.map(Vec::as_slice))) {
            return Some("a map of ids that no user namespace can have");
        }
        if around.is_some_and(|around| inside(&around.users, self.maker).is_none() || around.groups.is_empty()) {
            return Some("a user namespace that nobody can have made");
        }
        if !self.limits.iter().all(Limit::is_possible) {
            return Some("a limit that no user namespace has");
        }
        let sets_more = self.may_set_groups && around.is_some_and(|around| !around.may_set_groups);
        sets_more.then_some("a user namespace in which more may be set than in the one around it")
    }

    /// The credentials as they are called inside. An id that has no name there is the error.
    pub fn translate(&self, outside: &Credentials) -> Result<Credentials, Phrase> {
        let mut inner = outside.clone();
        for id in &mut inner.users {
            let nameless = || phrase!("its user namespace has no name for user {id}", id);
            *id = inside(&self.users, *id).ok_or_else(nameless)?;
        }
        for id in &mut inner.groups {
            *id = inside(&self.groups, *id).ok_or_else(|| nameless_group(*id))?;
        }
        Ok(inner)
    }

    /// What of these credentials cannot be given in it; `shared`: everybody has the same supplementary groups.
    pub fn judge(&self, outside: &Credentials, shared: bool) -> Option<Phrase> {
        if let Err(what) = self.translate(outside) {
            return Some(what);
        }
        if shared {
            return None;
        }
        if !self.may_set_groups {
            let what = phrase!(
                "its supplementary groups are not those of the others, and its user namespace lets nobody set any"
            );
            return Some(what);
        }
        self.translate_groups(&outside.supplementary).err()
    }

    /// Supplementary groups as they are called inside.
    pub fn translate_groups(&self, outside: &[u32]) -> Result<Vec<u32>, Phrase> {
        let one = |id: &u32| inside(&self.groups, *id).ok_or_else(|| nameless_group(*id));
        outside.iter().map(one).collect()
    }

    /// Who outside is root in it.
    pub fn root(&self) -> Option<(u32, u32)> {
        let root = |extents: &[Extent]| extents.iter().find(|(inner, ..)| *inner == 0).map(|(_, outer, _)| *outer);
        Some((root(&self.users)?, root(&self.groups).or_else(|| self.groups.first().map(|first| first.1))?))
    }

    /// A user and a group outside as whom files can be made in a filesystem that belongs to it.
    pub fn somebody(&self) -> Option<(u32, u32)> {
        Some((self.users.first()?.1, self.groups.first()?.1))
    }
}

/// The supplementary groups of all of these, if they have the same.
pub fn common_groups<'a>(all: impl IntoIterator<Item = &'a Credentials>) -> Option<Vec<u32>> {
    let mut all = all.into_iter().map(|one| &one.supplementary);
    let first = all.next()?;
    all.all(|other| other == first).then(|| first.clone())
}

/// What members could not be given again in their user namespace.
pub fn judge(chain: &[UserNamespace], members: &[(ProcessName, Credentials)]) -> Vec<Problem> {
    let Some(home) = chain.last() else { return Vec::new() };
    let shared = common_groups(members.iter().map(|(_, credentials)| credentials)).is_some();
    let judge = |(shown, credentials): &(ProcessName, Credentials)| {
        let problem = Problem::blocks(ProblemKind::Namespace, home.judge(credentials, shared)?).of(shown);
        Some(problem.way_out(phrase!("Pause the group instead")))
    };
    let mut problems: Vec<Problem> = members.iter().filter_map(judge).collect();
    problems.dedup();
    problems
}

/// Those that were made for the group that is woken.
#[derive(Debug)]
pub struct Made {
    /// The record.
    pub chain: Vec<UserNamespace>,
    /// Each of them.
    pub namespaces: Vec<OwnedFd>,
    /// In which the first process is born; none: outside.
    pub birth: Option<usize>,
    /// The supplementary groups that the first one is born with.
    pub groups: Vec<u32>,
    /// All have these.
    pub shares_groups: bool,
    /// The group outside as which they were made.
    pub group: u32,
}

static MADE: OnceLock<Made> = OnceLock::new();

/// From now on these are there.
pub fn begin(made: Made) {
    // A process wakes one group.
    let _ = MADE.set(made);
}

/// Those that were made for the group that this process wakes.
pub fn made() -> Option<&'static Made> {
    MADE.get()
}

static MOUNTS: OnceLock<OwnedFd> = OnceLock::new();

/// This is the mount namespace in which the group is woken, and whose first process still has to go there.
pub fn keep_mounts(namespace: OwnedFd) {
    let _ = MOUNTS.set(namespace);
}

/// The same.
pub fn mounts() -> Option<&'static OwnedFd> {
    MOUNTS.get()
}

static UNLOCKED: OnceLock<OwnedFd> = OnceLock::new();

/// This is the mount namespace that that one was copied from: in it, root can take apart what was put together.
pub fn keep_unlocked(namespace: OwnedFd) {
    let _ = UNLOCKED.set(namespace);
}

/// The same.
pub fn unlocked() -> Option<&'static OwnedFd> {
    UNLOCKED.get()
}

impl Made {
    /// Where its members live.
    pub fn home(&self) -> Option<(&UserNamespace, &OwnedFd)> {
        self.chain.last().zip(self.namespaces.last())
    }

    /// What the credentials of a member are called where it lives, and what it has to begin with.
    pub fn given(&self, outside: &Credentials) -> Result<(Credentials, Privileges), Phrase> {
        let Some((home, _)) = self.home() else { return Ok((outside.clone(), Privileges::own())) };
        let mut inner = home.translate(outside)?;
        if !self.shares_groups {
            inner.supplementary = home.translate_groups(&outside.supplementary)?;
        }
        Ok((inner, Privileges::whole(!self.shares_groups)))
    }

    /// Sets what may be made in them, when all is; answers what could not be.
    pub fn limit(&self) -> Vec<Problem> {
        let all = self.chain.iter().zip(&self.namespaces);
        all.filter_map(|(record, namespace)| limits::restore(&record.limits, namespace)).collect()
    }

    /// Whether its members go home from where they are born.
    pub fn is_elsewhere(&self) -> bool {
        self.birth.map_or(0, |birth| birth + 1) < self.chain.len()
    }
}

/// As whom a user namespace of the chain is made: user and group outside.
pub fn maker(chain: &[UserNamespace], index: usize, group: u32) -> Option<(u32, u32)> {
    let one = chain.get(index)?;
    let around = index.checked_sub(1).and_then(|above| chain.get(above));
    // Of groups nothing is known but that it was one that the namespace around it knows.
    let group = match around {
        Some(around) if inside(&around.groups, group).is_none() => around.somebody()?.1,
        _ => group,
    };
    Some((one.maker, group))
}

/// Writes the maps of one of the chain, in which a process lives.
pub fn write_maps(chain: &[UserNamespace], index: usize, folder: &Path) -> Answer<()> {
    let Some(one) = chain.get(index) else { return Ok(()) };
    let around = index.checked_sub(1).and_then(|above| chain.get(above));
    let users = lines(&one.users, around.map(|around| around.users.as_slice())).ok_or(Errno::EINVAL)?;
    let groups = lines(&one.groups, around.map(|around| around.groups.as_slice())).ok_or(Errno::EINVAL)?;
    let failed = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    kernel::write_maps(folder, &users, &groups, one.may_set_groups).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_inside_and_maps_are_written_in_the_words_of_the_namespace_around() {
        let outer = [(0, 1000, 1), (1, 100_000, 65_536)];
        assert_eq!(inside(&outer, 1000), Some(0));
        assert_eq!(inside(&outer, 100_004), Some(5));
        assert_eq!(inside(&outer, 165_536), None);
        assert_eq!(lines(&[(1000, 1000, 1)], Some(&outer)).as_deref(), Some("1000 0 1\n"));
        assert_eq!(lines(&[(0, 7, 1)], Some(&outer)), None);
        assert_eq!(map(b"         0       1000          1\n"), [(0, 1000, 1)]);
    }

    #[test]
    fn a_map_that_no_kernel_takes_is_odd() {
        let outer = [(0, 1000, 10)];
        assert!(is_possible(&[(0, 1000, 1), (1, 100_000, 65_536)], None));
        assert!(is_possible(&[(5, 1002, 8)], Some(&outer)));
        for odd in [
            &[(0, 1000, 0)][..],
            &[(0, 1000, 2), (1, 5000, 2)],
            &[(0, 1000, 2), (5, 1001, 2)],
            &[(u32::MAX, 0, 2)],
            &[(0, u32::MAX, 1)],
        ] {
            assert!(!is_possible(odd, None), "{odd:?}");
        }
        assert!(!is_possible(&[(0, 1009, 2)], Some(&outer)));
        assert!(!is_possible(&[(0, 0, 1)], Some(&outer)));
    }
}
