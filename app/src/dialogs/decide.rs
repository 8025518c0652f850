//! After a thaw that something stands in the way of which the person can decide: files that have changed, and users with other numbers.

use dormouse_wire::{ChangedFiles, Problem, Remedy, Severity, ThawWish, UserNames};
use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;

use super::reasons;
use crate::rows::reason;
use crate::say;

const CANCEL: &str = "cancel";

/// What can be chosen: one question at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Whether it is about users and groups, and not about files.
    about_users: bool,
    /// Each way to go on, with the wish that it comes to; the better one last.
    ways: Vec<(Remedy, ThawWish)>,
}

impl Choice {
    /// What the person can choose about all that stands in the way; `before`: what was wished so far. Nothing where something else does.
    pub fn of(problems: &[Problem], before: ThawWish) -> Option<Self> {
        let blocks: Vec<&Problem> = problems.iter().filter(|problem| problem.severity == Severity::Blocks).collect();
        let is_of_users = |problem: &&&Problem| problem.remedies.contains(&Remedy::AsTheyAre);
        if blocks.is_empty() || blocks.iter().any(|problem| problem.remedies.is_empty()) {
            return None;
        }
        let of_users: Vec<&Problem> = blocks.iter().filter(is_of_users).copied().collect();
        let about_users = !of_users.is_empty();
        let asked = if about_users { of_users } else { blocks };
        let ways = [
            (Remedy::AsTheyAre, ThawWish { users: UserNames::AsTheyAre, ..before }),
            (Remedy::ByName, ThawWish { users: UserNames::ByName, ..before }),
            (Remedy::NewFiles, ThawWish { changed_files: ChangedFiles::New, ..before }),
            (Remedy::KeptFiles, ThawWish { changed_files: ChangedFiles::Kept, ..before }),
        ];
        // Only what settles all of it, and was not tried already.
        let settles = |(remedy, wish): &(Remedy, ThawWish)| {
            *wish != before && asked.iter().all(|problem| problem.remedies.contains(remedy))
        };
        let ways: Vec<_> = ways.into_iter().filter(settles).collect();
        (!ways.is_empty()).then_some(Self { about_users, ways })
    }
}

/// Asks how to go on; `wakes` is told of the wish, where the answer is not to leave it asleep.
pub fn ask(
    window: &adw::ApplicationWindow,
    name: &str,
    problems: &[Problem],
    choice: &Choice,
    wakes: impl Fn(ThawWish) + 'static,
) {
    let heading = say::with(&gettext("Wake Up “{name}” All the Same?"), &[("name", name)]);
    let body = if choice.about_users {
        gettext("People or groups have other numbers on this machine than where it was frozen.")
    } else {
        gettext("Files that it works with have changed since it was frozen.")
    };
    let dialog = adw::MessageDialog::new(Some(window), Some(&heading), Some(&body));
    let row = |problem: &Problem| {
        // The way out are the buttons.
        reason::row(&Problem { way_out: None, ..problem.clone() }, None::<fn()>)
    };
    dialog.set_extra_child(Some(&reasons(problems.iter().map(row))));
    dialog.add_response(CANCEL, &gettext("_Leave Asleep"));
    for (remedy, _) in &choice.ways {
        let (id, label, look) = response(*remedy);
        dialog.add_response(id, &label);
        dialog.set_response_appearance(id, look);
    }
    dialog.set_default_response(Some(CANCEL));
    dialog.set_close_response(CANCEL);
    let ways = choice.ways.clone();
    dialog.connect_response(None, move |_, answer| {
        if let Some((_, wish)) = ways.iter().find(|(remedy, _)| response(*remedy).0 == answer) {
            wakes(*wish);
        }
    });
    dialog.present();
}

fn response(remedy: Remedy) -> (&'static str, String, adw::ResponseAppearance) {
    use adw::ResponseAppearance::{Destructive, Suggested};
    match remedy {
        Remedy::ByName => ("by-name", gettext("Go by _Names"), Suggested),
        Remedy::AsTheyAre => ("as-they-are", gettext("Go by N_umbers"), Destructive),
        Remedy::KeptFiles => ("kept", gettext("Use _Kept Copies"), Suggested),
        Remedy::NewFiles | Remedy::Unknown => ("new", gettext("Use _Current Files"), Destructive),
    }
}

#[cfg(test)]
mod tests {
    use dormouse_wire::{ProblemKind, phrase};

    use super::*;

    fn problem(remedies: &[Remedy]) -> Problem {
        Problem::blocks(ProblemKind::File, phrase!("the file has shrunk")).settled_by(remedies.iter().copied())
    }

    fn ways(problems: &[Problem], before: ThawWish) -> Option<Vec<Remedy>> {
        Some(Choice::of(problems, before)?.ways.iter().map(|(remedy, _)| *remedy).collect())
    }

    #[test]
    fn only_what_settles_all_of_it_is_offered() {
        use Remedy::{AsTheyAre, ByName, KeptFiles, NewFiles};
        let usual = ThawWish::default();
        let (both, new) = (problem(&[KeptFiles, NewFiles]), problem(&[NewFiles]));
        assert_eq!(ways(std::slice::from_ref(&both), usual), Some(vec![NewFiles, KeptFiles]));
        assert_eq!(ways(&[both.clone(), new.clone()], usual), Some(vec![NewFiles]));
        assert_eq!(ways(&[new.clone(), problem(&[KeptFiles])], usual), None);
        assert_eq!(ways(&[both.clone(), problem(&[])], usual), None);
        let lost = Problem::loses(ProblemKind::File, phrase!("it has grown"), phrase!("its end"));
        assert_eq!(ways(&[both.clone(), lost.clone()], usual), Some(vec![NewFiles, KeptFiles]));
        assert_eq!(ways(&[lost], usual), None);
        let tried = ThawWish { changed_files: ChangedFiles::New, ..usual };
        assert_eq!(ways(&[new], tried), None);
        // Who is who comes first.
        assert_eq!(ways(&[both, problem(&[ByName, AsTheyAre])], tried), Some(vec![AsTheyAre, ByName]));
        assert_eq!(ways(&[problem(&[ByName, AsTheyAre]), problem(&[AsTheyAre])], usual), Some(vec![AsTheyAre]));
    }
}
