//! Dialogs: what is asked and explained in front of the window.

pub mod about;
pub mod freeze;
pub mod preferences;
pub mod shortcuts;
pub mod trouble;
pub mod wake;

use relm4::adw::prelude::*;
use relm4::prelude::*;

/// Reasons as a list that scrolls where it is long.
fn reasons(rows: impl Iterator<Item = adw::ActionRow>) -> gtk::ScrolledWindow {
    let list = gtk::ListBox::builder().selection_mode(gtk::SelectionMode::None).build();
    list.add_css_class("boxed-list");
    rows.for_each(|row| list.append(&row));
    relm4::view! {
        scrolled = gtk::ScrolledWindow {
            set_hscrollbar_policy: gtk::PolicyType::Never,
            set_propagate_natural_height: true,
            set_max_content_height: 320,
            gtk::Box {
                set_margin_all: 3,
                append: &list,
            },
        }
    }
    list.set_hexpand(true);
    scrolled
}
