//! Users, groups, capabilities and securebits of a thread: credentials(7), capabilities(7).
//!
//! Given back last, for they take away what the engine needs to give back the rest.

// zoo: credentials

use serde::{Deserialize, Serialize};

use crate::arguments;
use crate::kernel::identity::Identity;
use crate::kernel::{Errno, identity};
use crate::proc::status::Status;
use crate::puppet::{Batch, Call};

/// A thread's credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Real, effective, saved and filesystem user.
    pub users: [u32; 4],
    /// Real, effective, saved and filesystem group.
    pub groups: [u32; 4],
    /// Supplementary groups.
    pub supplementary: Vec<u32>,
    /// Inheritable capabilities, one bit each.
    pub inheritable: u64,
    /// Permitted capabilities.
    pub permitted: u64,
    /// Effective capabilities.
    pub effective: u64,
    /// The bounding set.
    pub bounding: u64,
    /// Ambient capabilities.
    pub ambient: u64,
    /// SECBIT_*.
    pub securebits: u32,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
}

/// What was asked.
#[derive(Debug)]
pub struct Asked(Call);

/// Asks for what proc_pid_status(5) does not tell.
pub fn ask(batch: &mut Batch) -> Asked {
    Asked(batch.ask(libc::SYS_prctl, arguments![libc::PR_GET_SECUREBITS]))
}

/// The record.
pub fn answer(asked: &Asked, batch: &Batch, status: &Status) -> Result<Credentials, Errno> {
    Ok(of_status(status, batch.result(asked.0)? as u32))
}

/// The record, of what proc_pid_status(5) tells.
pub fn of_status(status: &Status, securebits: u32) -> Credentials {
    Credentials {
        users: [status.uid.real, status.uid.effective, status.uid.saved, status.uid.filesystem],
        groups: [status.gid.real, status.gid.effective, status.gid.saved, status.gid.filesystem],
        supplementary: status.groups.clone(),
        inheritable: status.capabilities.inheritable,
        permitted: status.capabilities.permitted,
        effective: status.capabilities.effective,
        bounding: status.capabilities.bounding,
        ambient: status.capabilities.ambient,
        securebits,
        no_new_privileges: status.no_new_privileges,
    }
}

const SECBIT_NO_SETUID_FIXUP: u32 = 1 << 2;

/// What the engine itself may: nothing beyond it can be given.
#[derive(Clone, Copy, Debug)]
pub struct Privileges {
    /// Its permitted capabilities.
    pub permitted: u64,
    /// Its bounding set.
    pub bounding: u64,
    /// Supplementary groups are given, and not there from birth.
    pub sets_groups: bool,
}

impl Privileges {
    /// Those of the calling thread.
    pub fn own() -> Self {
        Self { permitted: identity::permitted_capabilities(), bounding: identity::bounding_set(), sets_groups: true }
    }

    /// Those of somebody who has just come into a user namespace.
    pub fn whole(sets_groups: bool) -> Self {
        let all = identity::all_capabilities();
        Self { permitted: all, bounding: all, sets_groups }
    }

    /// The capabilities of a record that the engine cannot give.
    pub fn lacking(self, record: &Credentials) -> u64 {
        (record.permitted | record.effective | record.ambient) & !self.permitted | record.bounding & !self.bounding
    }
}

/// Gives the credentials to the thread that runs the batch.
///
/// The kernel's rules set the order: the change of users must not touch capabilities; ambient ones must be inheritable
/// first; securebits want CAP_SETPCAP still; the last capset takes the rest away.
pub fn restore(record: &Credentials, own: Privileges, batch: &mut Batch) {
    set_securebits(batch, SECBIT_NO_SETUID_FIXUP);
    if own.sets_groups {
        set_groups(&record.supplementary, batch);
    }
    let [real, effective, saved, filesystem] = record.groups;
    batch.must("set the group ids", libc::SYS_setresgid, arguments![real, effective, saved]);
    batch.must("set the filesystem group", libc::SYS_setfsgid, arguments![filesystem]);
    let [real, effective, saved, filesystem] = record.users;
    batch.must("set the user ids", libc::SYS_setresuid, arguments![real, effective, saved]);
    batch.must("set the filesystem user", libc::SYS_setfsuid, arguments![filesystem]);
    set_capabilities(batch, own.permitted, own.permitted, record.inheritable);
    for capability in bits(record.ambient) {
        batch.must(
            "raise an ambient capability",
            libc::SYS_prctl,
            arguments![libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0],
        );
    }
    for capability in bits(own.bounding & !record.bounding) {
        batch.must(
            "drop a capability from the bounding set",
            libc::SYS_prctl,
            arguments![libc::PR_CAPBSET_DROP, capability, 0, 0, 0],
        );
    }
    set_securebits(batch, record.securebits);
    set_capabilities(batch, record.effective, record.permitted, record.inheritable);
    if record.no_new_privileges {
        batch.must("set no_new_privs", libc::SYS_prctl, arguments![libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0]);
    }
}

/// Gives supplementary groups.
pub fn set_groups(groups: &[u32], batch: &mut Batch) {
    let bytes: Vec<u8> = groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
    let place = batch.bytes(&bytes);
    batch.must("set the supplementary groups", libc::SYS_setgroups, arguments![groups.len(), place]);
}

fn set_securebits(batch: &mut Batch, bits: u32) {
    batch.must("set the securebits", libc::SYS_prctl, arguments![libc::PR_SET_SECUREBITS, bits, 0, 0, 0]);
}

/// capset(2), version 3: two structures of effective, permitted, inheritable, 32 bits each.
fn set_capabilities(batch: &mut Batch, effective: u64, permitted: u64, inheritable: u64) {
    const VERSION_3: u32 = 0x2008_0522;
    let header = batch.bytes(&[VERSION_3.to_ne_bytes(), [0; 4]].concat());
    let mut sets = Vec::with_capacity(24);
    for half in [0, 32] {
        for set in [effective, permitted, inheritable] {
            sets.extend(((set >> half) as u32).to_ne_bytes());
        }
    }
    let sets = batch.bytes(&sets);
    batch.must("set the capabilities", libc::SYS_capset, arguments![header, sets]);
}

fn bits(set: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |bit| set >> bit & 1 == 1)
}

impl Credentials {
    /// Whether it may administrate its user namespace, CAP_SYS_ADMIN.
    pub fn may_administrate(&self) -> bool {
        const CAP_SYS_ADMIN: u64 = 1 << 21;
        self.permitted & CAP_SYS_ADMIN != 0
    }

    /// Who it is towards files.
    pub fn towards_files(&self) -> Identity {
        Identity { user: self.users[3], group: self.groups[3], groups: self.supplementary.clone() }
    }
}

/// From now on the process has these rights on files, and not the engine's, which is root; [`act_no_more`] ends it.
pub fn act(record: &Credentials, batch: &mut Batch) {
    let groups: Vec<u8> = record.supplementary.iter().flat_map(|group| group.to_ne_bytes()).collect();
    let groups = batch.bytes(&groups);
    batch.must("take on its groups", libc::SYS_setgroups, arguments![record.supplementary.len(), groups]);
    batch.must("take on its group", libc::SYS_setfsgid, arguments![record.groups[3]]);
    // With the user go the capabilities on files, and they come back with root, capabilities(7).
    batch.must("take on its user", libc::SYS_setfsuid, arguments![record.users[3]]);
}

/// The same for somebody in a user namespace, who never has the engine's rights again.
pub fn act_for_good(inside: &Credentials, batch: &mut Batch) {
    batch.must("take on its group", libc::SYS_setfsgid, arguments![inside.groups[3]]);
    batch.must("take on its user", libc::SYS_setfsuid, arguments![inside.users[3]]);
}

/// The process has root's rights on files again; its groups are given to it with the rest.
pub fn act_no_more(batch: &mut Batch) {
    batch.must("be root again", libc::SYS_setfsuid, arguments![0]);
    batch.must("be of root's group again", libc::SYS_setfsgid, arguments![0]);
}
