//! The list again and again: drawn anew on a terminal, written below the last one elsewhere, one line a list as JSON.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use super::{FLEXIBLE, Lister, table};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output;

const INTERVAL: Duration = Duration::from_secs(2);
/// The alternate screen without a cursor, and back: xterm's control sequences, which all terminals of today know.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Lists until Ctrl-C, or until nobody reads it any more.
pub fn run(lister: &mut Lister, json: bool) -> Outcome {
    let interrupt = Interrupt::watch()?;
    let screen = (!json && io::stdout().is_terminal()).then(Screen::enter).transpose()?;
    loop {
        let list = lister.look()?;
        let goes_on = if json {
            output::json_line(&list)?
        } else {
            let lines = table(&list, true, SystemTime::now()).within(output::width(), FLEXIBLE);
            match &screen {
                Some(_) => output::print_if_read(&Screen::drawn(&lines))?,
                None => output::print_if_read(&(lines + "\n"))?,
            }
        };
        if !goes_on || interrupt.requested_within(INTERVAL) {
            break;
        }
    }
    drop(screen);
    lister.tell_what_is_hidden();
    Ok(ExitCode::SUCCESS)
}

/// The alternate screen of the terminal; the one before is back when this is dropped.
#[derive(Debug)]
struct Screen;

impl Screen {
    fn enter() -> Result<Self, Failure> {
        output::print(ENTER)?;
        Ok(Self)
    }

    /// What draws lines over those before: as many as fit.
    fn drawn(lines: &str) -> String {
        let height = output::height().max(1);
        let shown: Vec<&str> = lines.lines().take(height).collect();
        // Each line is cleared behind its end, and the screen below the last: nothing flickers.
        format!("\x1b[H{}\x1b[K\x1b[J", shown.join("\x1b[K\r\n"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody left to tell when this fails.
        let _ = output::print(LEAVE);
    }
}
