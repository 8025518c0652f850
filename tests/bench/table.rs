//! The table at the end.

use std::fmt::Write;
use std::time::Duration;

use crate::run::{Round, Run};
use crate::{Bar, Case, MEMORY};

/// The medians of each case, and whether they are within the bars.
pub fn table(results: &[(&Case, Vec<Round>)]) -> String {
    let mut table = String::from(
        "\n              freeze                           thaw                             processor ms   image     engine's\n\
         \x20                 ms        of bar                 ms        of bar          freeze   thaw     MB        MiB\n",
    );
    for (case, rounds) in results {
        let freeze = figure(case.freeze, rounds, |round| (round.freeze, round.disk.map(|(write, _)| write)));
        let thaw = figure(case.thaw, rounds, |round| (round.thaw, round.disk.map(|(_, read)| read)));
        let processor = |of: fn(&Round) -> Run| milliseconds(median(rounds.iter().map(|round| of(round).processor)));
        let image = median(rounds.iter().map(|round| round.image));
        let memory = rounds.iter().map(|round| round.freeze.memory.max(round.thaw.memory)).max().unwrap_or(0);
        let _ = writeln!(
            table,
            "{:12} {freeze:32} {thaw:32} {:6.1} {:6.1} {:8.1}{} {:5.1}{}",
            case.name,
            processor(|round| round.freeze),
            processor(|round| round.thaw),
            image as f64 / 1e6,
            if case.image.is_some_and(|most| image > most) { "!" } else { " " },
            memory as f64 / f64::from(1 << 20),
            if memory > MEMORY { "!" } else { " " },
        );
    }
    table.push_str("\n  medians; memory is the most of all rounds; `!`: over the bar\n");
    table
}

/// A median, and how much of its bar it is.
fn figure(bar: Bar, rounds: &[Round], of: impl Fn(&Round) -> (Run, Option<Duration>)) -> String {
    let time = median(rounds.iter().map(|round| of(round).0.time));
    let shown = format!("{:9.1}", milliseconds(time));
    let (ratio, most, unit) = match bar {
        Bar::None => return shown,
        Bar::Time(most) => (time.as_secs_f64() / most.as_secs_f64(), 1.0, format!("x {} ms", most.as_millis())),
        Bar::TimesDisk(most) => {
            let disk = median(rounds.iter().filter_map(|round| of(round).1));
            (time.as_secs_f64() / disk.as_secs_f64(), most, format!("x dd (of {most})"))
        }
    };
    format!("{shown} {ratio:6.2} {unit}{}", if ratio > most { " !" } else { "" })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median<T: Ord + Copy + Default>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
