//! What a person can choose.

use dormouse_wire::Compression;
use dormouse_wire::dbus::{AtLogout, Folder};
use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;

use crate::bus::Ask;
use crate::say;
use crate::settings::{Choice, Settings};

/// What is so now, beyond the settings.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Where images lie.
    pub folder: Option<&'a Folder>,
    /// Whether the session falls asleep at logout.
    pub at_logout: Option<&'a AtLogout>,
    /// What becomes of the app without its window.
    pub tray: &'a str,
}

/// Shows the choices; `chosen` is told of each that has changed, `asked` of what the service is to change.
pub fn show(
    window: &adw::ApplicationWindow,
    settings: &Settings,
    known: Known<'_>,
    chosen: impl Fn(Choice, bool) + Clone + 'static,
    asked: impl Fn(Ask) + Clone + 'static,
) {
    let dialog = adw::PreferencesWindow::builder().transient_for(window).modal(true).search_enabled(false).build();
    dialog.set_default_size(560, 600);
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
    freezing.add(&switch(
        Choice::KeepConnections,
        gettext("Keep network connections"),
        gettext("The other end is held off until the app wakes up, and notices no more than a silence. Otherwise the app finds them reset."),
    ));
    freezing.add(&switch(
        Choice::KeepFiles,
        gettext("Keep copies of open files"),
        gettext("Where files change while an app sleeps, it can go on with them as they were. Copies take room on the disk."),
    ));
    freezing.add(&compression(settings));
    let moved = asked.clone();
    freezing.add(&images(&dialog, known.folder, move |folder| moved(Ask::Move(folder))));
    let session = adw::PreferencesGroup::builder().title(gettext("Session")).build();
    session.add(&at_logout(known.at_logout, move |wanted| asked(Ask::AtLogout(wanted))));
    let window = adw::PreferencesGroup::builder().title(gettext("Window")).build();
    window.add(&switch(
        Choice::ShowEverybody,
        gettext("Show everybody’s groups"),
        gettext("Needs an administrator’s password."),
    ));
    window.add(&switch(Choice::RunInBackground, gettext("Go on in the background"), known.tray.to_owned()));
    page.add(&freezing);
    page.add(&session);
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
    switch_row(settings.is(choice), title, subtitle, chosen)
}

/// Whether the session falls asleep at logout. Where nothing would come of it the row says why, and can only be switched off.
fn at_logout(known: Option<&AtLogout>, chosen: impl Fn(bool) + 'static) -> adw::ActionRow {
    let is_chosen = known.is_some_and(|known| known.chosen);
    let hindrance = match known {
        None => Some(gettext("The service does not say whether it can do that.")),
        Some(known) => known.hindrance.as_deref().map(say::translated),
    };
    let usual = || {
        gettext(
            "They wake at login. What cannot be put to sleep, or only with losses, ends as usual; so do windows on this screen.",
        )
    };
    let subtitle = hindrance.clone().unwrap_or_else(usual);
    let row = switch_row(is_chosen, &gettext("Put apps and jobs to sleep at logout"), &subtitle, chosen);
    row.set_sensitive(hindrance.is_none() || is_chosen);
    row
}

fn switch_row(active: bool, title: &str, subtitle: &str, chosen: impl Fn(bool) + 'static) -> adw::ActionRow {
    let switch = gtk::Switch::builder().active(active).valign(gtk::Align::Center).build();
    switch.connect_active_notify(move |switch| chosen(switch.is_active()));
    crate::accessible::name(&switch, title);
    crate::accessible::describe(&switch, subtitle);
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

/// Where images lie. The service moves them, so that the row is out of date from then on: the dialog closes.
fn images(
    dialog: &adw::PreferencesWindow,
    folder: Option<&Folder>,
    moved: impl Fn(String) + Clone + 'static,
) -> adw::ActionRow {
    let row = adw::ActionRow::builder().title(gettext("Folder of images")).subtitle_lines(0).build();
    let Some(folder) = folder else { return row };
    let path = gtk::glib::markup_escape_text(&folder.path.display().to_string()).to_string();
    row.set_subtitle(&match folder.free {
        Some(free) => say::with(&gettext("{folder}, {size} free"), &[("folder", &path), ("size", &say::size(free))]),
        None => path,
    });
    let button = |label: String, tip: String| {
        gtk::Button::builder().label(label).tooltip_text(tip).valign(gtk::Align::Center).build()
    };
    if folder.chosen {
        let reset = button(gettext("Reset"), gettext("Moves the images back to the usual folder"));
        let (dialog, moved) = (dialog.clone(), moved.clone());
        reset.connect_clicked(move |_| {
            moved(String::new());
            dialog.close();
        });
        row.add_suffix(&reset);
    }
    let choose = button(gettext("Choose…"), gettext("Moves the images to another folder"));
    let dialog = dialog.clone();
    choose.connect_clicked(move |_| choose_folder(&dialog, moved.clone()));
    row.add_suffix(&choose);
    row
}

fn choose_folder(dialog: &adw::PreferencesWindow, moved: impl Fn(String) + 'static) {
    let chooser = gtk::FileChooserNative::new(
        Some(&gettext("Folder of Images")),
        Some(dialog),
        gtk::FileChooserAction::SelectFolder,
        Some(&gettext("_Choose")),
        Some(&gettext("_Cancel")),
    );
    chooser.set_modal(true);
    // It lives until it is answered: nobody else holds it.
    let (held, dialog) = (chooser.clone(), dialog.clone());
    chooser.connect_response(move |_, response| {
        let path = held.file().filter(|_| response == gtk::ResponseType::Accept).and_then(|file| file.path());
        held.destroy();
        if let Some(path) = path {
            moved(path.to_string_lossy().into_owned());
            dialog.close();
        }
    });
    chooser.show();
}
