//! NUMA policies: of a thread (set_mempolicy), and of one of three mappings (mbind).

use crate::kernel::{at, call, into};
use crate::memory::Mapping;
use crate::stage::{Held, Stage, cannot};

const MPOL_PREFERRED: i64 = 1;
const MPOL_BIND: i64 = 2;
const MPOL_F_ADDR: usize = 2;
const NODES: usize = 1024;

fn policy(address: usize, flags: usize) -> std::io::Result<(i64, u64)> {
    let (mut mode, mut nodes) = (0_i32, [0_u64; NODES / 64]);
    call(libc::SYS_get_mempolicy, &[into(&mut mode), into(&mut nodes), NODES, address, flags])?;
    Ok((i64::from(mode), nodes[0]))
}

pub fn hold(stage: &mut Stage) -> Held {
    let first = 1_u64;
    let all = Mapping::anonymous(12)?;
    let middle = all.part(4, 4);
    let bound = [middle.start, middle.length, MPOL_BIND as usize, at(&first), 65, 0];
    if let Err(error) = call(libc::SYS_mbind, &bound) {
        return cannot(format!("mbind: {error}"));
    }
    all.fill(5);
    call(libc::SYS_set_mempolicy, &[MPOL_PREFERRED as usize, at(&first), 65])?;
    stage.keeps(|wrong| {
        wrong.gives("the thread's", policy(0, 0), (MPOL_PREFERRED, 1));
        wrong.gives("the mapping's", policy(middle.start, MPOL_F_ADDR), (MPOL_BIND, 1));
        wrong.gives("that before it", policy(all.start, MPOL_F_ADDR), (0, 0));
        wrong.equal("first wrong page", all.first_wrong_page(5), None);
    })
}
