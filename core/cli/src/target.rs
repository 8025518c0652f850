//! Which processes a person means: a process by its pid, or a group as `dormouse list` shows it.

use std::fmt;
use std::str::FromStr;

use dormouse_engine::pid_namespace::{self, Side};
use dormouse_engine::survey::everyone::Everyone;
use dormouse_engine::survey::groups::{self, Found};
use dormouse_wire::{Frozen, Phrase, Pid, Problem, ProblemKind, phrase};

use crate::exit::Failure;

/// Who is meant, for work that is done where they live.
#[derive(Debug)]
pub enum Meant {
    /// The first process, and the others that do not come along by themselves.
    Processes(Pid, Vec<Pid>),
    /// They live in a pid namespace of their own. The other half of this command has done the work there, with this status.
    Done(u8),
    /// They live in namespaces of their own. The other half of this command has put them to sleep, and has ended with them.
    Frozen(Box<Frozen>),
}

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The pid of a process; its descendants come along.
    Process(Pid),
    /// A group, by its id, its unit or its application.
    Group(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => pid.fmt(f),
            Self::Group(name) => name.fmt(f),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<i64>() {
            Ok(number) => match i32::try_from(number) {
                Ok(pid) if pid > 0 => Ok(Self::Process(Pid(pid))),
                _ => Err(format!("{number} is no pid")),
            },
            Err(_) if text.trim().is_empty() => Err("a pid or the id of a group is wanted".to_owned()),
            Err(_) => Ok(Self::Group(text.to_owned())),
        }
    }
}

impl Target {
    /// Goes on in the pid namespace of whoever is meant, where that is one of their own. To be asked before there are any threads.
    pub fn at_home(&self) -> Result<Meant, Failure> {
        let (pid, others) = self.processes()?;
        let failed = |problem| Failure::new("The group cannot be looked at; it runs on.").because(vec![problem]);
        Ok(match pid_namespace::enter(pid).map_err(failed)? {
            None => Meant::Processes(pid, others),
            Some(Side::Outside(status)) => Meant::Done(status),
            Some(Side::Frozen(frozen)) => Meant::Frozen(frozen),
            Some(Side::Inside(inside)) => {
                let (pid, others) = inside.meant(pid, &others).map_err(failed)?;
                Meant::Processes(pid, others)
            }
        })
    }

    /// The first process that is meant, and the others that do not come along by themselves.
    pub fn processes(&self) -> Result<(Pid, Vec<Pid>), Failure> {
        let name = match self {
            Self::Process(pid) => return Ok((*pid, Vec::new())),
            Self::Group(name) => name,
        };
        let mut everyone = Everyone::new();
        let processes =
            everyone.look().map_err(|error| Failure::new(format!("The processes cannot be listed: {error}.")))?;
        let groups = groups::now(processes, Pid(std::process::id() as i32));
        let unclear = |what: Phrase, way_out: Phrase| {
            let problem = Problem::blocks(ProblemKind::Selection, what).at(name.clone()).way_out(way_out);
            Failure::new("It is not clear which group is meant.").because(vec![problem])
        };
        match groups::find(&groups, name) {
            Found::One(group) => {
                let others = group.members.iter().map(|process| process.pid);
                Ok((group.first.pid, others.filter(|pid| *pid != group.first.pid).collect()))
            }
            Found::None => Err(unclear(phrase!("no group is called so"), phrase!("Look for it with `dormouse list`"))),
            Found::Several => Err(unclear(
                phrase!("several groups are called so"),
                phrase!("Name it by its id, which `dormouse list` shows first"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use dormouse_wire::Pid;

    use super::Target;

    #[test]
    fn a_number_is_a_pid_and_anything_else_a_group() {
        assert_eq!("42".parse(), Ok(Target::Process(Pid(42))));
        assert_eq!("session-42".parse(), Ok(Target::Group("session-42".to_owned())));
        for nothing in ["0", "-1", "99999999999", "", " "] {
            assert!(nothing.parse::<Target>().is_err(), "{nothing:?}");
        }
    }
}
