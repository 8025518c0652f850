//! What a watcher has not heard yet.

use std::collections::HashMap;

use dormouse_wire::Listed;

/// The groups that a watcher has heard of, as he has heard of them.
#[derive(Debug, Default)]
pub struct Heard(HashMap<String, Listed>);

impl Heard {
    /// What is new or looks different, and the ids of what is gone; from now on the watcher knows.
    pub fn catch_up(&mut self, now: &[Listed]) -> (Vec<Listed>, Vec<String>) {
        let mut gone: Vec<String> =
            self.0.keys().filter(|id| !now.iter().any(|group| group.id == **id)).cloned().collect();
        gone.sort();
        self.0.retain(|id, _| !gone.contains(id));
        let news: Vec<Listed> = now
            .iter()
            .filter(|group| self.0.get(&group.id).is_none_or(|before| differs(before, group)))
            .cloned()
            .collect();
        self.0.extend(news.iter().map(|group| (group.id.clone(), group.clone())));
        (news, gone)
    }
}

/// Whether a person would see it: not every page of memory and every tick of a processor is news.
fn differs(before: &Listed, now: &Listed) -> bool {
    let memory = |group: &Listed| group.memory.map_or(0, |memory| memory.0);
    let cpu = |group: &Listed| group.cpu.unwrap_or(0.0);
    let much = memory(before) / 50 + 100_000;
    let plain =
        |group: &Listed| Listed { memory: None, private: None, swap: None, cpu: None, verdict: None, ..group.clone() };
    memory(before).abs_diff(memory(now)) > much || (cpu(before) - cpu(now)).abs() > 0.02 || plain(before) != plain(now)
}
