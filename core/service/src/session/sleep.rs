//! A session falls asleep.

use std::path::PathBuf;

use dormouse_engine::Born;
use dormouse_wire::dbus::Failure;
use dormouse_wire::{ByteSize, Frozen, Graph, Listed, Problem, Progress, Severity, phrase};
use serde::Serialize;

use super::plan::{Left, Plan, clusters};
use super::{Hands, Named, Wish};

/// Groups that sleep in one image now.
#[derive(Clone, Debug, Serialize)]
pub struct Asleep {
    /// Which.
    pub groups: Vec<Named>,
    /// Where.
    pub image: PathBuf,
    /// How large that is.
    pub size: ByteSize,
    /// What was lost.
    pub losses: Vec<Problem>,
}

/// Groups that run on, though they were to sleep.
#[derive(Clone, Debug, Serialize)]
pub struct Stayed {
    /// Which.
    pub groups: Vec<Named>,
    /// Why.
    pub sentence: String,
    /// The reasons.
    pub problems: Vec<Problem>,
}

/// What has come of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Slept {
    /// The id of the session.
    pub session: String,
    /// What sleeps.
    pub asleep: Vec<Asleep>,
    /// What could not be put to sleep.
    pub stayed: Vec<Stayed>,
    /// What was not to be.
    pub left: Vec<Left>,
    /// Whether it was interrupted: what was not reached yet runs on.
    pub interrupted: bool,
}

/// Puts what is planned to sleep, one image after the other. What cannot be is told with its reasons; what is connected to it is tried by
/// itself.
pub fn sleep(plan: Plan, graph: &Graph, hands: &mut dyn Hands, mut wish: Wish, progress: &dyn Progress) -> Slept {
    let session = wish.mark.id.clone();
    let mut slept = Slept { session, left: plan.left, stayed: plan.tied, ..Slept::default() };
    let mut waiting = plan.clusters;
    waiting.reverse();
    while let Some(cluster) = waiting.pop() {
        if progress.cancelled() {
            slept.interrupted = true;
            break;
        }
        let cluster = there(cluster, &wish.born, &mut slept.left);
        if cluster.is_empty() {
            continue;
        }
        let groups: Vec<&Listed> = cluster.iter().collect();
        match hands.freeze(&groups, &wish, progress) {
            Ok(frozen) => {
                slept.asleep.push(asleep(&cluster, frozen));
                wish.mark.order += 1;
            }
            Err(_) if progress.cancelled() => {
                slept.interrupted = true;
                break;
            }
            Err(failure) => match there(cluster, &wish.born, &mut slept.left) {
                cluster if cluster.len() > 1 => {
                    let (blamed, rest) = apart(cluster, &failure);
                    slept.stayed.push(stayed(&blamed, failure));
                    // The next that is taken is the last.
                    waiting.extend(clusters(rest, graph).into_iter().rev());
                }
                cluster if cluster.is_empty() => {}
                cluster => slept.stayed.push(stayed(&cluster, failure)),
            },
        }
    }
    slept
}

/// Those that have not ended since they were meant; the others are left.
pub fn there(cluster: Vec<Listed>, born: &Born, left: &mut Vec<Left>) -> Vec<Listed> {
    let is_there = |group: &Listed| group.members.iter().any(|member| born.is_there(member.pid));
    let (there, ended): (Vec<Listed>, Vec<Listed>) = cluster.into_iter().partition(is_there);
    let why = phrase!("it has ended meanwhile").to_string();
    left.extend(ended.iter().map(|group| Left { group: Named::from(group), why: why.clone() }));
    there
}

fn asleep(cluster: &[Listed], frozen: Frozen) -> Asleep {
    Asleep {
        groups: cluster.iter().map(Named::from).collect(),
        image: frozen.image,
        size: frozen.size,
        losses: frozen.losses,
    }
}

fn stayed(groups: &[Listed], failure: Failure) -> Stayed {
    Stayed {
        groups: groups.iter().map(Named::from).collect(),
        sentence: failure.sentence.to_string(),
        problems: failure.problems,
    }
}

/// Those of whom something is said that stands in the way, or else the first one; and the others.
fn apart(cluster: Vec<Listed>, failure: &Failure) -> (Vec<Listed>, Vec<Listed>) {
    let worst =
        failure.problems.iter().map(|problem| problem.severity).max_by_key(|severity| *severity == Severity::Blocks);
    let named: Vec<_> = failure
        .problems
        .iter()
        .filter(|problem| Some(problem.severity) == worst)
        .filter_map(|problem| problem.process.as_ref().map(|process| process.pid))
        .collect();
    let is_blamed = |group: &Listed| group.members.iter().any(|member| named.contains(&member.pid));
    let (blamed, rest): (Vec<Listed>, Vec<Listed>) = cluster.into_iter().partition(is_blamed);
    if !blamed.is_empty() {
        return (blamed, rest);
    }
    let mut rest = rest.into_iter();
    (rest.next().into_iter().collect(), rest.collect())
}
