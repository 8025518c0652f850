//! The verdict on a group at a glance: an icon, a word and a colour, never the colour alone.

use dormouse_wire::Verdict;
use gettextrs::gettext;
use relm4::gtk;
use relm4::gtk::prelude::*;

use crate::model::verdicts::Known;
use crate::say;

/// A small pill.
#[derive(Clone, Debug)]
pub struct Badge {
    root: gtk::Box,
    icon: gtk::Image,
    word: gtk::Label,
}

/// What a badge may look like: the names of its style.
const LOOKS: [&str; 4] = ["freezable", "lossy", "blocked", "unknown"];

impl Badge {
    /// One that says nothing yet.
    pub fn new() -> Self {
        relm4::view! {
            root = gtk::Box {
                set_spacing: 6,
                set_valign: gtk::Align::Center,
                set_visible: false,
                add_css_class: "badge",
                #[name = "icon"]
                gtk::Image { set_pixel_size: 14 },
                #[name = "word"]
                gtk::Label {},
            }
        }
        Self { root, icon, word }
    }

    /// Its widget.
    pub fn widget(&self) -> &gtk::Box {
        &self.root
    }

    /// Says what is known; nothing where that is nothing.
    pub fn show(&self, known: Option<&Known>) {
        let (look, icon, word) = match known {
            Some(Known::Verdict(verdict)) => {
                let (look, icon) = look(verdict);
                (look, icon, say::verdict_word(verdict))
            }
            Some(Known::Refused(_)) => ("unknown", "dialog-question-symbolic", gettext("Unknown")),
            Some(Known::Asked) => ("unknown", "content-loading-symbolic", gettext("Checking")),
            None => return self.root.set_visible(false),
        };
        for other in LOOKS {
            self.root.remove_css_class(other);
        }
        self.root.add_css_class(look);
        self.icon.set_icon_name(Some(icon));
        self.word.set_label(&word);
        let why = match known {
            Some(Known::Verdict(verdict)) => Some(say::verdict(verdict)),
            Some(Known::Refused(why)) => Some(why.clone()),
            _ => None,
        };
        self.root.set_tooltip_text(why.as_deref());
        self.root.set_visible(true);
    }
}

/// The style and the icon of a verdict.
pub fn look(verdict: &Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Freezable => ("freezable", "emblem-ok-symbolic"),
        Verdict::Lossy(_) => ("lossy", "dialog-warning-symbolic"),
        Verdict::Blocked(_) => ("blocked", "action-unavailable-symbolic"),
    }
}
