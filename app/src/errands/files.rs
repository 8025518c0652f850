//! Images that come from files and go into files.

use std::fs::File;
use std::path::Path;

use gettextrs::gettext;
use relm4::gtk;
use relm4::gtk::gio;
use relm4::gtk::prelude::*;

use super::Errands;
use crate::app::Msg;
use crate::bus::{Ask, Trouble, TroubleKind};
use crate::dialogs::{trouble, wake};
use crate::model::overview::Overview;
use crate::say;

/// How images are called.
const ENDING: &str = "dormouse";

impl Errands {
    /// Asks where a copy is to lie.
    pub fn ask_export(&self, image: String) {
        let dialog = gtk::FileChooserNative::new(
            Some(&gettext("Export Image")),
            Some(&self.window),
            gtk::FileChooserAction::Save,
            Some(&gettext("_Export")),
            Some(&gettext("_Cancel")),
        );
        dialog.set_modal(true);
        dialog.set_current_name(&image);
        let sender = self.sender.clone();
        // The dialog lives until it is answered: nobody else holds it.
        let held = dialog.clone();
        dialog.connect_response(move |_, response| {
            let path = held.file().filter(|_| response == gtk::ResponseType::Accept).and_then(|file| file.path());
            if let Some(path) = path {
                sender.emit(Msg::ExportTo { image: image.clone(), path });
            }
            held.destroy();
        });
        dialog.show();
    }

    /// Copies an image into a file that does not count until it is whole.
    pub fn export(&mut self, image: String, path: &Path, overview: &Overview) {
        match File::create(path) {
            Ok(file) => {
                self.exports.insert(image.clone(), path.to_owned());
                self.bus.ask(Ask::Export { image, file });
            }
            Err(error) => {
                let heading = say::failed(dormouse_wire::dbus::JobKind::Export, &overview.name(&image));
                trouble::show(&self.window, &heading, &unreadable(path, &error));
            }
        }
    }

    /// Asks about a file that was opened, by a double click for example.
    pub fn open(&self, file: &gio::File) {
        let Some(path) = file.path() else { return };
        self.window.present();
        let sender = self.sender.clone();
        let name = named(&path);
        wake::ask(&self.window, &name, move || sender.emit(Msg::WakeFile(path.clone())));
    }

    /// Wakes what sleeps in a file: where it lies, if that is the folder of images, else after it has been copied there.
    pub fn wake_file(&mut self, path: &Path, overview: &Overview) {
        let id = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_there = overview.folder.as_ref().is_some_and(|folder| path.parent() == Some(&folder.path));
        if is_there && overview.images.get(&id).is_some() {
            return self.wake(id);
        }
        match File::open(path) {
            Ok(file) => {
                let name = named(path);
                self.woken.insert(name.clone());
                self.bus.ask(Ask::Import { name, file });
            }
            Err(error) => {
                let heading = say::failed(dormouse_wire::dbus::JobKind::Import, &named(path));
                trouble::show(&self.window, &heading, &unreadable(path, &error));
            }
        }
    }
}

/// What a person calls a file.
fn named(path: &Path) -> String {
    let part =
        if path.extension().is_some_and(|ending| ending == ENDING) { path.file_stem() } else { path.file_name() };
    part.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Trouble {
    Trouble {
        kind: TroubleKind::Failed,
        sentence: gettext("The file cannot be opened."),
        problems: Vec::new(),
        details: format!("{}: {error}", path.display()),
    }
}
