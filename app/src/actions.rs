//! What can be done with the app by name: from its menu, by a key, from a notification, and over the bus by whoever likes.

use relm4::Sender;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk::{gio, glib};

use crate::app::Msg;
use crate::pages::Wish;

/// Keeps the app in the background.
pub const STAY: &str = "stay-in-background";

/// An action that needs nothing: its name, its keys, what has happened when it is called.
type Plain = (&'static str, &'static [&'static str], fn() -> Msg);
/// One that is told a word.
type Named = (&'static str, fn(String) -> Msg);

/// Those that need nothing.
const PLAIN: [Plain; 12] = [
    ("show-running", &["<Alt>1"], || Msg::Show("running")),
    ("show-asleep", &["<Alt>2"], || Msg::Show("asleep")),
    ("wake-last", &[], || Msg::WakeLast),
    ("search", &["<Control>f"], || Msg::Search),
    ("refresh", &["F5", "<Control>r"], || Msg::Wished(Wish::Refresh)),
    ("preferences", &["<Control>comma"], || Msg::Preferences),
    ("shortcuts", &["<Control>question"], || Msg::Shortcuts),
    ("about", &[], || Msg::About),
    ("back", &["<Alt>Left"], || Msg::Back),
    ("close", &["<Control>w"], || Msg::CloseAsked),
    ("quit", &["<Control>q"], || Msg::Quit),
    (STAY, &[], || Msg::Background),
];

/// Those that are told which group or image.
const NAMED: [Named; 7] = [
    ("open", |group| Msg::Wished(Wish::Open(group))),
    ("open-image", |image| Msg::Wished(Wish::OpenImage(image))),
    ("freeze", |group| Msg::Wished(Wish::Freeze(group))),
    ("pause", |group| Msg::Wished(Wish::Pause(group))),
    ("resume", |group| Msg::Wished(Wish::Resume(group))),
    ("wake", |image| Msg::Wished(Wish::Wake(image))),
    ("sort", Msg::Sorted),
];

/// Adds them to the app.
pub fn install(app: &adw::Application, sort: &str, sender: &Sender<Msg>) {
    for (name, keys, message) in PLAIN {
        let action = gio::SimpleAction::new(name, None);
        let sender = sender.clone();
        action.connect_activate(move |_, _| sender.emit(message()));
        app.add_action(&action);
        app.set_accels_for_action(&format!("app.{name}"), keys);
    }
    for (name, message) in NAMED {
        let action = match name {
            "sort" => gio::SimpleAction::new_stateful(name, Some(glib::VariantTy::STRING), &sort.to_variant()),
            _ => gio::SimpleAction::new(name, Some(glib::VariantTy::STRING)),
        };
        let sender = sender.clone();
        action.connect_activate(move |action, value| {
            let Some(value) = value.and_then(glib::Variant::str) else { return };
            if action.state().is_some() {
                action.set_state(&value.to_variant());
            }
            sender.emit(message(value.to_owned()));
        });
        app.add_action(&action);
    }
}
