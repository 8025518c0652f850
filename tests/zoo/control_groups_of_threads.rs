//! Threads in other control groups than their process: in cgroup v1, where each may be anywhere, and in threaded groups of
//! cgroup v2.

use std::sync::Arc;

use crate::hierarchy::{ControlGroup, place};
use crate::kernel::tid;
use crate::stage::{Held, Stage, cannot};
use crate::workers::Workers;

const THREADS: usize = 3;

pub fn hold(stage: &mut Stage) -> Held {
    let pid = std::process::id().to_string();
    let Some(domain) = ControlGroup::make("", "domain")? else { return cannot("no cgroup v2 is mounted") };
    domain.write("cgroup.procs", &pid)?;
    let threaded =
        (0..THREADS).map(|number| domain.below(&format!("threaded-{number}"))).collect::<Result<Vec<_>, _>>()?;
    threaded.iter().try_for_each(|group| group.write("cgroup.type", "threaded"))?;
    let old = (0..THREADS).map(|number| ControlGroup::make("pids", &format!("thread-{number}")));
    let old = old.collect::<Result<Vec<_>, _>>()?;
    let groups = Arc::new((threaded, old));
    let (set_up, look) = (Arc::clone(&groups), Arc::clone(&groups));
    let workers = Workers::start(
        THREADS,
        move |number| {
            let (threaded, old) = &*set_up;
            let own = tid().to_string();
            let entered = old[number].as_ref().is_none_or(|group| group.write("tasks", &own).is_ok());
            threaded[number].write("cgroup.threads", &own).is_ok() && entered
        },
        move |number| {
            let (threaded, old) = &*look;
            let is_in = |controller, group: &ControlGroup| {
                place(controller, &format!("self/task/{}", tid())).is_ok_and(|place| place == group.path(controller))
            };
            is_in("", &threaded[number]) && old[number].as_ref().is_none_or(|group| is_in("pids", group))
        },
    )?;
    let before = place("pids", "self").unwrap_or_default();
    stage.keeps(|wrong| {
        workers.look(wrong, "the control groups of thread");
        wrong.gives("the leader's", place("", "self"), domain.path(""));
        wrong.equal("the leader's in cgroup v1", place("pids", "self").unwrap_or_default(), before.clone());
    })?;
    drop(workers);
    // A thread that ends leaves its groups a moment later.
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(groups);
    drop(domain);
    Ok(())
}
