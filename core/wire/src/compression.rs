//! How much time is given for a smaller image.

use serde::{Deserialize, Serialize};

/// How the memory in an image is compressed. Whatever the choice, any version that reads the one reads the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Not at all: the file is as large as the memory that is not zero.
    None,
    /// Where that takes less time than to write what it saves.
    #[default]
    Fast,
    /// As small as can be had at several times the time; the group stands still meanwhile.
    Small,
}

impl Compression {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::None, Self::Fast, Self::Small];

    /// As it is called in settings and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fast => "fast",
            Self::Small => "small",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        for one in Compression::ALL {
            assert_eq!(serde_json::to_value(one).expect("JSON"), one.name());
            assert_eq!(Compression::named(one.name()), Some(one));
        }
        assert_eq!(Compression::named("zip"), None);
    }
}
