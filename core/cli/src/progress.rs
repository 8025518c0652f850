//! The bar on a terminal, and Ctrl-C, as the engine asks for them.

use dormouse_wire::{Phase, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exit::Failure;
use crate::interrupt::Interrupt;

const MOVING: &str = "{msg:<28} {wide_bar} {decimal_bytes} of {decimal_total_bytes}, {eta} left";
const BRIEF: &str = "{msg}";

/// Watches a job for the person: draws how far it is, and undoes it on Ctrl-C. Gone without a trace when dropped.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    interrupt: Interrupt,
}

impl Bar {
    /// A bar on standard error, where that is a terminal.
    pub fn new() -> Result<Self, Failure> {
        let interrupt = Interrupt::watch()?;
        // Ten times a second: drawing must not slow the work down.
        Ok(Self { bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10)), interrupt })
    }

    /// Takes the bar away; Ctrl-C is watched on.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("━╸ "));
        }
    }
}

impl Progress for Bar {
    fn begins(&self, phase: Phase, bytes: u64) {
        if bytes > 0 {
            self.style(MOVING);
            self.bar.set_length(bytes);
            self.bar.set_position(0);
        } else {
            self.style(BRIEF);
        }
        self.bar.set_message(words(phase));
    }

    fn moved(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn cancelled(&self) -> bool {
        let cancelled = self.interrupt.requested();
        if cancelled {
            self.style(BRIEF);
            self.bar.set_message("Undoing everything…");
        }
        cancelled
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn words(phase: Phase) -> &'static str {
    match phase {
        Phase::Keeping => "Keeping its programs…",
        Phase::Stopping => "Stopping the processes…",
        Phase::Recording => "Recording what they hold…",
        Phase::Writing => "Writing memory…",
        Phase::Sealing => "Syncing the image to disk…",
        Phase::Checking => "Checking the image…",
        Phase::Building => "Building the processes…",
        Phase::Reading => "Reading memory back…",
    }
}
