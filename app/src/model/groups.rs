//! The groups of the page *Running*: which of them are shown, and in which order.

use std::cmp::Ordering;
use std::collections::HashMap;

use dormouse_wire::{GroupKind, Listed};

/// The order of the groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By name.
    #[default]
    Name,
    /// The largest first.
    Memory,
}

impl Sort {
    /// As the settings write it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Memory => "memory",
        }
    }

    /// As the settings write it; by name where they write something else.
    pub fn of_key(key: &str) -> Self {
        if key == "memory" { Self::Memory } else { Self::Name }
    }
}

/// The groups.
#[derive(Debug, Default)]
pub struct Groups {
    all: HashMap<String, Listed>,
    search: String,
    sort: Sort,
}

impl Groups {
    /// Only these run now.
    pub fn replace(&mut self, groups: &[Listed]) {
        self.all = groups.iter().map(|group| (group.id.clone(), group.clone())).collect();
    }

    /// These are new or look different, those are gone.
    pub fn change(&mut self, groups: &[Listed], gone: &[String]) {
        self.all.extend(groups.iter().map(|group| (group.id.clone(), group.clone())));
        self.all.retain(|id, _| !gone.contains(id));
    }

    /// Says of one whether it is paused, before the service does.
    pub fn set_paused(&mut self, id: &str, paused: bool) {
        if let Some(group) = self.all.get_mut(id) {
            group.paused = paused;
        }
    }

    /// Shows only those that have these words in them.
    pub fn search(&mut self, words: &str) {
        self.search = words.trim().to_lowercase();
    }

    /// Whether only some are to be shown.
    pub fn is_searched(&self) -> bool {
        !self.search.is_empty()
    }

    /// Shows them in another order.
    pub fn sort(&mut self, sort: Sort) {
        self.sort = sort;
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        !self.all.values().any(|group| !group.ended)
    }

    /// One of them.
    pub fn get(&self, id: &str) -> Option<&Listed> {
        self.all.get(id)
    }

    /// The ids of those to be shown, in their order. What has ended is not shown.
    pub fn shown(&self) -> Vec<String> {
        let mut shown: Vec<&Listed> = self.all.values().filter(|group| !group.ended && self.matches(group)).collect();
        shown.sort_by(|a, b| self.order(a, b));
        shown.into_iter().map(|group| group.id.clone()).collect()
    }

    /// Each word is in the name, the unit, the id, a member's name or is its pid.
    fn matches(&self, group: &Listed) -> bool {
        self.search.split_whitespace().all(|word| {
            let within = |text: &str| text.to_lowercase().contains(word);
            within(&group.name)
                || within(&group.id)
                || group.unit.as_deref().is_some_and(within)
                || group.members.iter().any(|member| within(&member.comm) || member.pid.to_string() == word)
        })
    }

    fn order(&self, a: &Listed, b: &Listed) -> Ordering {
        let by_size = match self.sort {
            Sort::Memory => b.memory.cmp(&a.memory),
            // Apps are what a person looks for.
            Sort::Name => (a.kind != GroupKind::App).cmp(&(b.kind != GroupKind::App)),
        };
        let name = |group: &Listed| group.name.to_lowercase();
        by_size.then_with(|| name(a).cmp(&name(b))).then_with(|| a.id.cmp(&b.id))
    }
}

#[cfg(test)]
pub mod tests {
    use dormouse_wire::{ByteSize, Pid, ProcessName};

    use super::*;

    pub fn group(id: &str, name: &str, memory: u64) -> Listed {
        Listed {
            id: id.to_owned(),
            kind: GroupKind::Session,
            name: name.to_owned(),
            icon: None,
            application: None,
            unit: None,
            first_pid: Pid(7),
            processes: 1,
            members: vec![ProcessName { pid: Pid(7), comm: format!("{name}-bin") }],
            joined: Vec::new(),
            memory: Some(ByteSize(memory)),
            private: None,
            swap: None,
            cpu: None,
            started: None,
            uid: None,
            user: None,
            paused: false,
            ended: false,
            verdict: None,
        }
    }

    fn three() -> Groups {
        let mut groups = Groups::default();
        let app = Listed { kind: GroupKind::App, ..group("c", "zebra", 10) };
        groups.replace(&[group("a", "Beta", 30), group("b", "alpha", 20), app]);
        groups
    }

    #[test]
    fn apps_come_first_and_then_the_alphabet() {
        assert_eq!(three().shown(), ["c", "b", "a"]);
    }

    #[test]
    fn by_memory_the_largest_comes_first() {
        let mut groups = three();
        groups.sort(Sort::Memory);
        assert_eq!(groups.shown(), ["a", "b", "c"]);
    }

    #[test]
    fn a_search_finds_names_members_and_pids() {
        let mut groups = three();
        for (words, found) in
            [("BETA", vec!["a"]), ("alpha-bin", vec!["b"]), ("7 zebra", vec!["c"]), ("nobody", vec![])]
        {
            groups.search(words);
            assert_eq!(groups.shown(), found, "{words}");
        }
        groups.search("  ");
        assert_eq!((groups.shown().len(), groups.is_searched()), (3, false));
    }

    #[test]
    fn what_has_ended_or_gone_is_not_shown() {
        let mut groups = three();
        groups.change(&[Listed { ended: true, ..group("a", "Beta", 0) }], &["b".to_owned()]);
        assert_eq!(groups.shown(), ["c"]);
        groups.change(&[], &["c".to_owned()]);
        assert!(groups.is_empty());
    }

    #[test]
    fn orders_have_the_names_of_the_settings() {
        for sort in [Sort::Name, Sort::Memory] {
            assert_eq!(Sort::of_key(sort.key()), sort);
        }
        assert_eq!(Sort::of_key("nonsense"), Sort::Name);
    }
}
