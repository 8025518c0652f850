//! Filesystems that a process serves, fuse(4): who serves one, and who has something on it. Which filesystem a descriptor of
//! `/dev/fuse` belongs to, its fdinfo tells since Linux 6.18 (`fuse_connection`); on older kernels only those are told who
//! have something there.

use std::collections::BTreeMap;

use dormouse_wire::{EdgeKind, Pid, Strength, ThingKind};

use super::holdings::{Descriptor, Holdings, Target};
use super::ties::Ties;
use crate::kernel::files;
use crate::proc::{self, fdinfo, mountinfo};
use crate::resource::fd::shown_bytes;

/// The device of a filesystem, major and minor number.
pub type Device = (u32, u32);

/// Adds the ties that such filesystems make.
pub fn tie(holdings: &[Holdings], ties: &mut Ties) {
    let served: Vec<(Pid, &Descriptor)> = (holdings.iter())
        .flat_map(|holding| serving(holding).map(|descriptor| (holding.name.pid, descriptor)))
        .collect();
    // Who serves one may see it where we do not.
    let mut names = BTreeMap::new();
    let views = std::iter::once(Pid(std::process::id() as i32)).chain(served.iter().map(|(pid, _)| *pid));
    for pid in views {
        for mount in proc::parsed(pid, "mountinfo", mountinfo::parse).unwrap_or_default() {
            if is_fuse(&mount.filesystem) {
                names.entry(mount.device).or_insert_with(|| shown_bytes(&mount.mount_point));
            }
        }
    }
    for (pid, descriptor) in served {
        let Some(device) = connection(pid, descriptor) else { continue };
        let name = names.entry(device).or_insert_with(|| format!("device {}:{}", device.0, device.1));
        let thing = ties.thing(ThingKind::Fuse, name);
        let end = Some(format!("descriptor {}", descriptor.number));
        ties.holds(pid, thing, EdgeKind::ServedBy, Strength::Weak, end);
    }
    if names.is_empty() {
        return;
    }
    for holding in holdings {
        for (device, end) in used(holding) {
            if let Some(name) = names.get(&device) {
                let thing = ties.thing(ThingKind::Fuse, name);
                ties.holds(holding.name.pid, thing, EdgeKind::Asks, Strength::Weak, Some(end));
            }
        }
    }
}

/// The descriptors by which a process serves filesystems.
pub fn serving(holding: &Holdings) -> impl Iterator<Item = &Descriptor> {
    let serves = |descriptor: &&Descriptor| matches!(&descriptor.target, Target::Path(path, _) if path == b"/dev/fuse");
    holding.descriptors.iter().filter(serves)
}

/// Whether it is a filesystem of this sort, by its type in mountinfo.
pub fn is_fuse(filesystem: &[u8]) -> bool {
    filesystem == b"fuse" || filesystem == b"fuseblk" || filesystem.starts_with(b"fuse.")
}

/// The filesystem that is served by a descriptor of `/dev/fuse`.
pub fn connection(pid: Pid, descriptor: &Descriptor) -> Option<Device> {
    let info = proc::parsed(pid, &format!("fdinfo/{}", descriptor.number), fdinfo::parse).ok()?;
    let device = info.fuse_connection()?;
    // The kernel has 20 bits for the minor number, include/linux/kdev_t.h.
    Some((device >> 20, device & 0xf_ffff))
}

/// On which filesystems a process has something, and what.
pub fn used(holding: &Holdings) -> Vec<(Device, String)> {
    let device = |device: u64| (libc::major(device), libc::minor(device));
    let pid = holding.name.pid;
    let descriptors = holding.descriptors.iter().filter_map(|descriptor| match &descriptor.target {
        Target::Path(_, Some(place)) => Some((device(place.device), format!("descriptor {}", descriptor.number))),
        _ => None,
    });
    let mappings = holding.shared.iter().map(|mapping| (mapping.device, format!("address {:#x}", mapping.start)));
    let places = [("exe", "program"), ("cwd", "working directory"), ("root", "root directory")];
    let places = places.into_iter().filter_map(|(link, shown)| {
        let place = files::place(&proc::folder(pid).join(link)).ok()?;
        Some((device(place.device), shown.to_owned()))
    });
    descriptors.chain(mappings).chain(places).collect()
}
