//! Whether the processor here can do what the group could use of the one it was frozen on.

use std::collections::BTreeMap;

use dormouse_wire::{Phrase, Problem, ProblemKind, Tid, phrase};

use crate::image::{Reader, SectionKind};
use crate::kernel::{features, processor};
use crate::resource::group::{Alive, Group, Process};
use crate::resource::origin::Origin;
use crate::resource::task::attributes::TILES;
use crate::resource::task::registers::{self, Places};

const WAY_OUT: Phrase = phrase!("Thaw it on a machine whose processor has them");

/// What is missing.
pub fn preflight(group: &Group, reader: &Reader) -> Vec<Problem> {
    let mut problems = match reader.section::<Origin>(SectionKind::Origin) {
        Ok(origin) => of_machine(&origin, &processor::features()),
        Err(error) => vec![error.problem()],
    };
    let places = Places::of(&group.components);
    for process in &group.processes {
        let Some(alive) = process.alive() else { continue };
        problems.extend(of_process(alive, &places).into_iter().map(|problem| problem.of(&process.shown())));
        problems.extend(of_threads(process, alive, &places));
    }
    problems
}

/// A program asks what the processor can do when it begins and believes it ever after.
fn of_machine(origin: &Origin, here: &[String]) -> Vec<Problem> {
    if origin.machine != std::env::consts::ARCH {
        let what =
            phrase!("it was frozen on a machine of another kind, {machine}", machine = origin.machine.escape_debug());
        return vec![
            Problem::blocks(ProblemKind::Processor, what).way_out(phrase!("Thaw it on a machine of that kind")),
        ];
    }
    let lacking = origin.processor_features.iter().filter(|feature| !here.contains(feature));
    let lacking: Vec<String> = lacking.map(|feature| feature.escape_debug().to_string()).collect();
    if lacking.is_empty() {
        return Vec::new();
    }
    let what = phrase!(
        "the processor here lacks what the group could use where it was frozen: {lacking}",
        lacking = lacking.join(", ")
    );
    vec![Problem::blocks(ProblemKind::Processor, what).way_out(WAY_OUT)]
}

fn of_process(alive: &Alive, places: &Places<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !alive.memory.own_segments.is_empty() && !features::own_segments() {
        let what = phrase!("it has segments of its own (modify_ldt), and this kernel gives none");
        let problem = Problem::blocks(ProblemKind::Kernel, what);
        problems.push(problem.way_out(phrase!("Thaw it under a kernel with CONFIG_MODIFY_LDT_SYSCALL")));
    }
    let mut lacks = |what: Phrase| problems.push(Problem::blocks(ProblemKind::Processor, what).way_out(WAY_OUT));
    if alive.memory.protection_keys.are_used(&alive.memory.mappings) && !places.have_keys() {
        lacks(phrase!("it uses memory protection keys, which the processor here lacks"));
    }
    if alive.attributes.tiles && !places.have(TILES) {
        lacks(phrase!("it may use {name}, which the processor here lacks", name = registers::name(TILES)));
    }
    problems
}

/// Each thing once, with all threads that it is about.
fn of_threads(process: &Process, alive: &Alive, places: &Places<'_>) -> Vec<Problem> {
    let mut found: BTreeMap<Problem, Vec<Tid>> = BTreeMap::new();
    for thread in alive.threads.iter().filter(|thread| thread.exited.is_none()) {
        let problem =
            if !places.are_told(&thread.registers) || thread.registers.holds_tiles() && !alive.attributes.tiles {
                let what = phrase!("the image contradicts itself: it uses registers that it cannot have");
                Some(Problem::blocks(ProblemKind::Image, what))
            } else {
                let missing = places.missing(&thread.registers);
                let what =
                    phrase!("it uses registers that the processor here lacks: {missing}", missing = missing.join(", "));
                (!missing.is_empty()).then(|| Problem::blocks(ProblemKind::Processor, what).way_out(WAY_OUT))
            };
        if let Some(problem) = problem {
            found.entry(problem).or_default().push(thread.tid);
        }
    }
    found.into_iter().map(|(problem, threads)| problem.of(&process.shown()).at(shown(&threads))).collect()
}

/// Threads, for a person: some of them by their ids, and how many others there are.
fn shown(threads: &[Tid]) -> Phrase {
    const NAMED: usize = 3;
    let named: Vec<String> = threads.iter().take(NAMED).map(Tid::to_string).collect();
    match threads.len() {
        0 | 1 => phrase!("thread {named}", named = named.join("")),
        2..=NAMED => phrase!("threads {named}", named = named.join(", ")),
        all => phrase!("threads {named} and {all} more", named = named.join(", "), all = all - NAMED),
    }
}

#[cfg(test)]
mod tests {
    use dormouse_wire::Tid;

    use super::{of_machine, shown};
    use crate::resource::origin::Origin;

    fn origin(features: &[&str]) -> Origin {
        Origin {
            created: 0,
            kernel: String::new(),
            machine: std::env::consts::ARCH.into(),
            host: String::new(),
            version: String::new(),
            command: Vec::new(),
            page_size: 4096,
            processor_features: features.iter().map(|feature| (*feature).to_owned()).collect(),
            id: String::new(),
        }
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let here = ["sse2", "avx"].map(String::from);
        assert!(of_machine(&origin(&["sse2"]), &here).is_empty());
        assert!(of_machine(&origin(&["avx", "sse2"]), &here).is_empty());
        let problems = of_machine(&origin(&["sse2", "avx2", "fma", "av\x1b"]), &here);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].what.ends_with(": avx2, fma, av\\u{1b}"), "{}", problems[0]);
    }

    #[test]
    fn many_threads_are_counted() {
        let threads: Vec<Tid> = (7..507).map(Tid).collect();
        assert_eq!(shown(&threads[..1]), "thread 7");
        assert_eq!(shown(&threads[..3]), "threads 7, 8, 9");
        assert_eq!(shown(&threads), "threads 7, 8, 9 and 497 more");
    }

    #[test]
    fn another_kind_of_machine_is_refused() {
        let other = Origin { machine: "riscv64".into(), ..origin(&["zba"]) };
        let problems = of_machine(&other, &[]);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].what.contains("riscv64"));
    }
}
