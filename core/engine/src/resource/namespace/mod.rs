//! Namespaces that a group has for itself, namespaces(7): all its members live in one set of them, as bubblewrap and unshare(1)
//! make it. What they see there, and what of the outside is in it.

pub mod mount;
pub mod names;
pub mod network;
pub mod settings;

use dormouse_wire::needs::Sandbox;
use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use mount::{Mounts, Plan};
use names::Names;
use network::Loopback;
use settings::Setting;

use crate::image::{PageBuffer, PageSink, Reader};
use crate::kernel::outside::Outside;
use crate::resource::named_file::shown;

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
}

/// The kinds that can be given back.
pub const KINDS: [&str; 6] = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];

/// What is seen of them from within.
#[derive(Debug)]
pub struct Seen {
    own: Vec<&'static str>,
    mounts: Plan,
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
    Ok(Seen { own, mounts, problems })
}

impl Seen {
    /// What a person is told of it: the kinds, and what of the outside is mounted in it.
    pub fn shown(&self) -> Sandbox {
        let namespaces = self.own.iter().map(|kind| (*kind).to_owned()).collect();
        Sandbox { namespaces, paths: listed(self.mounts.record()) }
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
        self.mounts.verify(reader).map(odd)
    }

    /// What is in the way of giving them back here, before anything is made.
    pub fn preflight(&self, reader: &Reader) -> Vec<Problem> {
        self.verify(reader).map_or_else(|| self.mounts.preflight(), |problem| vec![problem])
    }

    /// What it needs of the outside, for a person.
    pub fn needed(&self) -> Vec<String> {
        listed(&self.mounts)
    }

    /// Makes those of this process, which must all be its own, what they were; what was lost of them.
    pub fn restore(&self, reader: &Reader) -> Result<Vec<Problem>, Problem> {
        if let Some(names) = &self.names {
            names.restore()?;
        }
        if let Some(loopback) = self.loopback {
            loopback.restore()?;
        }
        let losses = settings::restore(&self.settings);
        mount::build(&self.mounts, reader)?;
        Ok(losses)
    }
}
