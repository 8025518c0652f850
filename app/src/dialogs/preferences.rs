//! What a person can choose.

use dormouse_wire::Compression;
use dormouse_wire::dbus::Folder;
use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;

use crate::say;
use crate::settings::{Choice, Settings};

/// Shows the choices; `chosen` is told of each that has changed.
pub fn show(
    window: &adw::ApplicationWindow,
    settings: &Settings,
    folder: Option<&Folder>,
    tray: &str,
    chosen: impl Fn(Choice, bool) + Clone + 'static,
) {
    let dialog = adw::PreferencesWindow::builder().transient_for(window).modal(true).search_enabled(false).build();
    dialog.set_default_size(560, 520);
    let page = adw::PreferencesPage::new();
    let switch = |choice, title: String, subtitle: String| {
        let chosen = chosen.clone();
        row(settings, choice, &title, &subtitle, move |value| chosen(choice, value))
    };
    let freezing = adw::PreferencesGroup::builder().title(gettext("Freezing")).build();
    freezing.add(&switch(
        Choice::AskBeforeFreezing,
        gettext("Ask before freezing"),
        gettext("Otherwise only where something would be lost. A freeze can be undone."),
    ));
    freezing.add(&compression(settings));
    freezing.add(&images(folder));
    let window = adw::PreferencesGroup::builder().title(gettext("Window")).build();
    window.add(&switch(
        Choice::ShowEverybody,
        gettext("Show everybody’s groups"),
        gettext("Needs an administrator’s password."),
    ));
    window.add(&switch(Choice::RunInBackground, gettext("Go on in the background"), tray.to_owned()));
    page.add(&freezing);
    page.add(&window);
    dialog.add(&page);
    dialog.present();
}

fn row(
    settings: &Settings,
    choice: Choice,
    title: &str,
    subtitle: &str,
    chosen: impl Fn(bool) + 'static,
) -> adw::ActionRow {
    let switch = gtk::Switch::builder().active(settings.is(choice)).valign(gtk::Align::Center).build();
    switch.connect_active_notify(move |switch| chosen(switch.is_active()));
    crate::accessible::name(&switch, title);
    let row = adw::ActionRow::builder().title(title).subtitle(subtitle).subtitle_lines(0).build();
    row.add_suffix(&switch);
    row.set_activatable_widget(Some(&switch));
    row
}

/// How much time is given for smaller images.
fn compression(settings: &Settings) -> adw::ComboRow {
    let names = [gettext("None"), gettext("Fast"), gettext("Small")];
    let title = gettext("Compression");
    let row = adw::ComboRow::builder().title(&title).subtitle_lines(0).build();
    row.set_subtitle(&gettext("Small images take several times as long; the app stands still meanwhile."));
    row.set_model(Some(&gtk::StringList::new(&names.each_ref().map(String::as_str))));
    let chosen = Compression::ALL.iter().position(|one| *one == settings.compression()).unwrap_or_default();
    row.set_selected(chosen as u32);
    crate::accessible::name(&row, &title);
    let settings = settings.clone();
    row.connect_selected_notify(move |row| {
        if let Some(chosen) = Compression::ALL.get(row.selected() as usize) {
            settings.set_compression(*chosen);
        }
    });
    row
}

/// Where images lie: the service decides that.
fn images(folder: Option<&Folder>) -> adw::ActionRow {
    let row = adw::ActionRow::builder().title(gettext("Folder of images")).subtitle_lines(0).build();
    let Some(folder) = folder else { return row };
    let path = gtk::glib::markup_escape_text(&folder.path.display().to_string()).to_string();
    row.set_subtitle(&match folder.free {
        Some(free) => say::with(&gettext("{folder}, {size} free"), &[("folder", &path), ("size", &say::size(free))]),
        None => path,
    });
    row
}
