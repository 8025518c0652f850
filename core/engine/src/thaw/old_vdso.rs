//! A group that was frozen under a kernel with another vdso: its old one becomes ordinary memory that leads to the running
//! kernel's, which lies aside of all that the group has. See [`vdso`](crate::resource::memory::vdso).

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, phrase};

use super::space::Place;
use super::tree::Built;
use crate::kernel::memory::ForcedMemory;
use crate::model::RemotePtr;
use crate::proc::maps::{MappingName, parse_maps};
use crate::resource::group::{Alive, Group, Life};
use crate::resource::memory::mapping::Backing;
use crate::resource::memory::vdso::{self, Vdso};
use crate::survey::doctor;

/// An old vdso, and where each process has it.
#[derive(Debug)]
pub struct OldVdso {
    at: Vec<Option<u64>>,
    old: Vdso,
    new: Vdso,
    /// Where the new one begins, counted from the first of the kernel's mappings.
    behind_data: u64,
}

/// What stands in the way of thawing under this kernel.
pub fn check(group: &Group) -> Vec<Problem> {
    if doctor::is_sealed(Pid(std::process::id() as i32)) {
        let what = phrase!(
            "this kernel seals what it maps into processes (CONFIG_MSEAL_SYSTEM_MAPPINGS), so that nothing can be put in the place of its vdso"
        );
        return vec![
            Problem::blocks(ProblemKind::Kernel, what)
                .way_out(phrase!("Thaw it under a kernel that is built without it")),
        ];
    }
    let Some(old) = &group.vdso else { return Vec::new() };
    let fits = |alive: &Alive| {
        let code = alive.memory.mappings.iter().filter(|mapping| mapping.backing == Backing::Vdso);
        code.map(crate::resource::memory::Mapping::length).all(|length| length == old.code.len() as u64)
    };
    if old.code.len() > vdso::MOST_BYTES || !group.processes.iter().filter_map(|process| process.alive()).all(fits) {
        return vec![Problem::blocks(
            ProblemKind::Image,
            phrase!("the image contradicts itself: its vdso has not the size of the mapping"),
        )];
    }
    let leads = |new: &Vdso| new == old || old.leading_to(new, 0).is_some();
    match own() {
        Ok((new, _)) if leads(&new) => Vec::new(),
        Ok(_) => vec![
            Problem::blocks(
                ProblemKind::Kernel,
                phrase!("the vdso of the kernel it was frozen under cannot lead to this kernel's"),
            )
            .way_out(phrase!("Thaw it under the kernel it was frozen under")),
        ],
        Err(problem) => vec![problem],
    }
}

/// The running kernel's, and how far behind the first of the kernel's mappings it lies.
fn own() -> Result<(Vdso, u64), Problem> {
    let failed = |what: Phrase| Problem::blocks(ProblemKind::Kernel, phrase!("its vdso cannot be read: {what}", what));
    let own = Pid(std::process::id() as i32);
    let mappings = crate::proc::parsed(own, "maps", parse_maps).map_err(|error| failed(error.to_string().into()))?;
    let of_data = |name: &MappingName| matches!(name, MappingName::Vvar | MappingName::VvarVclock);
    let behind =
        mappings.iter().filter(|mapping| of_data(&mapping.name)).map(|mapping| mapping.end - mapping.start).sum();
    let vdso = Vdso::of_this_process().ok_or_else(|| failed(phrase!("there is none")))?;
    Ok((vdso, behind))
}

impl OldVdso {
    /// Makes ordinary memory of the group's vdso, if it is not the running kernel's.
    pub fn of(group: &mut Group) -> Result<Option<Self>, Problem> {
        let Some(old) = group.vdso.clone() else { return Ok(None) };
        let (new, behind_data) = own()?;
        if old == new {
            return Ok(None);
        }
        let mut at = Vec::with_capacity(group.processes.len());
        for process in &mut group.processes {
            let mut place = None;
            if let Life::Alive(alive) = &mut process.life {
                for mapping in alive.memory.mappings.iter_mut().filter(|mapping| mapping.is_of_the_kernel()) {
                    if mapping.backing == Backing::Vdso {
                        place = Some(mapping.start);
                    }
                    vdso::make_ordinary(mapping);
                }
            }
            at.push(place);
        }
        Ok(Some(Self { at, old, new, behind_data }))
    }

    /// Writes the old code into a process, unless it has it from its parent.
    pub fn write(&self, built: &Built, index: usize, parent: Option<usize>, place: Place) -> Result<(), Problem> {
        let Some(at) = self.at[index] else { return Ok(()) };
        if parent.is_some_and(|parent| self.at[parent] == Some(at)) {
            return Ok(());
        }
        let failed = |what: Phrase| {
            Problem::blocks(ProblemKind::Kernel, phrase!("its old vdso cannot be made: {what}", what)).of(&built.shown)
        };
        let code = self.old.leading_to(&self.new, place.parking.0 + self.behind_data);
        let code = code.ok_or_else(|| failed(phrase!("it cannot lead to this kernel's")))?;
        let memory = ForcedMemory::open(built.shown.pid).map_err(|error| failed(error.to_string().into()))?;
        memory.write(RemotePtr(at), &code).map_err(|error| failed(error.to_string().into()))
    }
}
