//! Another folder of images, through the service: they come along, and are found there from then on.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use dormouse_wire::dbus::Folder;
use harness::User;
use nix::mount::{MsFlags, mount};

use crate::client::Call;
use crate::machine::{ANNA, BEN, Machine, OWN, done};
use crate::sleep::{asleep, awake, images, of, started};

fn move_to(machine: &Machine, folder: &str) -> serde_json::Value {
    machine.told(ANNA, &Call::Move(folder.to_owned()))
}

fn refused(machine: &Machine, folder: &Path, why: &str) {
    let job = move_to(machine, &folder.to_string_lossy());
    assert_eq!(job["state"], "failed", "{job}");
    assert!(job["result"].to_string().contains(why), "{job} does not say {why:?}");
}

/// A folder of somebody's in a new place.
fn made(machine: &Machine, name: &str, owner: u32, mode: u32) -> PathBuf {
    let folder = machine.home(ANNA).parent().map(|home| home.join(name)).unwrap_or_default();
    done(fs::create_dir(&folder));
    done(chown(&folder, Some(owner), Some(owner)));
    done(fs::set_permissions(&folder, fs::Permissions::from_mode(mode)));
    folder
}

#[test]
fn images_come_along_to_another_folder_and_wake_there() {
    let machine = Machine::start(600, Some(OWN));
    let [mut first, mut second] = ["regular_file", "sleeps"].map(|name| started(name, User::Ordinary));
    let image = asleep(&machine, &mut first);
    let large = made(&machine, "large", ANNA, 0o755);

    let job = move_to(&machine, &large.to_string_lossy());
    assert_eq!(job["state"], "done", "{job}");
    let folder: Folder = of(machine.told(ANNA, &Call::Folder));
    let place = large.join("dormouse");
    assert_eq!((&folder.path, folder.chosen), (&place, true));
    let found = done(place.metadata());
    assert_eq!((found.uid(), found.permissions().mode() & 0o777), (ANNA, 0o700));
    assert!(place.join(&image).exists() && !machine.images(ANNA).join(&image).exists());
    assert_eq!(images(&machine, ANNA).len(), 1);
    let next = asleep(&machine, &mut second);
    assert!(place.join(&next).exists(), "it does not sleep in the new folder");
    assert_eq!(images(&machine, ANNA).len(), 2);
    let kept = |folder: &Path| {
        let objects = fs::read_dir(folder.join("kept/objects")).into_iter().flatten().flatten();
        objects.map(|object| done(object.metadata()).uid()).collect::<Vec<_>>()
    };
    assert!(!kept(&place).is_empty() && kept(&place).iter().all(|owner| *owner == ANNA), "{:?}", kept(&place));
    assert_eq!(kept(&machine.images(ANNA)), Vec::<u32>::new(), "copies stay in the old folder");
    awake(&machine, &mut first, &image);

    let job = move_to(&machine, "");
    assert_eq!(job["state"], "done", "{job}");
    let folder: Folder = of(machine.told(ANNA, &Call::Folder));
    assert_eq!((folder.path, folder.chosen), (machine.images(ANNA), false));
    assert_eq!(images(&machine, ANNA).len(), 2);
    awake(&machine, &mut second, &next);
    assert!(!kept(&machine.images(ANNA)).is_empty());
    for image in images(&machine, ANNA) {
        machine.told(ANNA, &Call::Delete(image.id));
    }
    assert_eq!(kept(&machine.images(ANNA)), Vec::<u32>::new(), "copies stay that no image needs");
}

/// A disk of its own: the image is copied, and what is known of it comes along.
#[test]
fn what_was_woken_is_known_as_such_on_another_disk() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("sleeps", User::Ordinary);
    let image = asleep(&machine, &mut specimen);
    awake(&machine, &mut specimen, &image);
    let disk = made(&machine, "disk", ANNA, 0o700);
    let (none, options) = (Some("none"), format!("mode=700,uid={ANNA},gid={ANNA}"));
    done(mount(none, &disk, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())));
    assert_eq!(move_to(&machine, &disk.to_string_lossy())["state"], "done");
    assert!(disk.join(&image).exists());
    assert_eq!(images(&machine, ANNA).iter().map(|image| image.woken).collect::<Vec<_>>(), [true]);
    machine.told(ANNA, &Call::Delete(image));
}

#[test]
fn a_folder_that_will_not_do_is_refused_and_one_that_is_missing_is_told() {
    let machine = Machine::start(600, Some(OWN));
    let mut specimen = started("regular_file", User::Ordinary);
    let image = asleep(&machine, &mut specimen);
    refused(&machine, Path::new("somewhere"), "whole path");
    refused(&machine, Path::new("/absent"), "there is no such folder");
    refused(&machine, Path::new("/etc/passwd"), "this is not a folder");
    refused(&machine, Path::new("/etc"), "/etc/dormouse");
    refused(&machine, &made(&machine, "of ben", BEN, 0o700), "ermission denied");
    refused(&machine, &machine.images(BEN), "");
    // What is kept for her images lies there.
    let kept = machine.images(ANNA).join("kept");
    refused(&machine, &kept, "copies of programs and libraries are kept there");
    refused(&machine, &kept.join("objects"), "copies of programs and libraries are kept there");
    assert_eq!(images(&machine, ANNA).len(), 1);

    // A link of her own leads to somebody else's folder: it is looked at with her rights.
    let link = machine.home(ANNA).join(".config/dormouse/images");
    done(fs::create_dir_all(link.parent().unwrap_or(&link)));
    let closed = made(&machine, "closed", BEN, 0o700);
    done(fs::write(closed.join("secret.dormouse"), "of Ben"));
    done(std::os::unix::fs::symlink(&closed, &link));
    let said = machine.ask(ANNA, &Call::Images).unwrap_or_else(Into::into);
    assert!(!said.to_string().contains("secret"), "{said}");

    done(fs::remove_file(&link));
    done(std::os::unix::fs::symlink(machine.home(ANNA).join("unplugged"), &link));
    let said = machine.ask(ANNA, &Call::Images).expect_err("the folder is not there");
    assert!(said.contains("cannot be listed"), "{said}");
    done(fs::remove_file(&link));
    awake(&machine, &mut specimen, &image);
}
