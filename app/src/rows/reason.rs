//! The row of a reason: what it is about, why, what would be lost, and the way out.

use dormouse_wire::Problem;
use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;
use relm4::gtk::glib::markup_escape_text;

use crate::say;

/// A row for a problem. Where a pause is the way out, it has a button for that.
pub fn row(problem: &Problem, pause: Option<impl Fn() + 'static>) -> adw::ActionRow {
    let (look, icon) = if say::blocks(problem) {
        ("blocked", "action-unavailable-symbolic")
    } else {
        ("lossy", "dialog-warning-symbolic")
    };
    let mark = gtk::Image::from_icon_name(icon);
    mark.add_css_class("verdict-icon");
    mark.add_css_class(look);
    let row = adw::ActionRow::builder().title_lines(0).subtitle_lines(0).build();
    row.set_title(&markup_escape_text(&title(problem)));
    row.set_subtitle(&markup_escape_text(&lines(problem).join("\n")));
    row.add_prefix(&mark);
    if let Some(pause) = pause.filter(|_| say::offers_pause(problem)) {
        let button = gtk::Button::with_label(&gettext("Pause"));
        button.set_valign(gtk::Align::Center);
        button.connect_clicked(move |_| pause());
        row.add_suffix(&button);
    }
    row
}

fn title(problem: &Problem) -> String {
    match say::subject(problem) {
        Some(subject) => format!("{} · {subject}", say::heading(problem.kind)),
        None => say::heading(problem.kind),
    }
}

fn lines(problem: &Problem) -> Vec<String> {
    let mut lines = vec![say::sentence(&problem.what)];
    lines.extend(problem.lost().map(|loss| say::with(&gettext("Lost: {loss}."), &[("loss", &say::phrase(loss))])));
    // The engine speaks of the command's options.
    lines.extend(match &problem.way_out {
        Some(_) if problem.keepable => Some(gettext("It can be kept: you are asked before the freeze.")),
        Some(_) if !problem.remedies.is_empty() => Some(gettext("You are asked about it when you wake it up.")),
        Some(_) if problem.boundary.is_some() => Some(gettext("It can be cut once nothing else stands in the way.")),
        way_out => way_out.as_ref().map(say::sentence),
    });
    lines
}
