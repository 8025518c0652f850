//! Notifications, where no window would tell. The other side is the test: Desktop Notifications Specification.

// The macros of the bus make methods of all that answers.
#![allow(clippy::unused_self, clippy::used_underscore_binding)]

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use harness::wait::{PATIENCE, until};
use zbus::blocking::Connection;
use zbus::blocking::connection::Builder;
use zbus::zvariant::OwnedValue;

use super::done;
use super::sample::world;
use super::stage::{Scenery, Stage};

/// What is shown: the words, and the actions with their labels.
#[derive(Debug)]
struct Notice {
    id: u32,
    words: String,
    actions: Vec<String>,
}

#[derive(Debug)]
struct Desktop(Sender<Notice>, u32);

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Desktop {
    #[allow(clippy::too_many_arguments)]
    fn notify(
        &mut self,
        _app: &str,
        _replaces: u32,
        _icon: &str,
        summary: &str,
        body: &str,
        actions: Vec<String>,
        _hints: HashMap<String, OwnedValue>,
        _timeout: i32,
    ) -> u32 {
        self.1 += 1;
        let _ = self.0.send(Notice { id: self.1, words: format!("{summary}. {body}"), actions });
        self.1
    }

    fn close_notification(&self, _id: u32) {}

    fn get_capabilities(&self) -> Vec<String> {
        vec!["actions".to_owned(), "body".to_owned()]
    }

    fn get_server_information(&self) -> (String, String, String, String) {
        let [name, vendor, version, specification] = ["test", "test", "1", "1.2"].map(str::to_owned);
        (name, vendor, version, specification)
    }
}

fn desktop(address: &str) -> (Connection, Receiver<Notice>) {
    let (sender, notices) = channel();
    let served = done(Builder::address(address)).serve_at("/org/freedesktop/Notifications", Desktop(sender, 0));
    let builder = served.and_then(|builder| builder.name("org.freedesktop.Notifications"));
    (done(done(builder).build()), notices)
}

fn press(desktop: &Connection, notice: &Notice, label: &str) {
    let at = notice.actions.iter().position(|action| action == label);
    let at = at.unwrap_or_else(|| panic!("it offers no {label:?}: {notice:?}"));
    let (path, interface) = ("/org/freedesktop/Notifications", "org.freedesktop.Notifications");
    done(desktop.emit_signal(None::<&str>, path, interface, "ActionInvoked", &(notice.id, &notice.actions[at - 1])));
}

#[test]
fn without_a_window_a_notification_tells_and_undoes() {
    let mut stage = Stage::empty(Scenery::default());
    let (desktop, notices) = desktop(stage.address());
    stage.serve(world());
    stage.open(&["--background"]);
    stage.asked("list images");
    stage.call("freeze", Some("build"));
    let notice = done(notices.recv_timeout(PATIENCE));
    assert!(notice.words.contains("“Build of the kernel” sleeps"), "{notice:?}");
    // No person is as quick as the answer that gives the notification its number.
    let undone = until(PATIENCE, || {
        press(&desktop, &notice, "Undo");
        std::thread::sleep(Duration::from_millis(200));
        stage.service().asked().iter().any(|asked| asked == "thaw build.dormouse").then_some(())
    });
    assert!(undone.is_some(), "nobody asks for the thaw: {:?}", stage.service().asked());
    let notice = done(notices.recv_timeout(PATIENCE));
    assert!(notice.words.contains("is awake"), "{notice:?}");
}
