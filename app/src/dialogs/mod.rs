//! Dialogs: what is asked and explained in front of the window.

pub mod about;
pub mod decide;
pub mod export;
pub mod freeze;
pub mod preferences;
pub mod shortcuts;
pub mod trouble;
pub mod wake;

use relm4::adw::prelude::*;
use relm4::prelude::*;

/// So many reasons have room without a scroll bar.
const FEW: usize = 2;

/// Reasons as a list that scrolls where it is long.
fn reasons(rows: impl Iterator<Item = adw::ActionRow>) -> gtk::Widget {
    let list = gtk::ListBox::builder().selection_mode(gtk::SelectionMode::None).hexpand(true).build();
    list.add_css_class("boxed-list");
    let mut count = 0;
    for row in rows {
        list.append(&row);
        count += 1;
    }
    if count <= FEW {
        return list.upcast();
    }
    // Its natural height is that of lines that are not broken: too little to read by.
    relm4::view! {
        scrolled = gtk::ScrolledWindow {
            set_hscrollbar_policy: gtk::PolicyType::Never,
            set_propagate_natural_height: true,
            set_min_content_height: 240,
            set_max_content_height: 320,
            gtk::Box {
                set_margin_all: 3,
                append: &list,
            },
        }
    }
    scrolled.upcast()
}
