//! What the whole app knows of the service: who runs, who sleeps, and what they are called.

use std::collections::HashMap;
use std::sync::Arc;

use dormouse_wire::dbus::{AtLogout, Folder};
use dormouse_wire::{Listed, Verdict};

use super::images::Images;
use crate::bus::{News, Service};

/// What is known now.
#[derive(Debug, Default)]
pub struct Overview {
    /// Whether the service is there.
    pub service: Service,
    /// The groups, by their ids.
    pub groups: HashMap<String, Listed>,
    /// What a freeze of each would say, as far as somebody has asked.
    pub verdicts: HashMap<String, Verdict>,
    /// The images.
    pub images: Images,
    /// Whether the images have been told.
    pub images_told: bool,
    /// Where they lie.
    pub folder: Option<Arc<Folder>>,
    /// Whether the session falls asleep at logout.
    pub at_logout: Option<AtLogout>,
    /// Names of groups and images, also of those that are gone: something may still be said of them.
    names: HashMap<String, String>,
}

impl Overview {
    /// Takes note.
    pub fn hear(&mut self, news: &News) {
        match news {
            News::Service(service) => {
                self.service = service.clone();
                self.images_told = false;
                self.at_logout = None;
                self.verdicts.clear();
            }
            News::Groups(groups) => {
                self.groups.clear();
                self.note(groups);
            }
            News::Changed { groups, gone } => {
                self.note(groups);
                self.groups.retain(|id, _| !gone.contains(id));
            }
            News::Verdict { group, answer: Ok(verdict) } => {
                self.verdicts.insert(group.clone(), verdict.clone());
            }
            News::Images(images) => {
                self.images.replace(images);
                self.images_told = true;
                self.names.extend(images.iter().map(|image| (image.id.clone(), image.name.clone())));
            }
            News::Paused { group, paused, answer: Ok(()) } => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.paused = *paused;
                }
            }
            News::Preflight { image, answer: Ok(problems) } => self.images.set_problems(image, problems.clone()),
            News::AtLogout(at_logout) => self.at_logout = Some(at_logout.clone()),
            News::Folder(folder) => self.folder = Some(folder.clone()),
            _ => {}
        }
    }

    fn note(&mut self, groups: &[Listed]) {
        // Of other members the old verdict says nothing.
        let same = |id: &String| {
            groups
                .iter()
                .all(|group| group.id != *id || self.groups.get(id).is_none_or(|old| old.members == group.members))
        };
        self.verdicts.retain(|id, _| same(id));
        self.names.extend(groups.iter().map(|group| (group.id.clone(), group.name.clone())));
        self.groups.extend(groups.iter().map(|group| (group.id.clone(), group.clone())));
    }

    /// What a group or an image is called; its id where that is not known.
    pub fn name(&self, id: &str) -> String {
        self.names.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::groups::tests::group;
    use super::*;

    #[test]
    fn who_is_gone_keeps_its_name() {
        let mut overview = Overview::default();
        overview.hear(&News::Groups(Arc::new(vec![group("7", "Seven", 0)])));
        overview.hear(&News::Changed { groups: Arc::default(), gone: Arc::new(vec!["7".to_owned()]) });
        assert!(overview.groups.is_empty());
        assert_eq!((overview.name("7"), overview.name("8")), ("Seven".to_owned(), "8".to_owned()));
    }

    #[test]
    fn a_pause_is_known_before_the_list_tells_it() {
        let mut overview = Overview::default();
        overview.hear(&News::Groups(Arc::new(vec![group("7", "Seven", 0)])));
        overview.hear(&News::Paused { group: "7".to_owned(), paused: true, answer: Ok(()) });
        assert!(overview.groups["7"].paused);
    }
}
