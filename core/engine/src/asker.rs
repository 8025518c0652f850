//! For whom the engine works, where that is not its own user.

use std::path::Path;

use dormouse_wire::{Problem, ProblemKind, phrase};

use crate::image::Reader;
use crate::kernel::identity::{Acting, Identity};

/// A user for whom a mightier engine works. The engine does nothing for him that he could not have done himself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The user id.
    pub user: u32,
    /// The first group.
    pub group: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

impl Asker {
    /// The calling thread has this user's rights on files, and no others, as long as the answer lives.
    pub fn acting(&self) -> Result<Acting, Problem> {
        let identity = Identity { user: self.user, group: self.group, groups: self.groups.clone() };
        Acting::begin(&identity).map_err(|errno| {
            let what =
                phrase!("the engine cannot take on the rights of the user it works for: {why}", why = errno.desc());
            Problem::blocks(ProblemKind::Privilege, what).way_out(phrase!("Run Dormouse as root"))
        })
    }

    /// Opens an image with this user's rights, and checks all of it but the page data.
    pub fn open(&self, image: &Path) -> Result<Reader, Problem> {
        let _acting = self.acting()?;
        Reader::open(image).map_err(|error| error.problem())
    }

    /// Whether it has the rights of this group.
    pub fn has_group(&self, group: u32) -> bool {
        group == self.group || self.groups.contains(&group)
    }
}
