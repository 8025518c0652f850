//! How much may be made in a user namespace, by whomever: `/proc/sys/user`, namespaces(7). Bubblewrap forbids further user namespaces so
//! (`--disable-userns`). The kernel shows and takes them from who is in the namespace.

// zoo: none, because a group with namespaces of its own is no program: see tests/capsules

use std::ffi::CString;
use std::os::fd::OwnedFd;

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use crate::kernel::inner_namespaces::Maid;
use crate::kernel::{Answer, Errno};

/// A limit that is not the usual one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Its name, such as `max_user_namespaces`.
    pub name: String,
    /// So many there may be.
    pub most: i32,
}

const FOLDER: &str = "/proc/sys/user";
/// What a new user namespace has.
const USUAL: i32 = i32::MAX;

fn path(name: &str) -> Answer<CString> {
    CString::new(format!("{FOLDER}/{name}")).map_err(|_| Errno::EINVAL)
}

/// Those of a user namespace that are not the usual ones.
pub fn look(namespace: &OwnedFd) -> Answer<Vec<Limit>> {
    // The names are the same in all of them.
    let listed = std::fs::read_dir(FOLDER).into_iter().flatten().flatten();
    let names: Vec<String> = listed.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let paths = names.iter().map(|name| path(name)).collect::<Answer<Vec<_>>>()?;
    let texts = Maid::read_within(namespace, &paths)?;
    let limit = |(name, text): (String, Vec<u8>)| {
        let most = std::str::from_utf8(&text).ok()?.trim().parse().ok()?;
        Some(Limit { name, most }).filter(|limit| limit.most != USUAL && limit.is_possible())
    };
    let mut limits: Vec<Limit> = names.into_iter().zip(texts).filter_map(limit).collect();
    limits.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(limits)
}

impl Limit {
    /// Whether it can be one: an image is untrusted.
    pub fn is_possible(&self) -> bool {
        let plain = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        self.most >= 0 && self.name.strip_prefix("max_").is_some_and(plain)
    }
}

/// Sets those of a user namespace, when all is made in it; answers what could not be.
pub fn restore(limits: &[Limit], namespace: &OwnedFd) -> Option<Problem> {
    if limits.is_empty() {
        return None;
    }
    let file = |limit: &Limit| Ok((path(&limit.name)?, limit.most.to_string()));
    let files = limits.iter().map(file).collect::<Answer<Vec<_>>>();
    let errno = files.and_then(|files| Maid::write_within(namespace, &files)).err()?;
    let what = phrase!("the limits of a user namespace cannot be set as they were: {why}", why = errno.desc());
    Some(
        Problem::loses(ProblemKind::Namespace, what, phrase!("these limits: more may be made in it"))
            .at(FOLDER.to_owned()),
    )
}
