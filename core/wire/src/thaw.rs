//! What a thaw can be told by a person.

use serde::{Deserialize, Serialize};

/// What becomes of files that the group had open or mapped, and that have changed since the freeze.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangedFiles {
    /// They stand in the way.
    #[default]
    Stop,
    /// They are used as they are now.
    New,
    /// The copies of the freeze are used, in a folder of their own.
    Kept,
}

/// What becomes of users and groups who have other numbers here than they had at the freeze.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserNames {
    /// They stand in the way.
    #[default]
    Stop,
    /// Names count: the records are led to the numbers that these have here.
    ByName,
    /// Numbers count: whoever has them here.
    AsTheyAre,
}

impl ChangedFiles {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Stop, Self::New, Self::Kept];

    /// As it is called in options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::New => "new",
            Self::Kept => "kept",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

impl UserNames {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Stop, Self::ByName, Self::AsTheyAre];

    /// As it is called in options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::ByName => "by-name",
            Self::AsTheyAre => "as-they-are",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// How an image is woken, beyond the usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ThawWish {
    /// Connections that were kept are given up.
    #[serde(default)]
    pub reset_connections: bool,
    /// Files that have changed.
    #[serde(default)]
    pub changed_files: ChangedFiles,
    /// Who counts as who.
    #[serde(default)]
    pub users: UserNames,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        for one in ChangedFiles::ALL {
            assert_eq!(serde_json::to_value(one).expect("JSON"), one.name());
            assert_eq!(ChangedFiles::named(one.name()), Some(one));
        }
        for one in UserNames::ALL {
            assert_eq!(serde_json::to_value(one).expect("JSON"), one.name());
            assert_eq!(UserNames::named(one.name()), Some(one));
        }
        assert_eq!((ChangedFiles::named("old"), UserNames::named("")), (None, None));
    }
}
