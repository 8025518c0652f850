//! What this is.

use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;

use crate::APP_ID;

/// Shows it, with the version of the service, where there is one.
pub fn show(window: &adw::ApplicationWindow, service: Option<&str>) {
    let about = adw::AboutWindow::builder()
        .transient_for(window)
        .modal(true)
        .application_icon(APP_ID)
        .application_name(gettext("Dormouse"))
        .developer_name(gettext("The Dormouse developers"))
        .version(env!("CARGO_PKG_VERSION"))
        .comments(gettext("Puts running programs to sleep in a file, and wakes them up later."))
        .website("https://github.com/dormouse/dormouse")
        .issue_url("https://github.com/dormouse/dormouse/issues")
        .license_type(gtk::License::Gpl30)
        // Translators: your names, one in a line.
        .translator_credits(gettext("translator-credits"))
        .debug_info(format!("app {}\nservice {}\n", env!("CARGO_PKG_VERSION"), service.unwrap_or("none")))
        .build();
    about.present();
}
