//! System V shared memory of huge pages (SHM_HUGETLB): one that is removed and so goes with the group, one that stays, and
//! one whose length is no multiple of such a page.

use crate::kernel::call;
use crate::memory::Mapping;
use crate::stage::{Held, Stage};

const HUGE: usize = 2 << 20;

/// Removed when this is dropped.
struct Segment {
    id: usize,
    mapping: Mapping,
}

impl Segment {
    fn make(size: usize) -> std::io::Result<Self> {
        let flags = libc::IPC_CREAT | libc::SHM_HUGETLB | libc::MAP_HUGE_2MB | 0o600;
        let id = call(libc::SYS_shmget, &[libc::IPC_PRIVATE as usize, size, flags as usize])? as usize;
        let start = call(libc::SYS_shmat, &[id, 0, 0])? as usize;
        Ok(Self { id, mapping: Mapping { start, length: size.next_multiple_of(HUGE) } })
    }

    fn remove(&self) -> std::io::Result<i64> {
        call(libc::SYS_shmctl, &[self.id, libc::IPC_RMID as usize, 0])
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

pub fn hold(stage: &mut Stage) -> Held {
    let (removed, stays, odd) = (Segment::make(2 * HUGE)?, Segment::make(HUGE)?, Segment::make(HUGE + 5000)?);
    removed.mapping.part(512, 512).fill(1);
    stays.mapping.fill(2);
    odd.mapping.fill(3);
    removed.remove()?;
    odd.remove()?;
    stage.keeps(|wrong| {
        let all = [&removed, &stays, &odd];
        wrong.holds("hugetlb", all.iter().all(|segment| segment.mapping.has_flag("ht")));
        wrong.holds("a hole", removed.mapping.bytes()[..HUGE].iter().all(|byte| *byte == 0));
        wrong.equal("removed", removed.mapping.part(512, 512).first_wrong_page(1), None);
        wrong.equal("there", stays.mapping.first_wrong_page(2), None);
        wrong.equal("of an odd length", odd.mapping.first_wrong_page(3), None);
    })
}
