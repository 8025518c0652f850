//! Who the engine's own thread is towards files: setfsuid(2), setfsgid(2), setgroups(2), capset(2), for one thread
//! only, so that a file is opened with its owner's rights and no more.

use super::{Answer, Errno, checked};

/// An identity towards the filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The filesystem user.
    pub user: u32,
    /// The filesystem group.
    pub group: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

/// The calling thread acts as somebody else until this is dropped.
#[derive(Debug)]
pub struct Acting {
    before: Identity,
    capabilities: [Capabilities; 2],
    /// The effective user before, where that is another one now.
    effective: Option<u32>,
    /// It is another one than before.
    changed: bool,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Capabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// To have other groups, capabilities(7).
const CAP_SETGID: u32 = 6;

/// The capabilities that let their holder pass by the rights on files: CAP_CHOWN, CAP_DAC_OVERRIDE,
/// CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_MKNOD (bits of the first word), capabilities(7).
const FILE_CAPABILITIES: u32 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 27;

impl Acting {
    /// Takes on an identity; root keeps its own rights on files, everybody else loses ours.
    pub fn begin(identity: &Identity) -> Answer<Self> {
        let before = Identity {
            // An invalid id changes nothing and answers the present one, setfsuid(2).
            user: filesystem_id(libc::SYS_setfsuid, u32::MAX),
            group: filesystem_id(libc::SYS_setfsgid, u32::MAX),
            groups: nix::unistd::getgroups()?.into_iter().map(nix::unistd::Gid::as_raw).collect(),
        };
        let mut acting = Self { before, capabilities: capabilities()?, effective: None, changed: false };
        // An ordinary user who acts as himself has his own groups, whatever those were: he gains nothing by them.
        let is_mighty = has_capability(CAP_SETGID) || acting.capabilities[0].effective & FILE_CAPABILITIES != 0;
        let is_himself = identity.user != 0 && identity.user == acting.before.user && !is_mighty;
        if *identity == acting.before || is_himself {
            return Ok(acting);
        }
        acting.changed = true;
        set_groups(&identity.groups)?;
        filesystem_id(libc::SYS_setfsgid, identity.group);
        if filesystem_id(libc::SYS_setfsgid, u32::MAX) != identity.group {
            return Err(Errno::EPERM);
        }
        // The change of user drops or gives back the capabilities on files by itself, capabilities(7), but only
        // between root and others; set them in any case.
        filesystem_id(libc::SYS_setfsuid, identity.user);
        if filesystem_id(libc::SYS_setfsuid, u32::MAX) != identity.user {
            return Err(Errno::EPERM);
        }
        if identity.user != 0 {
            let mut fewer = capabilities()?;
            fewer[0].effective &= !FILE_CAPABILITIES;
            set_capabilities(&fewer)?;
        }
        Ok(acting)
    }

    /// Whoever is not root acts without any capability from here on, and on the account of his user: what is made then is what an ordinary
    /// user makes.
    pub fn powerless(mut self) -> Answer<Self> {
        let user = filesystem_id(libc::SYS_setfsuid, u32::MAX);
        let own = nix::unistd::geteuid().as_raw();
        if user != 0 && own == 0 {
            // With the effective user goes every capability, capabilities(7); they stay permitted, as the real user does.
            self.effective = Some(own);
            set_effective(user)?;
        }
        Ok(self)
    }
}

/// The raw call changes one thread.
fn set_effective(user: u32) -> Answer<()> {
    // SAFETY: integers only; -1 leaves an id as it is.
    checked(unsafe { libc::syscall(libc::SYS_setresuid, u32::MAX, user, u32::MAX) }).map(drop)
}

impl Drop for Acting {
    fn drop(&mut self) {
        if !self.changed && self.effective.is_none() {
            return;
        }
        // The others need capabilities, and a change of user may take some again.
        let back = self.effective.map_or(Ok(()), set_effective).and_then(|()| set_capabilities(&self.capabilities));
        filesystem_id(libc::SYS_setfsuid, self.before.user);
        filesystem_id(libc::SYS_setfsgid, self.before.group);
        let back =
            back.and_then(|()| set_groups(&self.before.groups)).and_then(|()| set_capabilities(&self.capabilities));
        if let Err(error) = back {
            tracing::error!(%error, "the engine could not take back its own identity");
        }
    }
}

/// What the calling thread makes belongs to somebody else until this is dropped, and it keeps its rights on files: in a filesystem of a
/// user namespace nobody can make anything whom that has no name for.
#[derive(Debug)]
pub struct Making {
    _acting: Acting,
}

impl Making {
    /// Takes on a user and a group.
    pub fn begin((user, group): (u32, u32)) -> Answer<Self> {
        let acting = Acting::begin(&Identity { user, group, groups: Vec::new() })?;
        set_capabilities(&acting.capabilities)?;
        Ok(Self { _acting: acting })
    }
}

fn filesystem_id(call: libc::c_long, id: u32) -> u32 {
    // SAFETY: setfsuid and setfsgid take one integer and cannot fail; they answer the id before.
    unsafe { libc::syscall(call, id) as u32 }
}

/// The raw call changes one thread; the C library's setgroups would change all.
fn set_groups(groups: &[u32]) -> Answer<()> {
    // SAFETY: the kernel reads as many ids as the slice holds.
    checked(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) }).map(drop)
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

fn capabilities() -> Answer<[Capabilities; 2]> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut sets = [Capabilities::default(); 2];
    // SAFETY: version 3 writes exactly two structures.
    checked(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    Ok(sets)
}

fn set_capabilities(sets: &[Capabilities; 2]) -> Answer<()> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    // SAFETY: version 3 reads exactly two structures.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) }).map(drop)
}

/// All capabilities that this kernel knows, one bit each.
pub fn all_capabilities() -> u64 {
    // SAFETY: prctl with integers only; a capability that the kernel does not know is an error.
    let is_known = |capability: &u32| unsafe { libc::prctl(libc::PR_CAPBSET_READ, *capability, 0, 0, 0) } != -1;
    (0..64).take_while(is_known).fold(0, |set, capability| set | 1 << capability)
}

/// Whether the calling thread has this capability in its effective set.
pub fn has_capability(number: u32) -> bool {
    capabilities()
        .is_ok_and(|sets| sets.get(number as usize / 32).is_some_and(|set| set.effective >> (number % 32) & 1 == 1))
}

/// The calling thread's permitted capabilities, one bit each.
pub fn permitted_capabilities() -> u64 {
    capabilities().map_or(0, |[low, high]| u64::from(high.permitted) << 32 | u64::from(low.permitted))
}

/// The calling thread's bounding set, one bit each (PR_CAPBSET_READ).
pub fn bounding_set() -> u64 {
    (0..64).fold(0, |set, capability| {
        // SAFETY: prctl with integers only.
        let held = unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) };
        set | u64::from(held == 1) << capability
    })
}
