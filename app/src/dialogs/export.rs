//! Before an image is copied: what goes with it.

use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;

use crate::{accessible, say};

const CANCEL: &str = "cancel";
const GO_ON: &str = "go-on";

/// What goes with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// It is copied as it is.
    Nothing,
    /// The programs and libraries that it needs.
    Programs,
    /// The files that it has open, too.
    Everything,
}

/// Asks what goes with it; `goes_on` is called where the answer is not to leave it.
pub fn ask(window: &adw::ApplicationWindow, name: &str, goes_on: impl Fn(With) + 'static) {
    let heading = say::with(&gettext("Export “{name}”?"), &[("name", name)]);
    let body = gettext(
        "The image holds all memory of the app, with passwords and keys in it. To wake it up on another machine, what it runs must be there, too.",
    );
    let dialog = adw::MessageDialog::new(Some(window), Some(&heading), Some(&body));
    let list = gtk::ListBox::builder().selection_mode(gtk::SelectionMode::None).hexpand(true).build();
    list.add_css_class("boxed-list");
    let programs = switch(
        &list,
        &gettext("Programs and libraries"),
        &gettext("For a machine that may lack them, or has other versions"),
        true,
    );
    let files = switch(
        &list,
        &gettext("Open files"),
        &gettext("They may be large, and hold what is nobody else’s business"),
        false,
    );
    // Files alone are of no use there.
    programs.bind_property("active", &files, "sensitive").sync_create().build();
    dialog.set_extra_child(Some(&list));
    dialog.add_responses(&[(CANCEL, &gettext("_Cancel")), (GO_ON, &gettext("Choose _File…"))]);
    dialog.set_response_appearance(GO_ON, adw::ResponseAppearance::Suggested);
    dialog.set_default_response(Some(GO_ON));
    dialog.set_close_response(CANCEL);
    dialog.connect_response(Some(GO_ON), move |_, _| {
        goes_on(match (programs.is_active(), files.is_active()) {
            (false, _) => With::Nothing,
            (true, false) => With::Programs,
            (true, true) => With::Everything,
        });
    });
    dialog.present();
}

fn switch(list: &gtk::ListBox, title: &str, subtitle: &str, active: bool) -> gtk::Switch {
    let switch = gtk::Switch::builder().active(active).valign(gtk::Align::Center).build();
    accessible::name(&switch, title);
    accessible::describe(&switch, subtitle);
    let row = adw::ActionRow::builder().title(title).subtitle(subtitle).subtitle_lines(0).build();
    row.add_suffix(&switch);
    row.set_activatable_widget(Some(&switch));
    list.append(&row);
    switch
}
