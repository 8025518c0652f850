//! Holding off the other ends of an image's connections anew, and no longer, without a thaw: the kernel forgets who is held off
//! when the machine is started anew, and nobody tells it when an image is deleted.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};

use crate::image::{Reader, SectionKind};
use crate::kernel::{Answer, Errno};
use crate::proc::{self, tcp};
use crate::resource::fd::network::hold;
use crate::resource::fd::network::tcp::kept;
use crate::resource::group::Group;

/// Holds off the other ends of an image's connections that were kept, until it is thawed; answers how many. What was said to
/// them meanwhile is not undone. The image must be the caller's own: what is in it is believed.
pub fn hold_connections(image: &Path) -> Result<usize, Problem> {
    let reader = Reader::open(image).map_err(|error| error.problem())?;
    let problem = |what: Phrase| Problem::blocks(ProblemKind::Image, what).at(image.display().to_string());
    let is_own =
        |found: std::fs::Metadata| found.uid() == nix::unistd::Uid::effective().as_raw() && found.mode() & 0o022 == 0;
    if !reader.metadata().is_ok_and(is_own) {
        let what = phrase!("others can have written into it, and could have any connection of this machine held off");
        return Err(problem(what).way_out(phrase!("Hold off the connections of images of your own")));
    }
    let group: Group = reader.section(SectionKind::Group).map_err(|error| error.problem())?;
    let connections = kept::ends(&group.open_files);
    let (Some(id), false) = (&group.hold, connections.is_empty()) else { return Ok(0) };
    if hold::held(id).len() == connections.len() {
        return Ok(connections.len());
    }
    let lists = ["net/tcp", "net/tcp6"].into_iter();
    let here = lists.flat_map(|list| proc::parsed_system(list, tcp::parse).unwrap_or_default());
    let here: HashSet<_> = here.map(|line| (line.local, line.remote)).collect();
    if let Some(ends) = connections.iter().find(|ends| here.contains(&(ends.own, ends.peer))) {
        let what = phrase!("its connection from {own} to {peer} goes on already", own = ends.own, peer = ends.peer);
        return Err(problem(what).way_out(phrase!("Hold off the connections of a group that sleeps")));
    }
    hold::again(id, &connections).map_err(kept::not_held)?;
    Ok(connections.len())
}

/// Holds off nobody for an image any more, by what the image calls that ([`Group::hold`]). EINVAL: it cannot be called so.
/// EPERM: CAP_NET_ADMIN is missing.
pub fn let_connections_go(id: &str) -> Answer<()> {
    match hold::lift(id) {
        // Without nf_tables nobody is held off.
        Err(Errno::EPROTONOSUPPORT) => Ok(()),
        answer => answer,
    }
}
