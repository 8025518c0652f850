//! What of users and groups cannot be led to other numbers, or is not as it was where it is led to.

use std::collections::{BTreeMap, BTreeSet};

use dormouse_wire::{Problem, ProblemKind, Remedy, phrase};

use super::{Owners, names};
use crate::kernel::outside;
use crate::resource::group::Group;
use crate::resource::namespace::Namespaces;
use crate::resource::namespace::settings::{self, Setting};
use crate::resource::namespace::user::{Extent, UserNamespace};

/// The numbers of one kind that a user namespace has.
type Numbers = fn(&UserNamespace) -> &[Extent];

/// Who is given which numbers to deal with beside his own: subuid(5), and subgid(5), in which users are named, too.
const GIVEN: [(&str, Numbers); 2] = [("/etc/subuid", |one| &one.users), ("/etc/subgid", |one| &one.groups)];

/// Numbers that follow each other, and who is given them.
#[derive(Debug, PartialEq, Eq)]
struct Given<'a> {
    name: &'a str,
    user: u32,
    first: u32,
    count: u32,
}

impl Owners {
    /// What in the records of a group, and of namespaces that it had for itself, does not fit here; they say yet what they said at the freeze.
    pub fn misfits(&self, group: &Group, namespaces: Option<&Namespaces>) -> Vec<Problem> {
        let (outer, own) = namespaces.map_or((&[][..], &[][..]), |own| (&own.users, &own.settings));
        let all: Vec<_> = outer.iter().chain(group.inner.iter().filter_map(|inner| inner.users.as_ref())).collect();
        let settings = own.iter().chain(group.inner.iter().flat_map(|inner| &inner.settings));
        let mut problems: Vec<Problem> = self.clash(&all).into_iter().collect();
        problems.extend(settings.filter_map(|setting| self.pings(setting)));
        problems.extend(self.given_to_others(&all));
        problems.sort();
        problems.dedup();
        problems
    }

    /// Where a sandbox has a place for somebody and already for who is to be there instead, if it does so.
    fn clash(&self, all: &[&UserNamespace]) -> Option<Problem> {
        let has = |extents: &[Extent], id: u32| {
            extents.iter().any(|(_, outer, count)| id.checked_sub(*outer).is_some_and(|far| far < *count))
        };
        let clash = |ids: &BTreeMap<u32, u32>, extents: &[Extent]| {
            ids.iter()
                .find(|(old, new)| has(extents, **old) && has(extents, **new) && !ids.contains_key(new))
                .map(|(old, new)| (*old, *new))
        };
        all.iter().find_map(|one| clash(&self.users, &one.users).or_else(|| clash(&self.groups, &one.groups))).map(
            |(old, new)| {
                let what = phrase!("its sandbox has a place for {old} and for {new}, who would take it", old, new);
                Problem::blocks(ProblemKind::Credentials, what)
                    .way_out(phrase!("Go by numbers (--users as-they-are)"))
                    .settled_by([Remedy::AsTheyAre])
            },
        )
    }

    /// Several groups that may ping, of which one is led out of their range: there is only the one.
    fn pings(&self, setting: &Setting) -> Option<Problem> {
        let (first, last) = settings::ping_groups(setting).filter(|(first, last)| first < last)?;
        let is_in = |id: u32| (first..=last).contains(&id);
        let (old, new) = self.groups.iter().find(|(old, new)| is_in(**old) && !is_in(**new))?;
        let what = phrase!(
            "groups {first} to {last} may ping in its network (ping_group_range), and group {old} of them is {new} here",
            first,
            last,
            old,
            new
        );
        Some(Problem::loses(ProblemKind::Credentials, what, phrase!("that group {new} may ping", new)))
    }

    /// Numbers in its sandboxes that this system gives to somebody else to deal with.
    fn given_to_others(&self, all: &[&UserNamespace]) -> Vec<Problem> {
        let has_many = |one: &&UserNamespace| GIVEN.iter().any(|(_, of)| of(one).iter().any(|(.., count)| *count > 1));
        let makers: BTreeSet<u32> =
            all.iter().map(|one| self.users.get(&one.maker).copied().unwrap_or(one.maker)).collect();
        // Root needs nobody's leave.
        if makers.contains(&0) || !all.iter().any(has_many) {
            return Vec::new();
        }
        let users = outside::text("/etc/passwd").map(|text| names::lines(&text)).unwrap_or_default();
        let mut problems = Vec::new();
        for (file, of) in GIVEN {
            let text = outside::text(file).unwrap_or_default();
            let given = given(&text, &users);
            let others: Vec<_> = given.iter().filter(|given| !makers.contains(&given.user)).collect();
            for (_, first, count) in all.iter().flat_map(|one| of(one)).filter(|(.., count)| *count > 1) {
                let meets = |given: &&&Given<'_>| {
                    u64::from(*first) < u64::from(given.first) + u64::from(given.count)
                        && u64::from(given.first) < u64::from(*first) + u64::from(*count)
                };
                let Some(other) = others.iter().find(meets) else { continue };
                let last = u64::from(*first) + u64::from(*count) - 1;
                let what = phrase!(
                    "its sandbox has numbers {first} to {last}, of which {file} gives some to {name} here",
                    first,
                    last,
                    file,
                    name = other.name.escape_debug()
                );
                let loss = phrase!("that nobody but its user and root can reach what belongs to those");
                let way_out = phrase!("Give {name} other numbers in {file}", name = other.name.escape_debug(), file);
                problems.push(Problem::loses(ProblemKind::Credentials, what, loss).way_out(way_out));
            }
        }
        problems
    }
}

/// The lines of subuid(5): a user by name or number, the first of the numbers, and how many. Who is not known here may be anybody.
fn given<'a>(text: &'a str, users: &BTreeMap<u32, String>) -> Vec<Given<'a>> {
    let line = |line: &'a str| {
        let mut fields = line.split(':');
        let (name, first, count) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.trim().parse().ok()?);
        let known = || users.iter().find(|(_, known)| *known == name).map(|(user, _)| *user);
        Some(Given { name, user: known().or_else(|| name.parse().ok())?, first, count })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_bytes::ByteBuf;

    use super::*;

    #[test]
    fn what_is_given_is_read_and_odd_lines_are_not() {
        let users = [(1000, "anna".to_owned())].into();
        let found = given("anna:100000:65536\n1001:165536:65536\nstranger:1:2\n\nanna:x:1\nanna:1\n", &users);
        let anna = Given { name: "anna", user: 1000, first: 100_000, count: 65_536 };
        assert_eq!(found, [anna, Given { name: "1001", user: 1001, first: 165_536, count: 65_536 }]);
    }

    #[test]
    fn a_range_of_groups_that_may_ping_is_told_where_one_is_led_out_of_it() {
        let owners = Owners { groups: [(100, 500), (101, 102)].into(), ..Owners::default() };
        let told = |range: &str| {
            let value = ByteBuf::from(range);
            owners.pings(&Setting { name: ByteBuf::from(settings::PING), value }).is_some()
        };
        assert!(told("0\t200\n") && told("100 101\n"));
        for range in ["1\t0\n", "100\t100\n", "0\t2147483647\n", "101 102\n", "200\t300\n", "odd"] {
            assert!(!told(range), "{range}");
        }
    }
}
