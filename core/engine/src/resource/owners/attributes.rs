//! Numbers of users and groups in extended attributes: access control lists, acl(5), and the root that a file's capabilities hold for,
//! capabilities(7).

use serde_bytes::ByteBuf;

use super::Walk;

/// The head of an access control list, and a line of it: `linux/posix_acl_xattr.h`.
const HEAD: usize = 4;
const LINE: usize = 8;
const VERSION: u32 = 2;
const ACL_USER: u16 = 0x02;
const ACL_GROUP: u16 = 0x08;

/// `struct vfs_ns_cap_data` of `linux/capability.h`: a word, four of capabilities, and the root.
const ROOT: usize = 20;
const REVISION_MASK: u32 = 0xff00_0000;
const REVISION_3: u32 = 0x0300_0000;

/// Leads what an attribute says of users and groups. One that is not what its name says stays as it is.
pub fn lead(walk: &mut Walk<'_>, name: &[u8], value: &mut ByteBuf) {
    match name {
        b"system.posix_acl_access" | b"system.posix_acl_default" => list(walk, value),
        b"security.capability" if value.len() == ROOT + 4 && word(value, 0) & REVISION_MASK == REVISION_3 => {
            change(value, ROOT, |id| walk.user(id));
        }
        _ => {}
    }
}

fn list(walk: &mut Walk<'_>, value: &mut ByteBuf) {
    if value.len() < HEAD || !(value.len() - HEAD).is_multiple_of(LINE) || word(value, 0) != VERSION {
        return;
    }
    for line in (HEAD..value.len()).step_by(LINE) {
        match u16::from_le_bytes([value[line], value[line + 1]]) {
            ACL_USER => change(value, line + 4, |id| walk.user(id)),
            ACL_GROUP => change(value, line + 4, |id| walk.group(id)),
            _ => {}
        }
    }
}

fn word(value: &[u8], at: usize) -> u32 {
    value.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn change(value: &mut [u8], at: usize, lead: impl FnOnce(&mut u32)) {
    let mut id = word(value, at);
    lead(&mut id);
    if let Some(bytes) = value.get_mut(at..at + 4) {
        bytes.copy_from_slice(&id.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Owners;
    use super::*;

    fn owners() -> Owners {
        Owners { users: [(1000, 1001)].into(), groups: [(1000, 5)].into() }
    }

    fn led(name: &str, value: &[u8]) -> Vec<u8> {
        let mut value = ByteBuf::from(value);
        lead(&mut Walk::leading(&owners()), name.as_bytes(), &mut value);
        value.into_vec()
    }

    fn entry(tag: u16, id: u32) -> Vec<u8> {
        [&tag.to_le_bytes()[..], &7_u16.to_le_bytes(), &id.to_le_bytes()].concat()
    }

    #[test]
    fn a_list_names_users_and_groups() {
        let of = |user: u32, group: u32| {
            [VERSION.to_le_bytes().to_vec(), entry(1, u32::MAX), entry(2, user), entry(8, group), entry(0x10, 1000)]
                .concat()
        };
        assert_eq!(led("system.posix_acl_access", &of(1000, 1000)), of(1001, 5));
        assert_eq!(led("system.posix_acl_default", &of(7, 8)), of(7, 8));
        for odd in [&of(1000, 1000)[..11], b"", b"abc", &entry(2, 1000)] {
            assert_eq!(led("system.posix_acl_access", odd), odd);
        }
    }

    #[test]
    fn capabilities_hold_for_a_root() {
        let of = |root: u32| [&REVISION_3.to_le_bytes()[..], &[9; 16], &root.to_le_bytes()].concat();
        assert_eq!(led("security.capability", &of(1000)), of(1001));
        assert_eq!(led("user.anything", &of(1000)), of(1000));
        let old = [&0x0200_0000_u32.to_le_bytes()[..], &[9; 16]].concat();
        assert_eq!(led("security.capability", &old), old);
    }
}
