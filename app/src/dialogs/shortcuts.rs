//! The keys.

use gettextrs::gettext;
use relm4::adw;
use relm4::gtk;
use relm4::gtk::prelude::*;

/// A key, and what it does.
type Keys<'a> = &'a [(&'a str, String)];

/// Shows them.
pub fn show(window: &adw::ApplicationWindow) {
    let section = gtk::ShortcutsSection::builder().section_name("shortcuts").max_height(10).visible(true).build();
    let general = [
        ("<Control>f", gettext("Search")),
        ("F5", gettext("Refresh")),
        ("<Alt>1", gettext("Show what runs")),
        ("<Alt>2", gettext("Show what sleeps")),
        ("<Alt>Left", gettext("Go back")),
        ("F10", gettext("Open the menu")),
        ("<Control>comma", gettext("Preferences")),
        ("<Control>question", gettext("Keyboard shortcuts")),
        ("<Control>w", gettext("Close the window")),
        ("<Control>q", gettext("Quit")),
    ];
    let graph = [
        ("Left Right Up Down", gettext("Go from node to node")),
        ("Return", gettext("Show a process, or open a family")),
        ("plus minus", gettext("Zoom")),
        ("0", gettext("Show all of the graph")),
    ];
    add(&section, &gettext("General"), &general);
    add(&section, &gettext("Graph of a group"), &graph);
    let shortcuts = gtk::ShortcutsWindow::builder().transient_for(window).modal(true).build();
    shortcuts.set_child(Some(&section));
    shortcuts.present();
}

fn add(section: &gtk::ShortcutsSection, title: &str, keys: Keys<'_>) {
    let group = gtk::ShortcutsGroup::builder().title(title).build();
    for (key, what) in keys {
        let shortcut = gtk::ShortcutsShortcut::builder().accelerator(*key).title(what).build();
        group.append(&shortcut);
    }
    section.append(&group);
}
