//! Problems that say the same of several processes or things, told as one. Programs get each of them (`--json`).

use dormouse_wire::Problem;

use crate::output::{self, several};

/// Problems of one kind and text.
#[derive(Debug)]
pub struct Alike<'a>(Vec<&'a Problem>);

/// The problems in their order, each with those like it.
pub fn of(problems: &[Problem]) -> Vec<Alike<'_>> {
    let mut found: Vec<Alike<'_>> = Vec::new();
    for problem in problems {
        match found.iter_mut().find(|alike| says_the_same(alike.first(), problem)) {
            Some(alike) => alike.0.push(problem),
            None => found.push(Alike(vec![problem])),
        }
    }
    found
}

fn says_the_same(one: &Problem, other: &Problem) -> bool {
    let words = |problem: &Problem| Problem { process: None, resource: None, ..problem.clone() };
    let names = |problem: &Problem| (problem.process.is_some(), problem.resource.is_some());
    names(one) == names(other) && words(one) == words(other)
}

impl<'a> Alike<'a> {
    /// The first of them.
    pub fn first(&self) -> &'a Problem {
        self.0[0]
    }

    /// Who and what, for a person, in as many lines as there are things: who shares one is named before it. Nothing where they
    /// name nobody and nothing.
    pub fn subjects(&self) -> Vec<String> {
        let mut rows: Vec<(Option<String>, Vec<String>)> = Vec::new();
        for problem in &self.0 {
            let (who, what) =
                (problem.process.as_ref().map(ToString::to_string), problem.resource.as_ref().map(ToString::to_string));
            match rows.iter_mut().find(|(other, _)| *other == who) {
                Some((_, things)) => things.extend(what),
                None => rows.push((who, what.into_iter().collect())),
            }
        }
        let mut parts: Vec<(Vec<String>, Vec<String>)> = Vec::new();
        for (who, things) in rows {
            match parts.iter_mut().find(|(_, same)| *same == things) {
                Some((names, _)) => names.extend(who),
                None => parts.push((who.into_iter().collect(), things)),
            }
        }
        let part = |(who, things): &(Vec<String>, Vec<String>)| {
            let words = [who, things].into_iter().filter(|names| !names.is_empty()).map(|names| several(names));
            words.collect::<Vec<_>>().join(", ")
        };
        let mut told: Vec<String> = parts.iter().take(MOST).map(part).filter(|part| !part.is_empty()).collect();
        let rest = parts.iter().skip(MOST).map(|(who, things)| who.len().max(things.len().min(1))).sum();
        if rest > 0 {
            told.push(format!("and {}", output::count(rest, "other", "others")));
        }
        told
    }
}

/// So many with something of their own are named.
const MOST: usize = 3;

#[cfg(test)]
mod tests {
    use dormouse_wire::phrase;
    use dormouse_wire::{Pid, Problem, ProblemKind, ProcessName};

    use super::of;

    fn problem(pid: i32, thing: &str) -> Problem {
        let process = ProcessName { pid: Pid(pid), comm: "postgres".to_owned() };
        Problem::blocks(ProblemKind::Memory, phrase!("it cannot be frozen"))
            .of(&process)
            .at(thing)
            .way_out(phrase!("Close it"))
    }

    fn subjects(problems: &[Problem]) -> Vec<Vec<String>> {
        of(problems).iter().map(super::Alike::subjects).collect()
    }

    #[test]
    fn who_shares_a_thing_is_named_with_it() {
        let all: Vec<Problem> = (1..8).map(|pid| problem(pid, "mapping 10-20")).collect();
        let told = "postgres (pid 1), postgres (pid 2), postgres (pid 3) and 4 others, mapping 10-20";
        assert_eq!(subjects(&all), [[told]]);
        assert_eq!(subjects(&all[..1]), [["postgres (pid 1), mapping 10-20"]]);
    }

    #[test]
    fn things_of_one_process_are_named_behind_it() {
        let all: Vec<Problem> = (1..6).map(|number| problem(7, &format!("descriptor {number}"))).collect();
        let told = "postgres (pid 7), descriptor 1, descriptor 2, descriptor 3 and 2 others";
        assert_eq!(subjects(&all), [[told]]);
    }

    #[test]
    fn whoever_has_a_thing_of_its_own_is_named_with_that() {
        let mut all: Vec<Problem> = (1..6).map(|pid| problem(pid, &format!("mapping {pid}"))).collect();
        let told = [1, 2, 3].map(|pid| format!("postgres (pid {pid}), mapping {pid}"));
        assert_eq!(subjects(&all[..2]), [&told[..2]]);
        assert_eq!(subjects(&all), [[&told[..], &["and 2 others".to_owned()]].concat()]);
        // What says something else is not hidden among them.
        all.push(Problem { what: phrase!("it is busy"), ..problem(1, "mapping 1") });
        all.push(Problem::blocks(ProblemKind::Memory, phrase!("it cannot be frozen")).way_out(phrase!("Close it")));
        assert_eq!(of(&all).len(), 3);
        assert!(subjects(&all)[2].is_empty());
    }
}
