//! What a freeze of each group would say, asked for only when a group comes into view, and not again before its members
//! change.

use std::collections::{HashMap, HashSet, VecDeque};

use dormouse_wire::{Listed, ProcessName, Verdict};

/// How many questions are under way at a time: each holds a group still for milliseconds.
const AT_A_TIME: usize = 2;

/// What is known of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is being asked for.
    Asked,
    /// The answer.
    Verdict(Verdict),
    /// There is none, for this reason.
    Refused(String),
}

/// The verdicts.
#[derive(Debug, Default)]
pub struct Verdicts {
    known: HashMap<String, (Vec<ProcessName>, Known)>,
    waiting: VecDeque<String>,
    asked: HashSet<String>,
}

impl Verdicts {
    /// Somebody looks at this group. What is to be asked comes from [`next`](Self::next).
    pub fn want(&mut self, group: &Listed) {
        if self.known.get(&group.id).is_some_and(|(members, _)| *members == group.members) {
            return;
        }
        self.known.insert(group.id.clone(), (group.members.clone(), Known::Asked));
        if !self.waiting.contains(&group.id) {
            // What has just come into view is what is looked at.
            self.waiting.push_front(group.id.clone());
        }
    }

    /// Nobody looks at this group any more.
    pub fn leave(&mut self, id: &str) {
        if let Some(place) = self.waiting.iter().position(|waiting| waiting == id) {
            self.waiting.remove(place);
            self.known.remove(id);
        }
    }

    /// Which group to ask for next, if one may be asked for now.
    pub fn next(&mut self) -> Option<String> {
        if self.asked.len() >= AT_A_TIME {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.asked.insert(next.clone());
        Some(next)
    }

    /// An answer has come.
    pub fn answer(&mut self, id: &str, answer: Result<Verdict, String>) {
        self.asked.remove(id);
        if let Some((_, known)) = self.known.get_mut(id)
            && !self.waiting.iter().any(|waiting| waiting == id)
        {
            *known = answer.map_or_else(Known::Refused, Known::Verdict);
        }
    }

    /// What is known of a group.
    pub fn get(&self, id: &str) -> Option<&Known> {
        self.known.get(id).map(|(_, known)| known)
    }

    /// Forgets one: it has changed in a way that its members do not show.
    pub fn forget(&mut self, id: &str) {
        self.leave(id);
        self.known.remove(id);
    }

    /// Forgets all, also what is under way.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use dormouse_wire::Pid;

    use super::super::groups::tests::group;
    use super::*;

    #[test]
    fn two_are_asked_for_at_a_time_and_the_last_seen_first() {
        let mut verdicts = Verdicts::default();
        for id in ["a", "b", "c"] {
            verdicts.want(&group(id, id, 0));
        }
        assert_eq!([verdicts.next(), verdicts.next(), verdicts.next()], [Some("c".into()), Some("b".into()), None]);
        verdicts.answer("c", Ok(Verdict::Freezable));
        assert_eq!(verdicts.next(), Some("a".into()));
        assert_eq!(verdicts.get("c"), Some(&Known::Verdict(Verdict::Freezable)));
        assert_eq!(verdicts.get("b"), Some(&Known::Asked));
    }

    #[test]
    fn an_answer_holds_until_the_members_change() {
        let mut verdicts = Verdicts::default();
        let mut seen = group("a", "a", 0);
        verdicts.want(&seen);
        assert_eq!(verdicts.next(), Some("a".into()));
        verdicts.answer("a", Ok(Verdict::Freezable));
        verdicts.want(&seen);
        assert_eq!(verdicts.next(), None);
        seen.members.push(ProcessName { pid: Pid(8), comm: "new".to_owned() });
        verdicts.want(&seen);
        assert_eq!(verdicts.next(), Some("a".into()));
    }

    #[test]
    fn what_went_out_of_view_is_not_asked_for() {
        let mut verdicts = Verdicts::default();
        verdicts.want(&group("a", "a", 0));
        verdicts.leave("a");
        assert_eq!((verdicts.next(), verdicts.get("a")), (None, None));
    }

    #[test]
    fn an_answer_to_an_old_question_is_not_taken_for_the_new_one() {
        let mut verdicts = Verdicts::default();
        let mut seen = group("a", "a", 0);
        verdicts.want(&seen);
        verdicts.next();
        seen.members.clear();
        verdicts.want(&seen);
        verdicts.answer("a", Ok(Verdict::Freezable));
        assert_eq!(verdicts.get("a"), Some(&Known::Asked));
        assert_eq!(verdicts.next(), Some("a".into()));
    }
}
