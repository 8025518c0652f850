//! The vdsos of a group: of 64-bit programs, and of 32-bit ones. A process that is made by one of the other sort takes on its own.
//!
//! Where a group was frozen under a kernel with another one, the old one becomes ordinary memory that leads to the running
//! kernel's, which lies aside of all that the group has. See [`vdso`](crate::resource::memory::vdso).

use dormouse_wire::{Phrase, Pid, Problem, ProblemKind, phrase};

use super::space::Place;
use super::tree::Built;
use crate::kernel::Errno;
use crate::kernel::memory::ForcedMemory;
use crate::model::RemotePtr;
use crate::resource::group::{Alive, Group, Life};
use crate::resource::memory::mapping::Backing;
use crate::resource::memory::vdso::{self, KernelMappings, Vdso};
use crate::survey::doctor;

/// What the running kernel maps into the processes of a group, and what they had.
#[derive(Debug)]
pub struct Vdsos {
    native: Side,
    /// None: nobody needs it.
    narrow: Option<Side>,
    /// Where each process has an old vdso, and whether it is that of a 32-bit program.
    at: Vec<Option<(u64, bool)>>,
}

/// The vdso of one sort of programs.
#[derive(Debug)]
struct Side {
    here: KernelMappings,
    /// None: it is the running kernel's.
    old: Option<Vdso>,
}

impl Side {
    fn of(here: KernelMappings, had: Option<&Vdso>) -> Self {
        Self { old: had.filter(|had| **had != here.vdso).cloned(), here }
    }
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
    let mut problems = Vec::new();
    if let Some(old) = &group.vdso {
        problems.extend(check_one(group, old, false, own));
    }
    let mut narrow = group.processes.iter().filter(|process| process.alive().is_some_and(Alive::is_narrow));
    if let Some(first) = narrow.next() {
        let problem = match (own_narrow(), &group.narrow_vdso) {
            (Err(problem), _) => Some(problem),
            (Ok(here), Some(old)) => check_one(group, old, true, || Ok(here)),
            (Ok(_), None) => None,
        };
        problems.extend(problem.map(|problem| problem.of(&first.shown())));
    }
    problems
}

fn check_one(
    group: &Group,
    old: &Vdso,
    narrow: bool,
    here: impl FnOnce() -> Result<KernelMappings, Problem>,
) -> Option<Problem> {
    let fits = |alive: &Alive| {
        let code = alive.memory.mappings.iter().filter(|mapping| mapping.backing == Backing::Vdso);
        code.map(crate::resource::memory::Mapping::length).all(|length| length == old.code.len() as u64)
    };
    let mut alive = group.processes.iter().filter_map(|process| process.alive()).filter(|alive| alive.ia32 == narrow);
    if old.code.len() > vdso::MOST_BYTES || old.is_narrow() != narrow || !alive.all(fits) {
        return Some(Problem::blocks(
            ProblemKind::Image,
            phrase!("the image contradicts itself: its vdso has not the size of the mapping"),
        ));
    }
    match here() {
        Ok(here) if here.vdso == *old || old.leading_to(&here.vdso, 0, 0).is_some() => None,
        Ok(_) => Some(
            Problem::blocks(
                ProblemKind::Kernel,
                phrase!("the vdso of the kernel it was frozen under cannot lead to this kernel's"),
            )
            .way_out(phrase!("Thaw it under the kernel it was frozen under")),
        ),
        Err(problem) => Some(problem),
    }
}

fn unread(what: Phrase) -> Problem {
    Problem::blocks(ProblemKind::Kernel, phrase!("its vdso cannot be read: {what}", what))
}

fn own() -> Result<KernelMappings, Problem> {
    KernelMappings::own().map_err(|errno| match errno {
        Errno::ENOENT => unread(phrase!("there is none")),
        errno => unread(errno.desc().into()),
    })
}

fn own_narrow() -> Result<KernelMappings, Problem> {
    KernelMappings::narrow().map_err(|errno| match errno {
        Errno::ENOSYS => {
            let what = phrase!(
                "it is a 32-bit program, and this kernel runs none: it is built without CONFIG_IA32_EMULATION, or was booted without"
            );
            Problem::blocks(ProblemKind::Kernel, what).way_out(phrase!("Thaw it under a kernel that runs such programs"))
        }
        errno => unread(errno.desc().into()),
    })
}

impl Vdsos {
    /// Looks at those of this kernel, and makes ordinary memory of those of the group that are not among them.
    pub fn of(group: &mut Group) -> Result<Self, Problem> {
        let native = Side::of(own()?, group.vdso.as_ref());
        let narrow = group.processes.iter().filter_map(|process| process.alive()).any(Alive::is_narrow);
        let narrow = narrow.then(own_narrow).transpose()?.map(|here| Side::of(here, group.narrow_vdso.as_ref()));
        let mut vdsos = Self { native, narrow, at: Vec::with_capacity(group.processes.len()) };
        for process in &mut group.processes {
            let mut place = None;
            if let Life::Alive(alive) = &mut process.life
                && vdsos.stays_aside(alive.ia32)
            {
                let narrow = alive.ia32;
                for mapping in alive.memory.mappings.iter_mut().filter(|mapping| mapping.is_of_the_kernel()) {
                    if mapping.backing == Backing::Vdso {
                        place = Some((mapping.start, narrow));
                    }
                    vdso::make_ordinary(mapping);
                }
            }
            vdsos.at.push(place);
        }
        Ok(vdsos)
    }

    fn side(&self, narrow: bool) -> Option<&Side> {
        if narrow { self.narrow.as_ref() } else { Some(&self.native) }
    }

    /// Whether this kernel's stays aside, for programs of this sort have an older one where they expect it.
    pub fn stays_aside(&self, narrow: bool) -> bool {
        self.side(narrow).is_some_and(|side| side.old.is_some())
    }

    /// What this kernel maps into programs of this sort.
    pub fn here(&self, narrow: bool) -> Option<&KernelMappings> {
        self.side(narrow).map(|side| &side.here)
    }

    /// Writes the old code into a process, unless it has it from its parent.
    pub fn write(&self, built: &Built, index: usize, parent: Option<usize>, place: Place) -> Result<(), Problem> {
        let Some(found @ (at, narrow)) = self.at[index] else { return Ok(()) };
        if parent.is_some_and(|parent| self.at[parent] == Some(found)) {
            return Ok(());
        }
        let failed = |what: Phrase| {
            Problem::blocks(ProblemKind::Kernel, phrase!("its old vdso cannot be made: {what}", what)).of(&built.shown)
        };
        let code = self.side(narrow).and_then(|Side { here, old }| {
            old.as_ref()?.leading_to(&here.vdso, at, place.parking.0 + here.behind_data())
        });
        let code = code.ok_or_else(|| failed(phrase!("it cannot lead to this kernel's")))?;
        let memory = ForcedMemory::open(built.shown.pid).map_err(|error| failed(error.to_string().into()))?;
        memory.write(RemotePtr(at), &code).map_err(|error| failed(error.to_string().into()))
    }
}
