//! Who here is who the image speaks of: users and groups are known to it by numbers, and by the names that these had.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dormouse_wire::{Phrase, Problem, ProblemKind, Remedy, UserNames, phrase};
use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};

use crate::image::{Reader, SectionKind};
use crate::resource::owners::{Names, OVERFLOW, Owners};
use crate::{Asker, OwnersWish, ThawError};

/// So many users, and so many groups, does an image name at most: each is asked for.
const MOST: usize = 1 << 13;
/// So many things are told of them one by one.
const FEW: usize = 50;

/// Who takes whose place in this image, as it is wished; what stands in the way of that. This process must be where the image was named:
/// within a sandbox, others are asked who is who.
pub fn owners(image: &Path, asker: Option<&Asker>, wish: &OwnersWish) -> Result<Owners, ThawError> {
    let reader = match asker {
        Some(asker) => asker.open(image)?,
        None => Reader::open(image).map_err(|error| error.problem())?,
    };
    let names: Option<Names> =
        reader.optional_section(SectionKind::Owners).map_err(|error| ThawError::from(error.problem()))?;
    let whole = names.is_some();
    let names = names.unwrap_or_default();
    if names.users.len().max(names.groups.len()) > MOST {
        let what = phrase!("the image speaks of more users and groups than a group of processes can have");
        return Err(Problem::blocks(ProblemKind::Image, what).at(image.display().to_string()).into());
    }
    let unasked = RefCell::new(None);
    let user_name = |id: u32| asked(User::from_uid(Uid::from_raw(id)), &unasked).map(|user| user.name);
    let user_id = |name: &str| asked(User::from_name(name), &unasked).map(|user| user.uid.as_raw());
    let group_name = |id: u32| asked(Group::from_gid(Gid::from_raw(id)), &unasked).map(|group| group.name);
    let group_id = |name: &str| asked(Group::from_name(name), &unasked).map(|group| group.gid.as_raw());
    let mut problems = Vec::new();
    if wish.names == UserNames::ByName && !whole {
        let what = phrase!("the image does not say what its users are called: an older Dormouse has made it");
        let way_out = phrase!(
            "Say who is who by number (--user OLD=NEW, --group OLD=NEW), or go by numbers (--users as-they-are)"
        );
        problems.push(Problem::blocks(ProblemKind::Image, what).way_out(way_out).settled_by([Remedy::AsTheyAre]));
    }
    let users = Side { kind: Kind::User, known: &names.users, whole, name: &user_name, id: &user_id };
    let groups = Side { kind: Kind::Group, known: &names.groups, whole, name: &group_name, id: &group_id };
    let owners = Owners {
        users: users.led(wish.names, &wish.users, &mut problems),
        groups: groups.led(wish.names, &wish.groups, &mut problems),
    };
    if let Some(errno) = unasked.take().filter(|_| wish.names == UserNames::ByName) {
        let what = phrase!("this system cannot say who its users are: {why}", why = errno.desc());
        let way_out = phrase!("Try again, or go by numbers (--users as-they-are)");
        problems.push(blocks(what).way_out(way_out).settled_by([Remedy::AsTheyAre]));
    }
    let more = problems.len().saturating_sub(FEW);
    problems.truncate(FEW);
    let others = || blocks(phrase!("there are {more} more users and groups like these", more));
    problems.extend((more > 0).then(|| others().settled_by([Remedy::AsTheyAre])));
    if problems.is_empty() { Ok(owners) } else { Err(ThawError::Refused(problems)) }
}

/// What was found; that it cannot be asked for is noted. By these numbers, getpwnam(3), nobody was found, or the system has no such place.
fn asked<T>(answer: nix::Result<Option<T>>, unasked: &RefCell<Option<Errno>>) -> Option<T> {
    const NOBODY: [Errno; 4] = [Errno::ENOENT, Errno::ESRCH, Errno::EBADF, Errno::EPERM];
    answer.unwrap_or_else(|errno| {
        if !NOBODY.contains(&errno) {
            unasked.replace(Some(errno));
        }
        None
    })
}

#[derive(Clone, Copy)]
enum Kind {
    User,
    Group,
}

/// Users, or groups: those of the image, and how they are found here.
struct Side<'a> {
    kind: Kind,
    known: &'a BTreeMap<u32, Option<String>>,
    /// The image says of all that it speaks of what they are called.
    whole: bool,
    name: &'a dyn Fn(u32) -> Option<String>,
    id: &'a dyn Fn(&str) -> Option<u32>,
}

/// What a name of an image looks like to a person.
fn shown(name: &str) -> String {
    name.escape_debug().to_string()
}

fn blocks(what: Phrase) -> Problem {
    Problem::blocks(ProblemKind::Credentials, what)
}

impl Side<'_> {
    /// Who gets another number, and which.
    fn led(&self, names: UserNames, said: &[(String, String)], problems: &mut Vec<Problem>) -> BTreeMap<u32, u32> {
        let mut led = self.said(said, problems);
        if names != UserNames::AsTheyAre {
            for (id, was) in self.known.iter().map(|(id, was)| (*id, was.as_deref())) {
                if led.contains_key(&id) || id == OVERFLOW {
                    continue;
                }
                let Some(was) = was else {
                    let here = (self.name)(id).filter(|_| names == UserNames::ByName);
                    problems.extend(here.map(|here| self.nameless(id, &here)));
                    continue;
                };
                match self.elsewhere(id, was) {
                    Ok(None) => {}
                    Ok(Some(new)) if names == UserNames::ByName => drop(led.insert(id, new)),
                    Ok(Some(new)) => problems.push(self.differs(id, was, new)),
                    Err(here) => problems.push(self.is_missing(id, was, &here)),
                }
            }
        }
        self.collisions(&led, problems);
        led.retain(|old, new| old != new);
        led
    }

    /// The number that somebody has here, if it is another one. That the number is somebody else's here, who has taken no place yet, is the
    /// error.
    fn elsewhere(&self, id: u32, was: &str) -> Result<Option<u32>, String> {
        let here = (self.name)(id);
        if here.as_deref() == Some(was) {
            return Ok(None);
        }
        match ((self.id)(was), here) {
            (Some(new), _) => Ok((new != id).then_some(new)),
            // Nobody knows either.
            (None, None) => Ok(None),
            (None, Some(here)) => Err(here),
        }
    }

    /// What is said one by one.
    fn said(&self, said: &[(String, String)], problems: &mut Vec<Problem>) -> BTreeMap<u32, u32> {
        let mut led = BTreeMap::new();
        for (old, new) in said {
            let from = self.in_image(old);
            let to = (self.id)(new).or_else(|| number(new));
            if from.is_none() {
                problems.push(self.stranger(old));
            }
            if to.is_none() {
                problems.push(self.nobody(new));
            }
            if let (Some(from), Some(to)) = (from, to)
                && led.insert(from, to).is_some()
            {
                problems.push(self.twice(old));
            }
        }
        led
    }

    /// Somebody of the image, by name or number.
    fn in_image(&self, text: &str) -> Option<u32> {
        let named = self.known.iter().find(|(_, name)| name.as_deref() == Some(text)).map(|(id, _)| *id);
        named.or_else(|| number(text).filter(|id| !self.whole || self.known.contains_key(id)))
    }

    /// Two who would be one from now on.
    fn collisions(&self, led: &BTreeMap<u32, u32>, problems: &mut Vec<Problem>) {
        let all: BTreeSet<u32> = self.known.keys().chain(led.keys()).copied().collect();
        let mut taken: BTreeMap<u32, u32> = BTreeMap::new();
        for old in all {
            let new = led.get(&old).copied().unwrap_or(old);
            if let Some(other) = taken.insert(new, old) {
                problems.push(self.become_one(other, old, new));
            }
        }
    }

    /// Name and number of somebody of the image.
    fn called(&self, id: u32) -> String {
        match self.known.get(&id).and_then(Option::as_deref) {
            Some(name) => format!("{} ({id})", shown(name)),
            None => id.to_string(),
        }
    }

    fn differs(&self, id: u32, was: &str, new: u32) -> Problem {
        let was = shown(was);
        let problem = match self.kind {
            Kind::User => {
                blocks(phrase!("user {id} of the image was called {was}, and {was} is user {new} here", id, was, new))
                    .way_out(phrase!("Go by their names (--users by-name), or by their numbers (--users as-they-are)"))
            }
            Kind::Group => {
                blocks(phrase!("group {id} of the image was called {was}, and {was} is group {new} here", id, was, new))
                    .way_out(phrase!("Go by their names (--users by-name), or by their numbers (--users as-they-are)"))
            }
        };
        problem.settled_by([Remedy::ByName, Remedy::AsTheyAre])
    }

    fn is_missing(&self, id: u32, was: &str, here: &str) -> Problem {
        let (was, here) = (shown(was), shown(here));
        let problem = match self.kind {
            Kind::User => {
                let what = phrase!(
                    "user {id} of the image was called {was}; here {id} is {here}, and nobody is called {was}",
                    id,
                    was,
                    here
                );
                blocks(what).way_out(phrase!("Make that user, or say who takes that place (--user {was}=NAME), or go by numbers (--users as-they-are)", was))
            }
            Kind::Group => {
                let what = phrase!(
                    "group {id} of the image was called {was}; here {id} is {here}, and none is called {was}",
                    id,
                    was,
                    here
                );
                blocks(what).way_out(phrase!("Make that group, or say which takes that place (--group {was}=NAME), or go by numbers (--users as-they-are)", was))
            }
        };
        problem.settled_by([Remedy::AsTheyAre])
    }

    fn nameless(&self, id: u32, here: &str) -> Problem {
        let here = shown(here);
        let problem = match self.kind {
            Kind::User => {
                blocks(phrase!("what user {id} of the image was called is not known; here that is {here}", id, here))
                    .way_out(phrase!("Say who takes that place: --user {id}=NAME", id))
            }
            Kind::Group => {
                blocks(phrase!("what group {id} of the image was called is not known; here that is {here}", id, here))
                    .way_out(phrase!("Say which takes that place: --group {id}=NAME", id))
            }
        };
        problem.settled_by([Remedy::AsTheyAre])
    }

    fn become_one(&self, one: u32, other: u32, new: u32) -> Problem {
        let (one, other) = (self.called(one), self.called(other));
        match self.kind {
            Kind::User => {
                blocks(phrase!("users {one} and {other} of the image would both be user {new} here", one, other, new))
                    .way_out(phrase!("Say of each who takes that place: --user OLD=NEW"))
            }
            Kind::Group => {
                blocks(phrase!("groups {one} and {other} of the image would both be group {new} here", one, other, new))
                    .way_out(phrase!("Say of each which takes that place: --group OLD=NEW"))
            }
        }
    }

    fn stranger(&self, old: &str) -> Problem {
        let all: Vec<String> = self.known.keys().map(|id| self.called(*id)).collect();
        let (old, all) = (shown(old), all.join(", "));
        match self.kind {
            Kind::User => blocks(phrase!("the image speaks of no user {old}", old))
                .way_out(phrase!("It speaks of these users: {all}", all)),
            Kind::Group => blocks(phrase!("the image speaks of no group {old}", old))
                .way_out(phrase!("It speaks of these groups: {all}", all)),
        }
    }

    fn nobody(&self, new: &str) -> Problem {
        let new = shown(new);
        blocks(match self.kind {
            Kind::User => phrase!("there is no user {new} here", new),
            Kind::Group => phrase!("there is no group {new} here", new),
        })
    }

    fn twice(&self, old: &str) -> Problem {
        let old = shown(old);
        let what = match self.kind {
            Kind::User => phrase!("it is said twice who takes the place of user {old}", old),
            Kind::Group => phrase!("it is said twice which takes the place of group {old}", old),
        };
        blocks(what).way_out(phrase!("Say it once"))
    }
}

/// A number that somebody can have: the last one means nobody, setresuid(2).
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Users here: root, bob with the number that anna had, anna with another, and alice under two names.
    const HERE: [(u32, &str); 5] = [(0, "root"), (1000, "bob"), (1001, "anna"), (1002, "alice"), (1002, "alicia")];

    fn led(
        image: &[(u32, Option<&str>)],
        names: UserNames,
        said: &[(&str, &str)],
    ) -> Result<Vec<(u32, u32)>, Vec<String>> {
        let known: BTreeMap<u32, Option<String>> =
            image.iter().map(|(id, name)| (*id, name.map(str::to_owned))).collect();
        let name = |id: u32| HERE.iter().find(|(here, _)| *here == id).map(|(_, name)| (*name).to_owned());
        let id = |name: &str| HERE.iter().find(|(_, here)| *here == name).map(|(id, _)| *id);
        let side = Side { kind: Kind::User, known: &known, whole: !known.is_empty(), name: &name, id: &id };
        let said: Vec<_> = said.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect();
        let mut problems = Vec::new();
        let led = side.led(names, &said, &mut problems);
        let told = problems.iter().map(|problem| problem.what.to_string()).collect();
        if problems.is_empty() { Ok(led.into_iter().collect()) } else { Err(told) }
    }

    fn refused(found: Result<Vec<(u32, u32)>, Vec<String>>, words: &[&str]) {
        let told = found.expect_err("it is refused");
        assert_eq!(told.len(), words.len(), "{told:?}");
        for (told, word) in told.iter().zip(words) {
            assert!(told.contains(word), "{told}");
        }
    }

    #[test]
    fn who_is_the_same_here_keeps_his_number() {
        let image =
            [(0, Some("root")), (1002, Some("alicia")), (5000, Some("far")), (77, None), (OVERFLOW, Some("bob"))];
        for names in [UserNames::Stop, UserNames::ByName, UserNames::AsTheyAre] {
            assert_eq!(led(&image, names, &[]), Ok(Vec::new()));
        }
    }

    #[test]
    fn who_has_another_number_here_gets_it_where_that_is_wished() {
        let image = [(0, Some("root")), (1000, Some("anna"))];
        refused(led(&image, UserNames::Stop, &[]), &["anna is user 1001 here"]);
        assert_eq!(led(&image, UserNames::ByName, &[]), Ok(vec![(1000, 1001)]));
        assert_eq!(led(&image, UserNames::AsTheyAre, &[]), Ok(Vec::new()));
        // Two who change places.
        let image = [(1000, Some("anna")), (1001, Some("bob"))];
        assert_eq!(led(&image, UserNames::ByName, &[]), Ok(vec![(1000, 1001), (1001, 1000)]));
    }

    #[test]
    fn whose_number_is_somebody_elses_here_is_told() {
        let image = [(1000, Some("carl"))];
        for names in [UserNames::Stop, UserNames::ByName] {
            refused(led(&image, names, &[]), &["nobody is called carl"]);
            assert_eq!(led(&image, names, &[("carl", "bob")]), Ok(Vec::new()));
            assert_eq!(led(&image, names, &[("1000", "anna")]), Ok(vec![(1000, 1001)]));
            assert_eq!(led(&image, names, &[("carl", "4000")]), Ok(vec![(1000, 4000)]));
        }
    }

    #[test]
    fn whose_name_is_not_known_is_told_where_names_count() {
        let image = [(0, Some("root")), (1001, None)];
        assert_eq!(led(&image, UserNames::Stop, &[]), Ok(Vec::new()));
        refused(led(&image, UserNames::ByName, &[]), &["is not known; here that is anna"]);
        assert_eq!(led(&image, UserNames::ByName, &[("1001", "bob")]), Ok(vec![(1001, 1000)]));
        assert_eq!(led(&image, UserNames::ByName, &[("1001", "anna")]), Ok(Vec::new()));
    }

    #[test]
    fn what_is_said_must_be_of_use_and_leave_two_people_two() {
        let image = [(1000, Some("anna")), (1001, None)];
        refused(led(&image, UserNames::ByName, &[]), &["here that is anna", "would both be user 1001"]);
        refused(led(&image, UserNames::AsTheyAre, &[("eve", "bob")]), &["speaks of no user eve"]);
        refused(led(&image, UserNames::AsTheyAre, &[("7", "bob")]), &["speaks of no user 7"]);
        refused(led(&image, UserNames::AsTheyAre, &[("anna", "eve")]), &["no user eve here"]);
        refused(led(&image, UserNames::AsTheyAre, &[("anna", "4294967295")]), &["no user 4294967295 here"]);
        refused(led(&image, UserNames::AsTheyAre, &[("anna", "bob"), ("1000", "5")]), &["said twice"]);
        // An image that says nothing of names is believed.
        assert_eq!(led(&[], UserNames::Stop, &[("1000", "anna")]), Ok(vec![(1000, 1001)]));
    }
}
