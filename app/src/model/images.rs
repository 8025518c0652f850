//! The images of the page *Asleep*, what stands in the way of waking each, and those that are about to be deleted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dormouse_wire::Problem;
use dormouse_wire::dbus::Sleeping;

/// The images.
#[derive(Debug, Default)]
pub struct Images {
    all: Vec<Sleeping>,
    problems: HashMap<String, Arc<Vec<Problem>>>,
    /// Not shown any more, and not deleted yet.
    doomed: HashSet<String>,
}

impl Images {
    /// Only these are in the folder now; the ids of those about which it is not known what stands in their way.
    pub fn replace(&mut self, images: &[Sleeping]) -> Vec<String> {
        let old = std::mem::replace(&mut self.all, images.to_vec());
        self.all.sort_by(|a, b| b.frozen.cmp(&a.frozen).then_with(|| a.id.cmp(&b.id)));
        // Another file of the same name, or one that has been woken, is another matter.
        self.problems.retain(|id, _| {
            let same = |image: &&Sleeping| image.id == *id;
            old.iter().find(same) == images.iter().find(same)
        });
        self.doomed.retain(|id| images.iter().any(|image| image.id == *id));
        let unknown =
            |image: &&Sleeping| !image.awake && image.damage.is_none() && !self.problems.contains_key(&image.id);
        self.all.iter().filter(unknown).map(|image| image.id.clone()).collect()
    }

    /// What stands in the way of waking one.
    pub fn set_problems(&mut self, id: &str, problems: Arc<Vec<Problem>>) {
        self.problems.insert(id.to_owned(), problems);
    }

    /// What stands in the way of waking one: nothing where that is not known.
    pub fn problems(&self, id: &str) -> Vec<Problem> {
        let damage = self.get(id).and_then(|image| image.damage.clone());
        let found = self.problems.get(id).map(|problems| problems.to_vec()).unwrap_or_default();
        damage.into_iter().chain(found).collect()
    }

    /// Takes one out of sight.
    pub fn doom(&mut self, id: &str) {
        self.doomed.insert(id.to_owned());
    }

    /// Brings it back.
    pub fn spare(&mut self, id: &str) {
        self.doomed.remove(id);
    }

    /// Those that are out of sight and still there.
    pub fn doomed(&self) -> Vec<String> {
        self.doomed.iter().cloned().collect()
    }

    /// One of them.
    pub fn get(&self, id: &str) -> Option<&Sleeping> {
        self.all.iter().find(|image| image.id == id)
    }

    /// Those to be shown, the latest first.
    pub fn shown(&self) -> impl Iterator<Item = &Sleeping> {
        self.all.iter().filter(|image| !self.doomed.contains(&image.id))
    }

    /// The one that went to sleep last, of those that sleep.
    pub fn last(&self) -> Option<&Sleeping> {
        self.shown().find(|image| !image.awake && image.damage.is_none())
    }
}

#[cfg(test)]
mod tests {
    use dormouse_wire::{ByteSize, ProblemKind, phrase};

    use super::*;

    fn image(id: &str, frozen: u64) -> Sleeping {
        Sleeping {
            id: id.to_owned(),
            name: id.to_owned(),
            icon: None,
            application: None,
            frozen,
            size: ByteSize(1),
            processes: Vec::new(),
            kernel: None,
            machine: None,
            losses: Vec::new(),
            damage: None,
            session: None,
            terminal: false,
            awake: false,
            woken: false,
        }
    }

    fn shown(images: &Images) -> Vec<&str> {
        images.shown().map(|image| image.id.as_str()).collect()
    }

    #[test]
    fn the_latest_is_first_and_what_is_deleted_is_out_of_sight_until_it_is_spared() {
        let mut images = Images::default();
        images.replace(&[image("old", 1), image("new", 2)]);
        assert_eq!(shown(&images), ["new", "old"]);
        images.doom("new");
        assert_eq!((shown(&images), images.doomed()), (vec!["old"], vec!["new".to_owned()]));
        images.spare("new");
        assert_eq!(shown(&images), ["new", "old"]);
    }

    #[test]
    fn the_last_one_sleeps_and_is_whole() {
        let mut images = Images::default();
        let awake = Sleeping { awake: true, ..image("awake", 9) };
        let damaged =
            Sleeping { damage: Some(Problem::blocks(ProblemKind::Image, phrase!("cut"))), ..image("damaged", 8) };
        images.replace(&[image("old", 1), awake, damaged]);
        assert_eq!(images.last().map(|image| image.id.as_str()), Some("old"));
        assert_eq!(images.problems("damaged").len(), 1);
    }

    #[test]
    fn what_stands_in_the_way_is_asked_once_for_each_file() {
        let mut images = Images::default();
        assert_eq!(images.replace(&[image("a", 1), image("b", 2)]), ["b", "a"]);
        images.set_problems("a", Arc::default());
        images.set_problems("b", Arc::default());
        assert!(images.replace(&[image("a", 1), image("b", 2)]).is_empty());
        assert_eq!(images.replace(&[image("a", 7), image("b", 2)]), ["a"]);
    }
}
