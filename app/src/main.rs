//! The window of Dormouse: what runs, what sleeps, and the buttons between the two.
//!
//! The app asks the service and nobody else ([`bus`]); it never looks at processes itself. [`model`] holds what the pages show and
//! knows no GTK, [`pages`], [`rows`], [`widgets`] and [`dialogs`] show it, [`errands`] see to what the person wishes from the
//! first click to the last word about it, and [`say`] has the words. [`tray`] is the icon for when there is no window. [`app`] is the root, and forwards.

mod accessible;
mod actions;
mod app;
mod bus;
mod dialogs;
mod errands;
mod model;
mod pages;
mod rows;
mod say;
mod settings;
mod tray;
mod widgets;

use std::path::PathBuf;
use std::process::ExitCode;

use dormouse_wire::Listed;
use gettextrs::{bind_textdomain_codeset, bindtextdomain, gettext, textdomain};
use relm4::adw;
use relm4::gtk::glib::ExitCode as GlibExit;
use relm4::gtk::prelude::*;
use relm4::gtk::{self, gio, glib};
use relm4::prelude::*;

/// What the desktop calls the app.
pub const APP_ID: &str = "io.github.dormouse.Dormouse";
/// The domain of its translations.
const DOMAIN: &str = "dormouse";
/// Starts it without its window.
const BACKGROUND: &str = "background";

/// Whether a group is the app's own: it does not freeze itself.
pub fn is_own(group: &Listed) -> bool {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    group.application.as_deref() == Some(APP_ID) || group.members.iter().any(|member| member.pid.0 == own)
}

fn main() -> ExitCode {
    // This sets the locale, too.
    let display = gtk::init();
    translate();
    if display.is_err() {
        eprintln!("{}", gettext("There is no display to open a window on. In a terminal, try “dormouse list”."));
        return ExitCode::FAILURE;
    }
    glib::set_application_name(&gettext("Dormouse"));
    gtk::Window::set_default_icon_name(APP_ID);
    let app = adw::Application::new(Some(APP_ID), gio::ApplicationFlags::HANDLES_OPEN);
    let options = glib::OptionFlags::NONE;
    let told = gettext("Start without a window");
    app.add_main_option(BACKGROUND, glib::Char::from(b'b'), options, glib::OptionArg::None, &told, None);
    app.connect_handle_local_options(local_options);
    RelmApp::<app::Msg>::from_app(app.clone()).visible_on_activate(false).run::<app::App>(app);
    ExitCode::SUCCESS
}

/// Where `make install` puts translations, beside the folder of the program; elsewhere the system's.
fn translate() {
    let program = std::env::current_exe().ok();
    let beside = program.as_deref().and_then(|program| Some(program.parent()?.parent()?.join("share/locale")));
    let folder = beside.filter(|folder| folder.is_dir()).unwrap_or_else(|| PathBuf::from("/usr/share/locale"));
    // Without translations the app speaks English.
    let _ = (bindtextdomain(DOMAIN, folder), bind_textdomain_codeset(DOMAIN, "UTF-8"), textdomain(DOMAIN));
}

/// In the background the app shows no window until it is activated again; where it runs already there is nothing to do.
fn local_options(app: &adw::Application, options: &glib::VariantDict) -> std::ops::ControlFlow<GlibExit> {
    if options.contains(BACKGROUND) {
        if app.register(gio::Cancellable::NONE).is_err() {
            return std::ops::ControlFlow::Break(GlibExit::FAILURE);
        }
        if app.is_remote() {
            return std::ops::ControlFlow::Break(GlibExit::SUCCESS);
        }
        app.activate_action(actions::STAY, None);
    }
    std::ops::ControlFlow::Continue(())
}
