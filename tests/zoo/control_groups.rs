//! Processes in control groups of their own: of cgroup v2, of cgroup v1 with limits, and a child in another one than its
//! parent.

use crate::hierarchy::{ControlGroup, place};
use crate::stage::{Held, Stage, cannot};

pub fn hold(stage: &mut Stage) -> Held {
    let pid = std::process::id().to_string();
    let Some(unified) = ControlGroup::make("", "outer")? else { return cannot("no cgroup v2 is mounted") };
    let inner = unified.below("inner")?;
    inner.write("cgroup.procs", &pid)?;
    inner.write("cgroup.max.descendants", "7")?;
    let (pids, others) = (ControlGroup::make("pids", "pids")?, ControlGroup::make("pids", "others")?);
    if let Some(pids) = &pids {
        pids.write("pids.max", "77")?;
        pids.write("cgroup.procs", &pid)?;
    }
    let processor = ControlGroup::make("cpu", "cpu")?;
    if let Some(processor) = &processor {
        processor.write("cpu.shares", "333")?;
        processor.write("cgroup.procs", &pid)?;
    }
    let child = stage.child(|stage| {
        if let Some(others) = &others {
            others.write("cgroup.procs", &std::process::id().to_string())?;
        }
        let there = others.as_ref().map(|others| others.path("pids"));
        stage.keeps(|wrong| {
            if let Some(there) = &there {
                wrong.gives("the child's place", place("pids", "self"), there.clone());
            }
            wrong.gives("what it has inherited", place("", "self"), inner.path(""));
        })
    })?;
    stage.keeps(|wrong| {
        wrong.gives("cgroup v2", place("", "self"), inner.path(""));
        wrong.gives("a limit in cgroup v2", inner.read("cgroup.max.descendants"), "7".to_owned());
        if let Some(pids) = &pids {
            wrong.gives("pids", place("pids", "self"), pids.path("pids"));
            wrong.gives("the limit on pids", pids.read("pids.max"), "77".to_owned());
            wrong.gives("who is counted", pids.read("pids.current"), "1".to_owned());
        }
        if let Some(processor) = &processor {
            wrong.gives("cpu", place("cpu", "self"), processor.path("cpu"));
            wrong.gives("the share", processor.read("cpu.shares"), "333".to_owned());
        }
    })?;
    stage.join(child);
    Ok(())
}
