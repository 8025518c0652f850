//! Before an image is woken that was opened as a file.

use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;

use crate::say;

const CANCEL: &str = "cancel";
const WAKE: &str = "wake";

/// Asks whether to wake what sleeps in a file.
pub fn ask(window: &adw::ApplicationWindow, file: &str, wakes: impl Fn() + 'static) {
    let heading = say::with(&gettext("Wake Up “{name}”?"), &[("name", file)]);
    let body = gettext(
        "The programs in this file run on where they stopped, with your rights. Wake only what you or somebody you trust has frozen.",
    );
    let dialog = adw::MessageDialog::new(Some(window), Some(&heading), Some(&body));
    dialog.add_responses(&[(CANCEL, &gettext("_Cancel")), (WAKE, &gettext("_Wake Up"))]);
    dialog.set_response_appearance(WAKE, adw::ResponseAppearance::Suggested);
    dialog.set_default_response(Some(CANCEL));
    dialog.set_close_response(CANCEL);
    dialog.connect_response(Some(WAKE), move |_, _| wakes());
    dialog.present();
}
