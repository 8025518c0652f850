//! Holding off the other ends of connections while the group sleeps: a kernel that has no socket for a connection answers with
//! a reset. Packets of these connections, and of no others, are dropped in both directions, by a filter of the kernel
//! ([`nftables`](crate::kernel::nftables)).
//!
//! During a freeze the filter goes with the engine, whatever becomes of that. The one that stays until the thaw is laid beside
//! it asleep, before the image is sealed, and woken when the group has ended. When the group is let go the engine takes over
//! again, so that nobody who is awake stays held off. The name of the lasting one holds an identifier that only the image
//! and the kernel know: who can name it has the image, and what is in it was held off ever since.

// zoo: no kind

use std::collections::BTreeSet;

use crate::kernel::nftables::{Channel, Ends, Stay, Table};
use crate::kernel::{Answer, Errno};

/// Packets with this mark are let through: an engine sends them to a socket that it has made (SO_MARK, which takes
/// CAP_NET_ADMIN). The other end of that may be held off for another image, so it is the same for all.
pub const MARK: u32 = 0x646f_726d;

/// What holds connections off.
#[derive(Debug)]
pub struct Hold {
    id: String,
    connections: Vec<Ends>,
    /// The filter that there is goes with it.
    channel: Channel,
    /// What becomes of the lasting one when this is dropped.
    undo: Undo,
}

/// What a hold that does not come to its end leaves as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undo {
    Nothing,
    /// The lasting filter is removed.
    Remove,
    /// The lasting filter is laid again.
    Lay,
}

impl Hold {
    /// Holds these connections off from now on, until it is dropped.
    pub fn begin(connections: Vec<Ends>) -> Answer<Self> {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(|_| Errno::EIO)?.trim().to_owned();
        Self::here(id, connections)
    }

    /// Takes over from the lasting filter of an image.
    pub fn take_over(id: &str, connections: Vec<Ends>) -> Answer<Self> {
        let mut hold = Self::here(id.to_owned(), connections)?;
        hold.channel.remove(&name(id)?)?;
        hold.undo = Undo::Lay;
        Ok(hold)
    }

    /// Nobody is held off any more.
    pub fn let_go(mut self) {
        self.undo = Undo::Nothing;
    }

    fn here(id: String, connections: Vec<Ends>) -> Answer<Self> {
        let hold = Self { id, connections, channel: Channel::open()?, undo: Undo::Nothing };
        let name = format!("{}-{}", name(&hold.id)?, std::process::id());
        hold.channel.make(Table { stay: Stay::WithChannel, ..hold.table(&name) })?;
        Ok(hold)
    }

    fn table<'a>(&'a self, name: &'a str) -> Table<'a> {
        Table { name, stay: Stay::Asleep, mark: MARK, connections: &self.connections }
    }

    /// What the image calls it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many connections it is.
    pub fn count(&self) -> usize {
        self.connections.len()
    }

    /// Lays the lasting filter ready.
    pub fn prepare(&mut self) -> Answer<()> {
        self.channel.make(self.table(&name(&self.id)?))?;
        self.undo = Undo::Remove;
        Ok(())
    }

    /// The lasting filter takes over.
    pub fn stay(mut self) -> Answer<()> {
        self.channel.wake(&name(&self.id)?)?;
        self.undo = Undo::Nothing;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let undone = match self.undo {
            Undo::Nothing => Ok(()),
            Undo::Remove => lift(&self.id),
            Undo::Lay => again(&self.id, &self.connections),
        };
        if let Err(error) = undone {
            tracing::warn!(undo = ?self.undo, %error, "the packet filter of an image is not as it was");
        }
    }
}

/// Whether this kernel can hold connections off.
pub fn rehearse() -> Answer<()> {
    let connections = [Ends { own: ([127, 0, 0, 1], 1).into(), peer: ([127, 0, 0, 1], 1).into() }];
    let name = format!("dormouse-rehearsal-{}", std::process::id());
    Channel::open()?.rehearse(Table { name: &name, stay: Stay::WithChannel, mark: MARK, connections: &connections })
}

/// The connections that are held off by what an image calls so; none where it is not there any more.
pub fn held(id: &str) -> BTreeSet<Ends> {
    let found = name(id).and_then(|name| Channel::open()?.connections(&name));
    found.unwrap_or_default().into_iter().collect()
}

/// Holds them off again, after the machine was started anew.
pub fn again(id: &str, connections: &[Ends]) -> Answer<()> {
    let (channel, name) = (Channel::open()?, name(id)?);
    match channel.make(Table { name: &name, stay: Stay::Awake, mark: MARK, connections }) {
        // A freeze was killed when the group had ended.
        Err(Errno::EEXIST) => channel.wake(&name),
        answer => answer,
    }
}

/// Lets them go. Where it is not there any more, that is as well.
pub fn lift(id: &str) -> Answer<()> {
    match Channel::open()?.remove(&name(id)?) {
        Err(Errno::ENOENT) => Ok(()),
        answer => answer,
    }
}

/// The name of the lasting filter. EINVAL: this is no identifier.
pub fn name(id: &str) -> Answer<String> {
    let right = id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if right { Ok(format!("dormouse-{id}")) } else { Err(Errno::EINVAL) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_that_does_not_come_to_its_end_leaves_nothing_behind() -> Result<(), Errno> {
        let ends = Ends { own: ([127, 0, 0, 1], 1).into(), peer: ([192, 0, 2, 1], 9).into() };
        match rehearse() {
            Err(Errno::EPERM) => return Ok(()),
            answer => answer?,
        }
        let mut hold = Hold::begin(vec![ends])?;
        let id = hold.id().to_owned();
        assert!(held(&id).is_empty());
        hold.prepare()?;
        assert!(held(&id).is_empty(), "what sleeps holds nobody off");
        assert_eq!(Channel::open()?.make(hold.table(&name(&id)?)), Err(Errno::EEXIST));
        drop(hold);
        assert_eq!(Channel::open()?.remove(&name(&id)?), Err(Errno::ENOENT));
        let mut hold = Hold::begin(vec![ends])?;
        let id = hold.id().to_owned();
        hold.prepare()?;
        hold.stay()?;
        assert_eq!(held(&id), [ends].into());
        drop(Hold::take_over(&id, vec![ends])?);
        assert_eq!(held(&id), [ends].into());
        Hold::take_over(&id, vec![ends])?.let_go();
        assert!(held(&id).is_empty());
        assert_eq!(Hold::take_over(&id, vec![ends]).err(), Some(Errno::ENOENT));
        again(&id, &[ends])?;
        lift(&id)?;
        lift(&id)?;
        assert!(held(&id).is_empty());
        Ok(())
    }

    #[test]
    fn what_an_image_calls_it_is_no_name_of_anybody_elses() {
        for odd in
            ["", "filter", "../x", "0000000000000000000000000000000000000", "-é--------------------------------x"]
        {
            assert_eq!(name(odd).err(), Some(Errno::EINVAL), "{odd}");
        }
    }
}
