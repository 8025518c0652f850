//! Namespaces that a group has for itself, namespaces(7): all its members live in one set of them, as bubblewrap and unshare(1)
//! make it. What they see there, and what of the outside is in it.

pub mod inner;
pub mod limits;
pub mod member;
pub mod mount;
pub mod names;
pub mod network;
pub mod settings;
pub mod user;

use dormouse_wire::needs::Sandbox;
use dormouse_wire::{Pid, Problem, ProblemKind, ProcessName, phrase};
use serde::{Deserialize, Serialize};

use mount::{Mounts, Plan};
use names::Names;
use network::Loopback;
use settings::Setting;
use user::{Owned, UserNamespace};

use crate::image::{PageBuffer, PageSink, Reader};
use crate::kernel::outside::Outside;
use crate::kernel::user_namespaces;
use crate::resource::named_file::shown;
use crate::resource::task::credentials::Credentials;

/// The first process in a pid namespace.
const INIT: Pid = Pid(1);

/// The section `Namespaces`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// The kinds that it has for itself, by the names of the links in /proc/PID/ns.
    pub own: Vec<String>,
    /// The names in a uts namespace.
    pub names: Option<Names>,
    /// The mounts.
    pub mounts: Mounts,
    /// The loopback device of a network namespace.
    pub loopback: Option<Loopback>,
    /// Settings of the kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
    /// User namespaces, each in the one before, the first one in that outside; its members live in the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserNamespace>,
    /// The kinds that one of them is mighty over; over the others, root outside is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owned: Vec<Owned>,
}

/// The kinds that can be given back.
pub const KINDS: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// What is seen of them from within.
#[derive(Debug)]
pub struct Seen {
    own: Vec<&'static str>,
    mounts: Plan,
    users: Vec<UserNamespace>,
    owned: Vec<Owned>,
    /// What stands in the way, and what would be lost.
    pub problems: Vec<Problem>,
}

/// Looks at those of this process, which has come from there.
pub fn look(outside: &Outside) -> Result<Seen, Problem> {
    let own = outside.own().to_vec();
    let mut mounts = mount::look(outside).map_err(|error| Problem::blocks(ProblemKind::Namespace, error.said()))?;
    let mut problems = std::mem::take(&mut mounts.problems);
    if own.contains(&"net") {
        problems.extend(network::judge());
    }
    let (users, owned) = if own.contains(&"user") { user::look(INIT, &own)? } else { Default::default() };
    if !mounts.record().has_proc() {
        let what = phrase!("there is no /proc in its sandbox that shows the processes in it");
        let way_out = phrase!("Start it with one: bwrap --proc /proc, or unshare --mount-proc");
        problems.push(Problem::blocks(ProblemKind::Namespace, what).way_out(way_out));
    }
    Ok(Seen { own, mounts, users, owned, problems })
}

impl Seen {
    /// What members could not be given again in their user namespace.
    pub fn judge(&self, members: &[(ProcessName, Credentials)]) -> Vec<Problem> {
        user::judge(&self.users, members)
    }

    /// Whether its members are in a user namespace at all.
    pub fn has_users(&self) -> bool {
        !self.users.is_empty()
    }

    /// Whether they are born in another one than they live in.
    pub fn goes_home(&self) -> bool {
        user::goes_home(&self.users, &self.owned)
    }

    /// Who could take its mounts apart, and cannot any more.
    pub fn locked(&self, members: &[(ProcessName, Credentials)]) -> Option<Problem> {
        let is_mighty = |(_, member): &&(ProcessName, Credentials)| member.may_administrate();
        let (shown, _) = members.iter().find(is_mighty).filter(|_| user::owner(&self.owned, "mnt").is_some())?;
        Some(member::may_change_mounts(shown))
    }

    /// What a person is told of it: the kinds, and what of the outside is mounted in it.
    pub fn shown(&self) -> Sandbox {
        let namespaces = self.own.iter().map(|kind| (*kind).to_owned()).collect();
        Sandbox { namespaces, paths: listed(&self.mounts.record()) }
    }

    /// The record; the content of filesystems goes into the image.
    pub fn capture(self, sink: &PageSink, buffer: &mut PageBuffer) -> Result<Namespaces, Problem> {
        let has = |kind: &str| self.own.contains(&kind);
        let unread = |errno: crate::kernel::Errno| {
            Problem::blocks(
                ProblemKind::Namespace,
                phrase!("the name of its host cannot be read: {why}", why = errno.desc()),
            )
        };
        let mut settings = Vec::new();
        if has("ipc") {
            settings.extend(settings::of_ipc());
        }
        if has("net") {
            settings.extend(settings::of_network());
        }
        Ok(Namespaces {
            own: self.own.iter().map(|kind| (*kind).to_owned()).collect(),
            names: has("uts").then(Names::here).transpose().map_err(unread)?,
            loopback: has("net").then(Loopback::here).transpose()?,
            mounts: self.mounts.capture(sink, buffer)?,
            settings,
            users: self.users,
            owned: self.owned,
        })
    }
}

/// What of the outside is mounted, each path once.
fn listed(mounts: &Mounts) -> Vec<String> {
    let mut needed: Vec<String> = mounts.needed().map(|(path, ..)| shown(path)).collect();
    needed.sort();
    needed.dedup();
    needed
}

impl Namespaces {
    /// Whether it has this kind for itself.
    pub fn has(&self, kind: &str) -> bool {
        self.own.iter().any(|own| own == kind)
    }

    /// What is wrong with a record, whoever wrote it.
    pub fn verify(&self, reader: &Reader) -> Option<Problem> {
        let odd = |what: &str| Problem::blocks(ProblemKind::Image, phrase!("the image holds {what}", what));
        if let Some(kind) = self.own.iter().find(|own| !KINDS.contains(&own.as_str())) {
            let what = phrase!(
                "the group had a namespace of a kind that is not known here: {kind}",
                kind = format_args!("{kind:?}")
            );
            return Some(Problem::blocks(ProblemKind::Image, what).way_out(phrase!("Thaw it with a newer Dormouse")));
        }
        if !self.has("pid") || !self.has("mnt") {
            return Some(odd("namespaces without one for pids and one for mounts"));
        }
        if let Some(setting) = self.settings.iter().find(|setting| !settings::is_kept(setting)) {
            let name = String::from_utf8_lossy(&setting.name).escape_debug().to_string();
            return Some(odd(&format!("a setting that belongs to the whole system: {name}")));
        }
        user::verify(&self.users, &self.owned, &self.own).or_else(|| self.mounts.verify(reader)).map(odd)
    }

    /// Which of its user namespaces is mighty over a kind; none: root outside is.
    pub fn owner(&self, kind: &str) -> Option<usize> {
        user::owner(&self.owned, kind)
    }

    /// What is in the way of giving them back here, before anything is made.
    pub fn preflight(&self, reader: &Reader) -> Vec<Problem> {
        self.verify(reader).map_or_else(|| self.mounts.preflight(), |problem| vec![problem])
    }

    /// What it needs of the outside, for a person.
    pub fn needed(&self) -> Vec<String> {
        listed(&self.mounts)
    }

    /// Some settings can be written by the root of the user namespace only that the namespace belongs to. What he does not write is tried,
    /// and told, afterwards.
    fn settings_by_their_root(&self) {
        let made = user::made().zip(self.owner("ipc"));
        let Some(root) = made.and_then(|(made, index)| made.chain.get(index)?.root()) else { return };
        let _ = user_namespaces::elsewhere(|| {
            user_namespaces::become_user(root.0, root.1, &[])?;
            settings::restore(&self.settings);
            Ok(Vec::new())
        });
    }

    fn owner_of_mounts(&self) -> Option<mount::Owner<'static>> {
        let (made, index) = (user::made()?, self.owner("mnt")?);
        let maker = user::maker(&made.chain, index, made.group)?;
        Some(mount::Owner { record: made.chain.get(index)?, namespace: made.namespaces.get(index)?, maker })
    }

    /// Makes those of this process, which must all be its own, what they were; what was lost of them.
    pub fn restore(&self, reader: &Reader) -> Result<Vec<Problem>, Problem> {
        if let Some(names) = &self.names {
            names.restore()?;
        }
        if let Some(loopback) = self.loopback {
            loopback.restore()?;
        }
        self.settings_by_their_root();
        let losses = settings::restore(&self.settings);
        mount::build(&self.mounts, self.owner_of_mounts().as_ref(), reader)?;
        Ok(losses)
    }
}
