//! A session wakes up.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use dormouse_wire::dbus::{Failure, Sleeping};
use dormouse_wire::{Phrase, Problem, Progress, phrase};
use serde::{Deserialize, Serialize};

use super::Hands;

/// In the folder of images: which one is being woken.
const WAKING: &str = "session.waking";

/// Groups that run again.
#[derive(Clone, Debug, Serialize)]
pub struct Awake {
    /// What they are called.
    pub name: String,
    /// The image that they slept in, which is gone, unless it could not be deleted.
    pub image: String,
    /// What was lost.
    pub losses: Vec<Problem>,
    /// Why the image is still there, if it is.
    pub undeleted: Option<Failure>,
}

/// Groups that sleep on.
#[derive(Clone, Debug, Serialize)]
pub struct SleepsOn {
    /// What they are called.
    pub name: String,
    /// The image.
    pub image: String,
    /// Why.
    pub why: String,
    /// The reasons, where there are several.
    pub problems: Vec<Problem>,
}

/// What has come of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Woken {
    /// What runs again.
    pub awake: Vec<Awake>,
    /// What sleeps on.
    pub asleep: Vec<SleepsOn>,
    /// Whether it was interrupted.
    pub interrupted: bool,
}

/// Who was being woken, in this run of the machine.
#[derive(Debug, Deserialize, Serialize)]
struct Waking {
    image: String,
    boot: String,
}

/// The images of sessions, in the order in which they are to be woken: those of an older session first, and of each the one that was put
/// to sleep last.
pub fn order(images: Vec<Sleeping>) -> Vec<Sleeping> {
    let mut images: Vec<Sleeping> = images.into_iter().filter(|image| image.session.is_some()).collect();
    let mark = |image: &Sleeping| image.session.clone().unwrap_or_default();
    let mut begun = std::collections::BTreeMap::new();
    for image in &images {
        let first = begun.entry(mark(image).id).or_insert(image.frozen);
        *first = image.frozen.min(*first);
    }
    images.sort_by_key(|image| {
        let mark = mark(image);
        (begun.get(&mark.id).copied(), mark.id, std::cmp::Reverse(mark.order))
    });
    images
}

/// Wakes what sleeps of the user's sessions. The image of what has been woken is deleted; what cannot be woken sleeps on and is told.
pub fn wake(hands: &mut dyn Hands, progress: &dyn Progress) -> Result<Woken, Failure> {
    let images = order(hands.images()?);
    let mut woken = Woken::default();
    let interrupted = waking(hands)?;
    for image in images {
        if progress.cancelled() {
            woken.interrupted = true;
            break;
        }
        let was_being_woken = interrupted.as_ref().is_some_and(|waking| waking.image == image.id);
        if let Some(why) = why_not(&image, was_being_woken) {
            if was_being_woken && image.awake {
                let undeleted = hands.delete(&image.id).err();
                woken.awake.push(Awake { name: image.name, image: image.id, losses: Vec::new(), undeleted });
            } else {
                woken.asleep.push(SleepsOn {
                    name: image.name,
                    image: image.id,
                    why: why.to_string(),
                    problems: Vec::new(),
                });
            }
            continue;
        }
        write(hands, &image.id)?;
        match hands.thaw(&image.id, progress) {
            Ok(thawed) => {
                let undeleted = hands.delete(&image.id).err();
                woken.awake.push(Awake { name: image.name, image: image.id, losses: thawed.losses, undeleted });
            }
            Err(failure) => {
                woken.interrupted = progress.cancelled();
                let (why, problems) = (failure.sentence.to_string(), failure.problems);
                woken.asleep.push(SleepsOn { name: image.name, image: image.id, why, problems });
            }
        }
    }
    forget(hands)?;
    Ok(woken)
}

/// Why an image is not woken by itself, if it is not.
fn why_not(image: &Sleeping, was_being_woken: bool) -> Option<Phrase> {
    if let Some(damage) = &image.damage {
        return Some(damage.what.clone());
    }
    if image.awake {
        return Some(phrase!("its processes seem to run already"));
    }
    if image.terminal {
        return Some(phrase!("it needs a terminal: wake it in one with `dormouse thaw`"));
    }
    // Whether it has been woken, nobody knows, for it may have other pids by now.
    was_being_woken
        .then(|| phrase!("it was being woken when that was interrupted: look whether it runs, then wake or delete it"))
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Who was being woken when that was interrupted, if it was in this run of the machine.
fn waking(hands: &mut dyn Hands) -> Result<Option<Waking>, Failure> {
    let mut found = None;
    hands.note(&mut |folder| {
        found = match fs::read(folder.join(WAKING)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            text => serde_json::from_slice::<Waking>(&text?).ok(),
        };
        Ok(())
    })?;
    // None of those of before the restart runs.
    Ok(found.filter(|waking| waking.boot == boot()))
}

fn write(hands: &mut dyn Hands, image: &str) -> Result<(), Failure> {
    let waking = Waking { image: image.to_owned(), boot: boot() };
    hands.note(&mut |folder| {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut file, &waking)?;
        file.flush()?;
        file.as_file().sync_all()?;
        file.persist(folder.join(WAKING)).map_err(|error| error.error)?;
        fs::File::open(folder)?.sync_all()
    })
}

fn forget(hands: &mut dyn Hands) -> Result<(), Failure> {
    hands.note(&mut |folder: &Path| match fs::remove_file(folder.join(WAKING)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        answer => answer,
    })
}
