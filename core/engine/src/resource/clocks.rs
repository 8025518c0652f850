//! The clocks that begin when the system boots: CLOCK_MONOTONIC and CLOCK_BOOTTIME. A group goes on with them where it
//! stopped, in a time namespace of its own, time_namespaces(7): after a reboot they would jump back, and nothing is written
//! to survive that.

// zoo: clocks

use std::io;

use dormouse_wire::{Problem, ProblemKind, phrase};
use serde::{Deserialize, Serialize};

use crate::kernel::clocks;
use crate::proc::timens::{self, ClockOffsets};

/// What the clocks showed at the freeze, as the group saw them, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// CLOCK_MONOTONIC.
    pub monotonic: i64,
    /// CLOCK_BOOTTIME.
    pub boottime: i64,
    /// CLOCK_REALTIME, since 1970.
    pub realtime: i64,
}

/// How far the engine's own clocks are ahead of those of the first namespace.
fn own_offsets() -> ClockOffsets {
    crate::proc::parsed_system("self/timens_offsets", timens::parse).unwrap_or_default()
}

impl Clocks {
    /// What the clocks show now to a process with these offsets.
    pub fn seen_with(offsets: ClockOffsets) -> Self {
        let (own, [monotonic, boottime, realtime]) = (own_offsets(), clocks::now());
        Self {
            monotonic: monotonic.saturating_sub(own.monotonic).saturating_add(offsets.monotonic),
            boottime: boottime.saturating_sub(own.boottime).saturating_add(offsets.boottime),
            realtime,
        }
    }

    /// The offsets with which the group goes on: CLOCK_MONOTONIC where it stopped, as after a suspend of the whole system;
    /// CLOCK_BOOTTIME ahead by the time it slept, as far as the clock on the wall tells.
    fn offsets_now(&self) -> ClockOffsets {
        let now = Self::seen_with(ClockOffsets::default());
        let slept = now.realtime.saturating_sub(self.realtime).max(0);
        ClockOffsets {
            monotonic: self.monotonic.saturating_sub(now.monotonic),
            boottime: self.boottime.saturating_add(slept).saturating_sub(now.boottime),
        }
    }

    /// Lets the processes that the calling thread makes from now on live with these clocks; what is lost where that is not
    /// possible.
    pub fn restore(&self) -> Option<Problem> {
        let offsets = self.offsets_now();
        let error = clocks::shift_for_children(offsets.monotonic, offsets.boottime).err()?;
        let seconds = -offsets.monotonic.div_euclid(1_000_000_000);
        let jump = match seconds {
            0.. => phrase!("steady clocks: CLOCK_MONOTONIC jumps forward by {seconds} s", seconds),
            _ => phrase!(
                "steady clocks: CLOCK_MONOTONIC jumps back by {seconds} s, which no program expects",
                seconds = -seconds
            ),
        };
        let what = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                phrase!("Dormouse may not make a time namespace (CAP_SYS_ADMIN, CAP_SYS_TIME)")
            }
            _ => phrase!("a time namespace for its clocks cannot be made: {why}", why = error),
        };
        Some(
            Problem::loses(ProblemKind::Namespace, what, jump)
                .way_out(phrase!("Run Dormouse as root, on a kernel with time namespaces")),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_of_a_namespace_that_is_ahead_are_ahead() {
        let (ahead, here) = (ClockOffsets { monotonic: 5_000_000_000, boottime: -7 }, Clocks::seen_with(own_offsets()));
        let there = Clocks::seen_with(ahead);
        assert!(there.monotonic - here.monotonic >= ahead.monotonic - own_offsets().monotonic);
    }

    #[test]
    fn a_group_goes_on_where_it_stopped_and_boottime_counts_its_sleep() {
        const HOUR: i64 = 3_600_000_000_000;
        let now = Clocks::seen_with(ClockOffsets::default());
        let frozen = Clocks { monotonic: 500, boottime: 700, realtime: now.realtime - HOUR };
        let offsets = frozen.offsets_now();
        let then = Clocks::seen_with(offsets);
        assert!((500..500 + HOUR / 60).contains(&then.monotonic), "{then:?}");
        assert!((HOUR..HOUR + HOUR / 60).contains(&then.boottime), "{then:?}");
        // A clock on the wall that was set back does not turn the others back.
        let wall = Clocks { realtime: now.realtime + HOUR, ..frozen };
        assert!(Clocks::seen_with(wall.offsets_now()).boottime >= 700);
        let lie = Clocks { monotonic: i64::MIN, boottime: i64::MAX, realtime: i64::MIN };
        lie.offsets_now();
    }
}
