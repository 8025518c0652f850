//! Resource limits: every one of the sixteen with a value of its own.

use crate::kernel::{at, call, into};
use crate::stage::{Held, Stage};

/// What is subtracted from a limit, soft and hard, so that each differs from what it was, and the program can live.
fn lowered(resource: usize, [soft, hard]: [u64; 2]) -> [u64; 2] {
    match resource {
        // RLIMIT_NOFILE, RLIMIT_NPROC: small and roomy.
        6 | 7 => [900.min(hard), 1000.min(hard)],
        // RLIMIT_CORE, RLIMIT_NICE, RLIMIT_RTPRIO: mostly zero already.
        4 | 13 | 14 => [0, hard.min(3)],
        // RLIMIT_AS, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_RSS and the rest: far away, and no longer infinite.
        _ => [soft.min((1 << 40) + resource as u64), hard.min((1 << 41) + resource as u64)],
    }
}

fn get(resource: usize) -> std::io::Result<[u64; 2]> {
    let mut limit = [0; 2];
    call(libc::SYS_prlimit64, &[0, resource, 0, into(&mut limit)]).map(|_| limit)
}

pub fn hold(stage: &mut Stage) -> Held {
    let mut expected = Vec::new();
    for resource in 0..16 {
        let limit = lowered(resource, get(resource)?);
        call(libc::SYS_prlimit64, &[0, resource, at(&limit), 0])?;
        expected.push(limit);
    }
    stage.keeps(|wrong| {
        for (resource, limit) in expected.iter().enumerate() {
            wrong.gives(&format!("limit {resource}"), get(resource), *limit);
        }
    })
}
