//! A session wakes up.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use dormouse_wire::dbus::{Failure, Sleeping};
use dormouse_wire::{Phrase, Problem, Progress, ThawWish, phrase};
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use super::Hands;
use crate::store;

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
    /// They have ended since: they were woken before, by a thaw that was interrupted then.
    pub ended: bool,
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

/// Who is being woken, in this run of the machine.
#[derive(Debug, Deserialize, Serialize)]
struct Waking {
    image: String,
    boot: String,
    /// It runs, or has run: what remains to be done is to delete its image.
    #[serde(default)]
    awake: bool,
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

/// Wakes what sleeps of the user's sessions, or of this one alone. The image of what has been woken is deleted; what cannot be woken sleeps on and is told.
pub fn wake(
    hands: &mut dyn Hands,
    wish: ThawWish,
    session: Option<&str>,
    progress: &dyn Progress,
) -> Result<Woken, Failure> {
    let before = noted(hands)?;
    if before.is_some() {
        // Whoever was at it may still be undoing that, and what looks awake be gone in a moment.
        settle(hands)?;
    }
    let is_meant =
        |image: &Sleeping| session.is_none_or(|session| image.session.as_ref().is_some_and(|mark| mark.id == session));
    let images = order(hands.images()?).into_iter().filter(is_meant);
    let mut woken = Woken::default();
    for image in images {
        if progress.cancelled() {
            woken.interrupted = true;
            break;
        }
        // One that somebody has woken by himself is none of ours.
        let by_us = |waking: &Waking| waking.image == image.id && (waking.awake || image.woken);
        let has_been_woken = before.as_ref().is_some_and(by_us);
        if has_been_woken {
            // Whoever has done his work since is not to do it twice.
            let undeleted = hands.delete(&image.id).err();
            let (losses, ended) = (Vec::new(), !image.awake);
            woken.awake.push(Awake { name: image.name, image: image.id, losses, undeleted, ended });
            continue;
        }
        if let Some(why) = why_not(&image) {
            let why = why.to_string();
            woken.asleep.push(SleepsOn { name: image.name, image: image.id, why, problems: Vec::new() });
            continue;
        }
        note(hands, &image.id, false);
        match hands.thaw(&image.id, wish, progress) {
            Ok(thawed) => {
                note(hands, &image.id, true);
                let undeleted = hands.delete(&image.id).err();
                let losses = thawed.losses;
                woken.awake.push(Awake { name: image.name, image: image.id, losses, undeleted, ended: false });
            }
            Err(failure) => {
                woken.interrupted = progress.cancelled();
                let (why, problems) = (failure.sentence.to_string(), failure.problems);
                woken.asleep.push(SleepsOn { name: image.name, image: image.id, why, problems });
            }
        }
    }
    forget(hands);
    Ok(woken)
}

/// Why an image is not woken by itself, if it is not.
fn why_not(image: &Sleeping) -> Option<Phrase> {
    if let Some(damage) = &image.damage {
        return Some(damage.what.clone());
    }
    if image.awake {
        return Some(phrase!("its processes seem to run already"));
    }
    if image.woken {
        // Its work may have been done since, and is not to be done twice by itself.
        return Some(phrase!("it has been woken before: wake it again with `dormouse thaw`, or delete it"));
    }
    image.terminal.then(|| phrase!("it needs a terminal: wake it in one with `dormouse thaw`"))
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Who was being woken when that was interrupted, if it was in this run of the machine.
fn noted(hands: &mut dyn Hands) -> Result<Option<Waking>, Failure> {
    /// It is a name and a number.
    const MOST: u64 = 4096;
    let mut found = None;
    hands.note(&mut |folder| {
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
        let file = match File::options().read(true).custom_flags(flags).open(folder.join(WAKING)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let mut text = Vec::new();
        if file.metadata()?.is_file() {
            file.take(MOST).read_to_end(&mut text)?;
        }
        found = serde_json::from_slice::<Waking>(&text).ok();
        Ok(())
    })?;
    // None of those of before the restart runs.
    Ok(found.filter(|waking| waking.boot == boot()))
}

/// Waits until nobody wakes anything of this folder.
fn settle(hands: &mut dyn Hands) -> Result<(), Failure> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let end = Instant::now() + PATIENCE;
    loop {
        let mut busy = false;
        hands.note(&mut |folder| {
            busy = store::is_waking(folder)?;
            Ok(())
        })?;
        if !busy {
            return Ok(());
        }
        if Instant::now() > end {
            let sentence = phrase!("Another command puts this session to sleep or wakes it just now.");
            return Err(Failure { sentence, problems: Vec::new() });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Writes down who is being woken, or has been. Where that cannot be, as on a full disk, it is done without: then an interruption at the wrong
/// moment is for a person to see.
fn note(hands: &mut dyn Hands, image: &str, awake: bool) {
    let waking = Waking { image: image.to_owned(), boot: boot(), awake };
    let noted = hands.note(&mut |folder| {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let text = serde_json::to_vec(&waking)?;
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        file.persist(folder.join(WAKING)).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    });
    if let Err(failure) = noted {
        tracing::warn!(%failure, "who is being woken is not written down");
    }
}

fn forget(hands: &mut dyn Hands) {
    let forgotten = hands.note(&mut |folder: &Path| match fs::remove_file(folder.join(WAKING)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        answer => answer,
    });
    if let Err(failure) = forgotten {
        tracing::warn!(%failure, "who was being woken stays written down");
    }
}
