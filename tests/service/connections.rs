//! Connections to outside that a user's freeze keeps: the service holds their other ends off, as long as there is the image.

use std::collections::BTreeSet;

use dormouse_engine::image::{Reader, SectionKind};
use dormouse_engine::kernel::nftables::Ends;
use dormouse_engine::resource::fd::network::hold;
use dormouse_engine::resource::group::Group;
use dormouse_wire::{Frozen, Thawed};
use harness::{Specimen, User};

use crate::client::Call;
use crate::machine::{ANNA, Machine, OWN, done};
use crate::sleep::{awake, gone, of, started};

/// Freezes it as Anna with its connections; the name of the image, and by what they are held off.
fn asleep(machine: &Machine, specimen: &mut Specimen) -> (String, String) {
    let job = machine.told(ANNA, &Call::FreezeKept(specimen.pid().to_string()));
    assert_eq!(job["state"], "done", "{job}");
    let frozen: Frozen = of(job["result"].clone());
    assert_eq!((frozen.held, frozen.losses.len()), (5, 0));
    gone(specimen);
    let name = frozen.image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let reader = done(Reader::open(&machine.images(ANNA).join(&name)));
    let group: Group = done(reader.section(SectionKind::Group));
    let id = group.hold.unwrap_or_else(|| panic!("nothing is held off"));
    assert_eq!(hold::held(&id).len(), 5);
    (name, id)
}

#[test]
fn a_users_connections_are_kept_and_go_on() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("tcp_outside", User::Ordinary);
    let (image, id) = asleep(&machine, &mut specimen);
    awake(&machine, &mut specimen, &image);
    assert_eq!(hold::held(&id), BTreeSet::<Ends>::new());
}

#[test]
fn nobody_is_held_off_for_an_image_that_is_deleted() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("tcp_outside", User::Ordinary);
    let (image, id) = asleep(&machine, &mut specimen);
    machine.told(ANNA, &Call::Delete(image));
    assert_eq!(hold::held(&id), BTreeSet::<Ends>::new());
}

#[test]
fn a_users_connections_are_given_up_on_request() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("tcp_outside", User::Ordinary);
    let (image, id) = asleep(&machine, &mut specimen);
    let job = machine.told(ANNA, &Call::ThawReset(image));
    assert_eq!(job["state"], "done", "{job}");
    let thawed: Thawed = of(job["result"].clone());
    assert_eq!(thawed.losses.len(), 5, "{:?}", thawed.losses);
    assert!(thawed.losses.iter().all(|loss| loss.to_string().contains("is not wanted back")), "{:?}", thawed.losses);
    assert_eq!(hold::held(&id), BTreeSet::<Ends>::new());
}
