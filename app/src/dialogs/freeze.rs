//! Before a freeze: only where the person has to decide something.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use dormouse_wire::dbus::Folder;
use dormouse_wire::{Problem, Verdict};
use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;

use super::reasons;
use crate::rows::reason;
use crate::{accessible, say};

const CANCEL: &str = "cancel";
const GO_ON: &str = "go-on";

/// Asks whether to freeze a group all the same, or at all; `goes_on` is called where the answer is yes, with the
/// boundaries of the connections that are cut, and whether those in the network are kept.
pub fn ask(
    window: &adw::ApplicationWindow,
    name: &str,
    verdict: &Verdict,
    folder: Option<&Folder>,
    goes_on: impl Fn(Vec<String>, bool) + 'static,
) {
    let heading = say::with(&gettext("Freeze “{name}”?"), &[("name", name)]);
    let dialog = adw::MessageDialog::new(Some(window), Some(&heading), Some(&say::verdict(verdict)));
    let content = gtk::Box::new(gtk::Orientation::Vertical, 12);
    let losses: &[Problem] = match verdict {
        Verdict::Freezable => &[],
        Verdict::Lossy(problems) | Verdict::Blocked(problems) => problems,
    };
    let (cuts, keeps) = (Cuts::default(), Keeps::default());
    if !losses.is_empty() {
        let row = |problem| {
            let row = cuts.row(problem);
            keeps.offer(problem, &row);
            row
        };
        content.append(&reasons(losses.iter().map(row)));
    }
    let place = gtk::Label::builder().label(place(folder)).wrap(true).justify(gtk::Justification::Center).build();
    place.add_css_class("dim-label");
    content.append(&place);
    dialog.set_extra_child(Some(&content));
    dialog.add_responses(&[(CANCEL, &gettext("_Cancel")), (GO_ON, &gettext("_Freeze"))]);
    let look =
        if losses.is_empty() { adw::ResponseAppearance::Suggested } else { adw::ResponseAppearance::Destructive };
    dialog.set_response_appearance(GO_ON, look);
    dialog.set_default_response(Some(CANCEL));
    dialog.set_close_response(CANCEL);
    let boundaries: BTreeSet<String> = losses.iter().filter_map(|problem| problem.boundary.clone()).collect();
    cuts.decide_on(&dialog);
    dialog.connect_response(Some(GO_ON), move |_, _| {
        // The switches are in the question as long as it can be answered.
        let _switches = &cuts;
        goes_on(boundaries.iter().cloned().collect(), keeps.chosen());
    });
    dialog.present();
}

/// The connections that have to be cut, each with a switch. It cannot be frozen with one that is kept.
#[derive(Default)]
struct Cuts {
    switches: Rc<RefCell<Vec<gtk::Switch>>>,
}

impl Cuts {
    fn row(&self, problem: &Problem) -> adw::ActionRow {
        // The way out is the switch beside it.
        let way_out = problem.way_out.clone().filter(|_| !problem.keepable);
        let row = reason::row(&Problem { way_out, ..problem.clone() }, None::<fn()>);
        if problem.boundary.is_some() {
            self.switches.borrow_mut().push(choice(&row, &gettext("Disconnect"), true));
        }
        row
    }

    /// Freezing is on offer while all are to be cut.
    fn decide_on(&self, dialog: &adw::MessageDialog) {
        for switch in self.switches.borrow().iter() {
            let (dialog, all) = (dialog.downgrade(), Rc::downgrade(&self.switches));
            switch.connect_active_notify(move |_| {
                let (Some(dialog), Some(all)) = (dialog.upgrade(), all.upgrade()) else { return };
                dialog.set_response_enabled(GO_ON, all.borrow().iter().all(gtk::Switch::is_active));
            });
        }
    }
}

/// The connections in the network, which are kept all or none: each has a switch, and they move together.
#[derive(Default)]
struct Keeps(RefCell<Option<gtk::Switch>>);

impl Keeps {
    fn offer(&self, problem: &Problem, row: &adw::ActionRow) {
        if !problem.keepable {
            return;
        }
        let switch = choice(row, &gettext("Keep"), false);
        switch.set_tooltip_text(Some(&gettext("The other end is held off until the app wakes up")));
        let first = self.0.borrow_mut().get_or_insert(switch.clone()).clone();
        if first != switch {
            first.bind_property("active", &switch, "active").bidirectional().build();
        }
    }

    fn chosen(&self) -> bool {
        self.0.borrow().as_ref().is_some_and(gtk::Switch::is_active)
    }
}

/// A switch at the end of a row, with its name before it.
fn choice(row: &adw::ActionRow, name: &str, active: bool) -> gtk::Switch {
    let switch = gtk::Switch::builder().active(active).valign(gtk::Align::Center).build();
    accessible::name(&switch, name);
    let caption = gtk::Label::builder().label(name).build();
    caption.add_css_class("caption");
    row.add_suffix(&caption);
    row.add_suffix(&switch);
    row.set_activatable_widget(Some(&switch));
    switch
}

/// Explains why a group cannot be frozen, and offers to pause it where it is not.
pub fn explain(
    window: &adw::ApplicationWindow,
    name: &str,
    verdict: &Verdict,
    problems: &[Problem],
    pause: Option<impl Fn() + 'static>,
) {
    let heading = say::with(&gettext("“{name}” Cannot Be Frozen"), &[("name", name)]);
    let dialog = adw::MessageDialog::new(Some(window), Some(&heading), Some(&say::verdict(verdict)));
    dialog.set_extra_child(Some(&reasons(problems.iter().map(|problem| reason::row(problem, None::<fn()>)))));
    dialog.add_response(CANCEL, &gettext("_Close"));
    dialog.set_default_response(Some(CANCEL));
    dialog.set_close_response(CANCEL);
    if let Some(pause) = pause {
        dialog.add_response(GO_ON, &gettext("_Pause Instead"));
        dialog.set_response_appearance(GO_ON, adw::ResponseAppearance::Suggested);
        dialog.set_default_response(Some(GO_ON));
        dialog.connect_response(Some(GO_ON), move |_, _| pause());
    }
    dialog.present();
}

/// Where the image goes, and how much room there is.
fn place(folder: Option<&Folder>) -> String {
    let Some(folder) = folder else { return gettext("The image goes to the folder of images.") };
    let path = folder.path.display().to_string();
    match folder.free {
        Some(free) => say::with(
            &gettext("The image goes to {folder}, where {size} are free."),
            &[("folder", &path), ("size", &say::size(free))],
        ),
        None => say::with(&gettext("The image goes to {folder}."), &[("folder", &path)]),
    }
}
