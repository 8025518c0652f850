//! System V shared memory of the group: there before its processes, so that they attach it when they are built.

use dormouse_wire::{Problem, phrase};

use crate::image::{PageBuffer, Reader};
use crate::proc::system_v;
use crate::resource::group::Group;
use crate::resource::memory::segment::{Made, attachments};

/// What stands in the way of it.
pub fn preflight(group: &Group) -> Vec<Problem> {
    if group.segments.is_empty() {
        return Vec::new();
    }
    let there = system_v::segments();
    let mut problems: Vec<Problem> = group.segments.iter().filter_map(|segment| segment.preflight(&there)).collect();
    problems.extend(denied(group, &there));
    problems
}

/// Who may not attach what is there.
fn denied(group: &Group, there: &[system_v::Segment]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for process in &group.processes {
        let Some((alive, leader)) = process.alive().and_then(|alive| Some((alive, alive.leader()?))) else { continue };
        for (segment, to_write) in attachments(&alive.memory.mappings) {
            let Some(segment) = group.segments.get(segment) else { continue };
            problems.extend(
                segment.is_denied(there, &leader.credentials, to_write).map(|problem| {
                    problem.of(&process.shown()).way_out(phrase!("Give the user the right to it again"))
                }),
            );
        }
    }
    problems
}

/// Finds the segments or makes them.
pub fn make(group: &Group, reader: &Reader) -> Result<Vec<Made>, Problem> {
    let made = group.segments.iter().map(Made::find_or_make).collect::<Result<Vec<_>, _>>()?;
    // Now that nobody else can have their ids: what is there is still what may be attached.
    let mut there = system_v::segments();
    there.retain(|found| made.iter().any(|made| made.was_there(found.id)));
    if let Some(problem) = denied(group, &there).into_iter().next() {
        return Err(problem);
    }
    let mut buffer = PageBuffer::new();
    for (made, record) in made.iter().zip(&group.segments) {
        made.fill(record, reader, &mut buffer)?;
    }
    Ok(made)
}

/// Everybody has attached what he had.
pub fn remove_again(made: &[Made], group: &Group) -> Result<(), Problem> {
    made.iter().zip(&group.segments).try_for_each(|(made, record)| made.remove_again(record))
}
