//! What a group needs of the system: [`filesystems`] with its files, devices, and [`endpoints`] in the network. Read from
//! outside, while the group runs.

mod endpoints;
mod filesystems;

use std::collections::BTreeMap;

use dormouse_wire::needs::{Device, Holder, Needs};
use dormouse_wire::{FdNumber, Pid, ProcessName, ThingKind};

use super::connections::devices;
use super::connections::holdings::{Holdings, Target};
use crate::kernel::files::Place;
use crate::proc::maps::MappingName;
use crate::resource::fd::shown_bytes;

/// What these members of a group need, by what all processes hold.
pub fn of(holdings: &[Holdings], members: &[Pid]) -> Needs {
    let own: Vec<&Holdings> = holdings.iter().filter(|holding| members.contains(&holding.name.pid)).collect();
    Needs {
        filesystems: filesystems::of(&own),
        devices: of_devices(&own),
        endpoints: endpoints::of(&own),
        sandbox: None,
    }
}

/// Processes, and the descriptors by which they hold one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Holders(BTreeMap<ProcessName, Vec<FdNumber>>);

impl Holders {
    fn add(&mut self, process: &ProcessName, number: Option<FdNumber>) {
        self.0.entry(process.clone()).or_default().extend(number);
    }

    fn listed(self) -> Vec<Holder> {
        self.0.into_iter().map(|(process, descriptors)| Holder { process, descriptors }).collect()
    }
}

fn of_devices(own: &[&Holdings]) -> Vec<Device> {
    let mut found: BTreeMap<(ThingKind, &[u8]), Holders> = BTreeMap::new();
    for holding in own {
        for descriptor in &holding.descriptors {
            let Target::Path(path, Some(Place { file_type: libc::S_IFCHR | libc::S_IFBLK, .. })) = &descriptor.target
            else {
                continue;
            };
            if let Some(kind) = devices::kind(path) {
                found.entry((kind, path)).or_default().add(&holding.name, Some(descriptor.number));
            }
        }
        for mapping in &holding.shared {
            // What lies in /dev/shm is a file.
            if let MappingName::File(path) = &mapping.name
                && path.starts_with(b"/dev/")
                && !path.starts_with(b"/dev/shm/")
                && !path.ends_with(b" (deleted)")
                && let Some(kind) = devices::kind(path)
            {
                found.entry((kind, path)).or_default().add(&holding.name, None);
            }
        }
    }
    let device = |((kind, path), holders): ((_, &[u8]), Holders)| Device {
        kind,
        path: shown_bytes(path),
        holders: holders.listed(),
    };
    found.into_iter().map(device).collect()
}
