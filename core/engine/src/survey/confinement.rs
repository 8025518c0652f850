//! What the kernel confines a process by, and a freeze cannot take along: labels of security modules, and what else is
//! seen from outside.

use dormouse_wire::{Problem, ProblemKind, phrase};

use super::collect::{LivingFacts, ProcessFacts};
use crate::kernel::sched;
use crate::resource::task::seccomp;

/// All processes.
pub fn judge(processes: &[ProcessFacts]) -> Vec<Problem> {
    let own = label("self/attr/current");
    let with_cookies = sched::core_cookie(dormouse_wire::Tid(0)).is_ok();
    let mut problems = Vec::new();
    for process in processes {
        let Some(living) = &process.living else { continue };
        let mut found = Vec::new();
        if let Some(own) = &own {
            found.extend(labels(process, living).iter().filter_map(|theirs| judge_label(theirs, own)));
        }
        if process.status.address_mask.is_some_and(|mask| mask != u64::MAX) {
            let what = phrase!("it puts tags into addresses (linear address masking), which cannot be given back yet");
            found.push(Problem::blocks(ProblemKind::Processor, what).way_out(phrase!("Pause the group instead")));
        }
        let cookie = |tid| sched::core_cookie(tid).is_ok_and(|cookie| cookie != 0);
        if with_cookies && living.threads.iter().any(|thread| cookie(thread.tid)) {
            let what = phrase!("it shares a processor's core only with threads that it trusts (PR_SCHED_CORE)");
            found.push(Problem::loses(
                ProblemKind::Scheduling,
                what,
                phrase!("that only those run beside it on a core"),
            ));
        }
        let threads = living.threads.iter().filter(|thread| thread.exited.is_none());
        found.extend(threads.filter_map(|thread| seccomp::judge(thread.tid, &thread.status)));
        found.sort();
        found.dedup();
        problems.extend(found.into_iter().map(|problem| problem.of(&process.shown)));
    }
    problems
}

fn labels(process: &ProcessFacts, living: &LivingFacts) -> Vec<String> {
    let threads = living.threads.iter().filter(|thread| thread.exited.is_none());
    threads.filter_map(|thread| label(&format!("{}/task/{}/attr/current", process.pid, thread.tid))).collect()
}

/// The label that a security module such as AppArmor or SELinux has given; none where there is no such module.
fn label(name: &str) -> Option<String> {
    let bytes = std::fs::read(crate::kernel::procfs::path(name)).ok()?;
    let label = String::from_utf8_lossy(&bytes).trim_matches(['\0', '\n']).to_owned();
    (!label.is_empty()).then_some(label)
}

/// A thawed process has the label of Dormouse.
fn judge_label(theirs: &str, own: &str) -> Option<Problem> {
    if theirs == own {
        return None;
    }
    let (theirs, own) = (theirs.escape_debug(), own.escape_debug());
    let what = phrase!("a security module knows it as \"{theirs}\", which cannot be given back yet", theirs);
    // AppArmor's word for a label that forbids nothing, with or without a profile's name before it.
    Some(if theirs.clone().collect::<String>().trim_end_matches(')').ends_with("unconfined") {
        Problem::loses(ProblemKind::Confinement, what, phrase!("its label: it would be \"{own}\"", own))
    } else {
        let way_out = phrase!("Start Dormouse with the same label (aa-exec, runcon), or pause the group instead");
        Problem::blocks(ProblemKind::Confinement, what).way_out(way_out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dormouse_wire::Severity;

    #[test]
    fn a_label_that_confines_is_refused_and_another_one_is_a_loss() {
        let severity = |theirs, own| judge_label(theirs, own).map(|problem| problem.severity);
        assert_eq!(severity("unconfined", "unconfined"), None);
        assert_eq!(severity("firefox (enforce)", "unconfined"), Some(Severity::Blocks));
        assert_eq!(severity("chrome (unconfined)", "unconfined"), Some(Severity::Loses));
        assert_eq!(severity("unconfined", "dormouse (enforce)"), Some(Severity::Loses));
        assert_eq!(
            severity("system_u:system_r:httpd_t:s0", "unconfined_u:unconfined_r:unconfined_t:s0"),
            Some(Severity::Blocks)
        );
    }
}
