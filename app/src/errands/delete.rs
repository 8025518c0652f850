//! To delete an image: it goes out of sight at once, and out of the folder when nobody can want it back any more.

use std::cell::Cell;
use std::rc::Rc;

use gettextrs::gettext;
use relm4::adw;
use relm4::gtk::prelude::WidgetExt;

use super::Errands;
use super::told::TIME_TO_DECIDE;
use crate::app::Msg;
use crate::bus::{Answer, Ask};
use crate::dialogs::trouble;
use crate::model::overview::Overview;
use crate::say;

impl Errands {
    /// The person wishes to be rid of an image. The page takes it out of sight; here it is said, with the way back.
    pub fn delete(&self, image: String, overview: &Overview) {
        let name = overview.name(&image);
        let toast = adw::Toast::new(&said(&say::with(&gettext("“{name}” deleted"), &[("name", &name)])));
        toast.set_button_label(Some(&gettext("_Undo")));
        toast.set_timeout(TIME_TO_DECIDE);
        let spared = Rc::new(Cell::new(false));
        let (sender, undone, id) = (self.sender.clone(), spared.clone(), image.clone());
        toast.connect_button_clicked(move |_| {
            undone.set(true);
            sender.emit(Msg::Spared(id.clone()));
        });
        let bus = self.bus.clone();
        toast.connect_dismissed(move |_| {
            if !spared.get() {
                bus.ask(Ask::Delete(image.clone()));
            }
        });
        self.toasts.add_toast(toast);
    }

    pub(super) fn deleted(&self, image: &str, answer: &Answer<()>, overview: &Overview) {
        if let Err(why) = answer {
            self.sender.emit(Msg::Spared(image.to_owned()));
            let heading = say::with(&gettext("“{name}” could not be deleted"), &[("name", &overview.name(image))]);
            // At the end of the app there is nobody left to tell.
            if self.window.is_visible() {
                trouble::show(&self.window, &heading, why);
            }
        }
    }
}

/// Toasts read markup.
pub(super) fn said(text: &str) -> String {
    relm4::gtk::glib::markup_escape_text(text).to_string()
}
