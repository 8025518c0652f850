//! Times as a person reads them. In UTC: the name of an image means the same on another machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment in the Gregorian calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        let seconds = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_secs() as i64,
            Err(before) => -(before.duration().as_secs() as i64),
        };
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": civil_from_days. A year begins in March here.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }
}

/// For the name of a file: `2026-11-23-234500`.
pub fn stamp(time: SystemTime) -> String {
    let Moment { year, month, day, hour, minute, second } = time.into();
    format!("{year:04}-{month:02}-{day:02}-{hour:02}{minute:02}{second:02}")
}

/// For a table: `2026-11-23 23:45 UTC`.
pub fn date(time: SystemTime) -> String {
    let Moment { year, month, day, hour, minute, .. } = time.into();
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// For `--json`, RFC 3339: `2026-11-23T23:45:00Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let Moment { year, month, day, hour, minute, second } = time.into();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// A short time: `0.4 ms`, `12 ms`, `3.1 s`.
pub fn lasted(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 0.01 => format!("{:.1} ms", seconds * 1e3),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}

/// A time that has passed: `12 s ago`, `5 min ago`, `3 h ago`, `2 days ago`.
pub fn ago(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{ago, date, lasted, rfc3339, stamp};

    #[test]
    fn a_moment_is_told_in_the_gregorian_calendar() {
        let told = [0, 951_826_400, 1_735_689_599].map(|seconds| stamp(UNIX_EPOCH + Duration::from_secs(seconds)));
        assert_eq!(told, ["1970-01-01-000000", "2000-02-29-121320", "2024-12-31-235959"]);
        assert_eq!(date(UNIX_EPOCH), "1970-01-01 00:00 UTC");
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn a_short_time_has_a_fitting_unit() {
        let told = [400, 12_000, 3_140_000].map(|micros| lasted(Duration::from_micros(micros)));
        assert_eq!(told, ["0.4 ms", "12 ms", "3.1 s"]);
    }

    #[test]
    fn a_time_that_has_passed_is_told_in_one_unit() {
        let told = [59, 60, 3_600, 100_000, 172_800].map(|seconds| ago(Duration::from_secs(seconds)));
        assert_eq!(told, ["59 s ago", "1 min ago", "1 h ago", "27 h ago", "2 days ago"]);
    }
}
