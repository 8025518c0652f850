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
use crate::dialogs::export::{self, With};
use crate::dialogs::{trouble, wake};
use crate::model::overview::Overview;
use crate::say;

/// How images are called.
const ENDING: &str = "dormouse";
/// How bundles are.
const BUNDLE: &str = "dormouse-bundle";

impl Errands {
    /// Asks what goes with a copy.
    pub fn ask_export(&self, image: String, overview: &Overview) {
        let sender = self.sender.clone();
        let name = overview.name(&image);
        export::ask(&self.window, &name, move |with| sender.emit(Msg::ExportWith { image: image.clone(), with }));
    }

    /// Asks where it is to lie.
    pub fn choose_place(&self, image: String, with: With) {
        let dialog = gtk::FileChooserNative::new(
            Some(&gettext("Export Image")),
            Some(&self.window),
            gtk::FileChooserAction::Save,
            Some(&gettext("_Export")),
            Some(&gettext("_Cancel")),
        );
        dialog.set_modal(true);
        let name = Path::new(&image);
        let name = if with == With::Nothing { name.to_owned() } else { name.with_extension(BUNDLE) };
        dialog.set_current_name(&name.to_string_lossy());
        let sender = self.sender.clone();
        // The dialog lives until it is answered: nobody else holds it.
        let held = dialog.clone();
        dialog.connect_response(move |_, response| {
            let path = held.file().filter(|_| response == gtk::ResponseType::Accept).and_then(|file| file.path());
            if let Some(path) = path {
                sender.emit(Msg::ExportTo { image: image.clone(), with, path });
            }
            held.destroy();
        });
        dialog.show();
    }

    /// Copies an image into a file that does not count until it is whole.
    pub fn export(&mut self, image: String, with: With, path: &Path, overview: &Overview) {
        match File::create(path) {
            Ok(file) => {
                self.exports.insert(image.clone(), path.to_owned());
                self.bus.ask(match with {
                    With::Nothing => Ask::Export { image, file },
                    With::Programs => Ask::ExportBundle { image, file, working_files: false },
                    With::Everything => Ask::ExportBundle { image, file, working_files: true },
                });
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
    let is_ours = path.extension().is_some_and(|ending| ending == ENDING || ending == BUNDLE);
    let part = if is_ours { path.file_stem() } else { path.file_name() };
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
