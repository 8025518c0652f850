//! Which connections that lead out of a group a freeze may cut.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The connections to services, or from clients, that a freeze may cut: the program finds them closed after the thaw. A
/// connection is told by its boundary ([`Problem::boundary`](crate::Problem::boundary)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disconnect {
    /// None of them: they stand in the way.
    #[default]
    Nothing,
    /// Every one that can be cut.
    Everything,
    /// Those at these boundaries.
    These(BTreeSet<String>),
}

impl Disconnect {
    /// Whether the connection at this boundary may be cut.
    pub fn cuts(&self, boundary: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::These(boundaries) => boundaries.contains(boundary),
        }
    }

    /// Those at these boundaries.
    pub fn these(boundaries: impl IntoIterator<Item = String>) -> Self {
        let boundaries: BTreeSet<String> = boundaries.into_iter().collect();
        if boundaries.is_empty() { Self::Nothing } else { Self::These(boundaries) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_cut_and_nothing_else() {
        let named = Disconnect::these(["/run/bus".to_owned()]);
        assert_eq!([named.cuts("/run/bus"), named.cuts("/run/buses")], [true, false]);
        assert_eq!([Disconnect::Nothing.cuts("/run/bus"), Disconnect::Everything.cuts("/run/bus")], [false, true]);
        assert_eq!(Disconnect::these([]), Disconnect::Nothing);
    }
}
