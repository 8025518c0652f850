//! How the jobs of the service end.

use std::path::PathBuf;
use std::time::Duration;

use dormouse_wire::dbus::Failure;
use dormouse_wire::{ByteSize, Frozen, Thawed, phrase};

use super::World;

/// Why a job fails, if it does.
pub fn refusal(world: &mut World, kind: &str, subject: &str) -> Option<String> {
    let problems = world.refusals.get_mut(subject).filter(|_| kind == "thaw")?.pop_front()?;
    Some(super::json(&Failure { sentence: phrase!("The image was not thawed; it is unchanged."), problems }))
}

/// What is so in the world once a job is done: the answer, and which groups are gone.
pub fn ended(world: &mut World, kind: &str, subject: &str) -> (String, Vec<String>) {
    match kind {
        "freeze" => {
            world.groups.retain(|group| group.id != subject);
            let image = format!("{subject}.dormouse");
            world.images.push(super::super::sample::image(&image, subject, 0));
            let frozen = Frozen {
                image: PathBuf::from("/home/ada/.local/share/dormouse").join(image),
                processes: Vec::new(),
                threads: 1,
                memory: ByteSize(1),
                size: ByteSize(1),
                stopped_for: Duration::from_millis(7),
                held: 0,
                losses: Vec::new(),
            };
            (super::json(&frozen), vec![subject.to_owned()])
        }
        "import" => {
            let image = super::super::sample::image(&format!("{subject}.dormouse"), subject, 0);
            world.images.push(image.clone());
            (super::json(&image), Vec::new())
        }
        _ => {
            world.images.iter_mut().filter(|image| image.id == subject).for_each(|image| image.awake = true);
            let thawed = Thawed {
                image: PathBuf::from(subject),
                processes: Vec::new(),
                roots: Vec::new(),
                foreground: None,
                kept: world.copies.clone(),
                losses: Vec::new(),
            };
            (super::json(&thawed), Vec::new())
        }
    }
}
