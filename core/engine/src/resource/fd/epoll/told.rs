//! What a program has been told of already, and need not be told again: edges, EPOLLET.

// zoo: no kind

use std::os::fd::BorrowedFd;

use dormouse_wire::Problem;

use super::watches::sets;
use super::{HOW, Watch};
use crate::kernel::anonymous;
use crate::resource::fd::{FileId, OpenFile};

/// Takes out of sets that were quiet what their programs have been told of: adding a watch has told it anew.
///
/// To be told again what is still true costs a program a look; never to be told costs it its life. So a set tells all
/// that is ready if something waited in it, for nobody can see what, and if anything is ready that was not ready then.
pub fn settle<'a>(files: &[OpenFile], made: &dyn Fn(FileId) -> Option<BorrowedFd<'a>>) -> Result<(), Problem> {
    for set in sets(files) {
        let (id, record) = set?;
        let known = |watch: &Watch| {
            let ready = made(watch.file).map(|file| anonymous::poll(&file, (watch.events & !HOW) as i16));
            ready.is_some_and(|ready| ready.is_ok_and(|ready| u32::from(ready as u16) & !watch.told == 0))
        };
        let edges = || record.watches.iter().filter(|watch| watch.is_edge());
        if record.quiet
            && edges().any(|watch| watch.told != 0)
            && edges().all(known)
            && let Some(set) = made(id)
        {
            anonymous::take_events(&set, record.watches.len()).map_err(super::failed)?;
        }
    }
    Ok(())
}
