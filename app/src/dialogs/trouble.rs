//! Why something did not work, with details that a person can pass on.

use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;

use super::reasons;
use crate::bus::Trouble;
use crate::rows::reason;

const CLOSE: &str = "close";
const COPY: &str = "copy";

/// Says what did not work, and why.
pub fn show(window: &adw::ApplicationWindow, heading: &str, trouble: &Trouble) {
    let dialog = adw::MessageDialog::new(Some(window), Some(heading), Some(&trouble.sentence));
    if trouble.problems.is_empty() && !trouble.details.is_empty() {
        let details = gtk::Label::builder().label(&trouble.details).wrap(true).selectable(true).xalign(0.0).build();
        details.add_css_class("caption");
        details.add_css_class("command");
        dialog.set_extra_child(Some(&details));
    } else if !trouble.problems.is_empty() {
        dialog
            .set_extra_child(Some(&reasons(trouble.problems.iter().map(|problem| reason::row(problem, None::<fn()>)))));
    }
    dialog.add_responses(&[(COPY, &gettext("C_opy Details")), (CLOSE, &gettext("_Close"))]);
    dialog.set_default_response(Some(CLOSE));
    dialog.set_close_response(CLOSE);
    let text = format!("{heading}\n{}\n{}\n", trouble.sentence, trouble.details);
    dialog.connect_response(Some(COPY), move |dialog, _| dialog.clipboard().set_text(&text));
    dialog.present();
}
