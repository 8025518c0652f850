//! How far a job is: what it is at, how long that takes still, and a bar.

use gettextrs::gettext;
use relm4::gtk;
use relm4::gtk::glib;
use relm4::gtk::prelude::*;

use crate::bus::Job;
use crate::say;

/// What a job is at, in words.
pub fn words(job: &Job) -> String {
    let phase = job.phase.map_or_else(|| say::job(job.kind), say::phase);
    match job.seconds_left {
        Some(seconds) => say::with(&gettext("{phase}, {left}"), &[("phase", &phase), ("left", &say::left(seconds))]),
        None => phase + "…",
    }
}

/// A bar that tells how far a job is, or only that it is at work. While it is hidden it costs nothing.
pub fn show(bar: &gtk::ProgressBar, job: Option<&Job>) {
    bar.set_visible(job.is_some());
    match job.and_then(Job::fraction) {
        Some(fraction) => bar.set_fraction(fraction),
        None if job.is_some() => pulse(bar),
        None => {}
    }
}

/// Moves the bar to and fro until it is hidden or knows better.
fn pulse(bar: &gtk::ProgressBar) {
    const OFTEN: std::time::Duration = std::time::Duration::from_millis(120);
    bar.set_fraction(0.0);
    bar.pulse();
    if bar.has_css_class("pulsing") {
        return;
    }
    bar.add_css_class("pulsing");
    let bar = bar.downgrade();
    glib::timeout_add_local(OFTEN, move || {
        let Some(bar) = bar.upgrade() else { return glib::ControlFlow::Break };
        if bar.is_visible() && bar.fraction() == 0.0 {
            bar.pulse();
            return glib::ControlFlow::Continue;
        }
        bar.remove_css_class("pulsing");
        glib::ControlFlow::Break
    });
}
