//! Facts, each with its label: what there is to know of a process, or where an image comes from.

use dormouse_wire::Details;
use gettextrs::gettext;
use relm4::gtk;
use relm4::gtk::pango;
use relm4::gtk::prelude::*;

use crate::bus::{Answer, TroubleKind};
use crate::say;

/// A label and what is behind it.
pub type Fact = (String, String);

/// What there is to know of a process, or why it is not known.
pub fn of_process(answer: &Answer<Details>) -> Vec<Fact> {
    let details = match answer {
        Ok(details) => details,
        Err(why) if why.kind == TroubleKind::Unknown => {
            return vec![(gettext("Details"), gettext("This version of the service does not tell more."))];
        }
        Err(why) => return vec![(gettext("Details"), why.sentence.clone())],
    };
    let mut facts = vec![(gettext("Command"), command(details))];
    facts.extend(details.memory.map(|memory| (gettext("Memory"), say::size(memory))));
    facts.push((gettext("Threads"), details.threads.to_string()));
    facts.push((gettext("Open"), open(details)));
    facts
}

fn command(details: &Details) -> String {
    if details.command_line.is_empty() { details.process.comm.clone() } else { details.command_line.join(" ") }
}

/// What it has open: a line for each, and not more than fit.
fn open(details: &Details) -> String {
    const MOST: usize = 12;
    let lines = details.descriptors.iter().take(MOST).map(|open| format!("{}: {}", open.number, open.what));
    let mut lines: Vec<String> = lines.collect();
    let more = details.descriptors.len().saturating_sub(MOST);
    lines.extend((more > 0).then(|| say::counted("and one more", "and {count} more", more)));
    if lines.is_empty() { gettext("Nothing") } else { lines.join("\n") }
}

/// Facts one below the other.
pub fn grid(facts: &[Fact]) -> gtk::Grid {
    let grid = gtk::Grid::builder().row_spacing(6).column_spacing(12).build();
    for (row, (label, value)) in facts.iter().enumerate() {
        let label = gtk::Label::builder().label(label).xalign(1.0).yalign(0.0).build();
        label.add_css_class("dim-label");
        label.add_css_class("caption");
        let value = gtk::Label::builder()
            .label(value)
            .xalign(0.0)
            .selectable(true)
            .wrap(true)
            .wrap_mode(pango::WrapMode::WordChar)
            .max_width_chars(48)
            .hexpand(true)
            .build();
        value.add_css_class("caption");
        value.add_css_class("numeric");
        grid.attach(&label, 0, row as i32, 1, 1);
        grid.attach(&value, 1, row as i32, 1, 1);
    }
    grid
}
