//! Numbers that must not be mixed up: each has a type of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A process id: the id of its thread group leader, credentials(7).
    Pid
}
number! {
    /// A thread id, gettid(2).
    Tid
}
number! {
    /// The number of a file descriptor in one process, open(2).
    FdNumber
}

impl Pid {
    /// The thread that leads this process: it has the same number.
    pub fn leader(self) -> Tid {
        Tid(self.0)
    }
}

/// A size in bytes, shown in the decimal units that GNOME uses (1 MB = 1,000,000 bytes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
        if self.0 < 1000 {
            return f.pad(&format!("{} bytes", self.0));
        }
        let mut size = self.0 as f64;
        let mut unit = "";
        for next in UNITS {
            size /= 1000.0;
            unit = next;
            if size < 999.95 {
                break;
            }
        }
        f.pad(&format!("{size:.1} {unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::ByteSize;

    #[test]
    fn a_size_is_shown_in_decimal_units() {
        let shown = [0, 999, 1000, 1_500_000, 999_950_000, u64::MAX].map(|bytes| ByteSize(bytes).to_string());
        assert_eq!(shown, ["0 bytes", "999 bytes", "1.0 kB", "1.5 MB", "1.0 GB", "18446.7 PB"]);
    }
}
