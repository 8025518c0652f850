//! Holding off the other ends of connections while the group sleeps: a kernel that has no socket for a connection answers with
//! a reset. Packets of these connections, and of no others, are dropped in both directions, by a filter of the kernel
//! ([`nftables`](crate::kernel::nftables)).
//!
//! During a freeze the filter goes with the engine, whatever becomes of that. The one that stays until the thaw is laid beside
//! it asleep, before the image is sealed, and woken when the group has ended. Its name holds an identifier that only the image
//! and the kernel know: who can name it has the image, and what is in it was held off ever since.

// zoo: no kind

use std::collections::BTreeSet;

use crate::kernel::nftables::{Channel, Ends, Stay, Table};
use crate::kernel::{Answer, Errno};

/// What holds connections off.
#[derive(Debug)]
pub struct Hold {
    id: String,
    connections: Vec<Ends>,
    /// The filter of the freeze goes with it.
    channel: Channel,
    /// The lasting one is there.
    lasts: bool,
}

impl Hold {
    /// Holds these connections off from now on, until it is dropped.
    pub fn begin(connections: Vec<Ends>) -> Answer<Self> {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(|_| Errno::EIO)?.trim().to_owned();
        let hold = Self { id, connections, channel: Channel::open()?, lasts: false };
        let now = Table { stay: Stay::WithChannel, name: &format!("{}-freeze", name(&hold.id)?), ..hold.table("")? };
        hold.channel.make(now)?;
        Ok(hold)
    }

    fn table<'a>(&'a self, name: &'a str) -> Answer<Table<'a>> {
        Ok(Table { name, stay: Stay::Asleep, mark: mark(&self.id)?, connections: &self.connections })
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
        self.channel.make(self.table(&name(&self.id)?)?)?;
        self.lasts = true;
        Ok(())
    }

    /// The lasting filter takes over.
    pub fn stay(mut self) -> Answer<()> {
        self.channel.wake(&name(&self.id)?)?;
        self.lasts = false;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.lasts
            && let Err(error) = lift(&self.id)
        {
            tracing::warn!(id = self.id, %error, "a packet filter that drops nothing stays");
        }
    }
}

/// Whether this kernel can hold connections off.
pub fn rehearse() -> Answer<()> {
    let connections = [Ends { own: ([127, 0, 0, 1], 1).into(), peer: ([127, 0, 0, 1], 1).into() }];
    let name = format!("dormouse-rehearsal-{}", std::process::id());
    Channel::open()?.rehearse(Table { name: &name, stay: Stay::WithChannel, mark: 1, connections: &connections })
}

/// The connections that are held off by what an image calls so; none where it is not there any more.
pub fn held(id: &str) -> BTreeSet<Ends> {
    let found = name(id).and_then(|name| Channel::open()?.connections(&name));
    found.unwrap_or_default().into_iter().collect()
}

/// Holds them off again, after the machine was started anew.
pub fn again(id: &str, connections: &[Ends]) -> Answer<()> {
    Channel::open()?.make(Table { name: &name(id)?, stay: Stay::Awake, mark: mark(id)?, connections })
}

/// Lets them go. Where it is not there any more, that is as well.
pub fn lift(id: &str) -> Answer<()> {
    match Channel::open()?.remove(&name(id)?) {
        Err(Errno::ENOENT) => Ok(()),
        answer => answer,
    }
}

/// The mark of packets that are let through to our own sockets: nobody else knows it. EINVAL: this is no identifier.
pub fn mark(id: &str) -> Answer<u32> {
    name(id)?;
    id.get(..8).and_then(|word| u32::from_str_radix(word, 16).ok()).map(|word| word | 1).ok_or(Errno::EINVAL)
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
        assert_eq!(held(&id), [ends].into());
        drop(hold);
        assert!(held(&id).is_empty());
        let mut hold = Hold::begin(vec![ends])?;
        let id = hold.id().to_owned();
        hold.prepare()?;
        hold.stay()?;
        assert_eq!(held(&id), [ends].into());
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
            assert_eq!((name(odd).err(), mark(odd).err()), (Some(Errno::EINVAL), Some(Errno::EINVAL)), "{odd}");
        }
        assert!(mark("------------------------------------").is_err());
    }
}
