//! The icon in the tray, and its menu: the running groups with their verdict, and the images. It works without the window.
//!
//! StatusNotifierItem, over a connection of its own. Where no desktop shows trays, it waits for one that does.

use gettextrs::gettext;
use ksni::menu::{StandardItem, SubMenu};
use ksni::{MenuItem, OfflineReason, TrayMethods};
use relm4::Sender;
use tokio::sync::watch;

use crate::APP_ID;
use crate::app::Msg;
use crate::model::overview::Overview;
use crate::pages::Wish;
use crate::{is_own, say};

/// More than this is no menu any more.
const MOST: usize = 20;

/// The icon. It leaves when this is dropped.
#[derive(Debug)]
pub struct Tray(watch::Sender<Contents>);

/// What the menu holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Contents {
    groups: Vec<Entry>,
    images: Vec<Entry>,
}

/// An entry of a menu.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    id: String,
    label: String,
    enabled: bool,
}

impl Tray {
    /// Puts the icon into the tray, as soon as there is one.
    pub fn start(told: &Sender<Msg>) -> Self {
        let (sender, mut contents) = watch::channel(Contents::default());
        let icon = Icon { contents: Contents::default(), told: told.clone() };
        relm4::spawn(async move {
            // A name of its own on the bus is what some trays stumble over, and a sandbox does not give it.
            let shown = icon.assume_sni_available(true).disable_dbus_name(true).spawn().await;
            // Without a bus there is no tray, and the window works as well.
            let Ok(shown) = shown else { return };
            while contents.changed().await.is_ok() {
                let fresh = contents.borrow_and_update().clone();
                shown.update(|icon| icon.contents = fresh).await;
            }
            shown.shutdown().await;
        });
        Self(sender)
    }

    /// The menu holds this from now on.
    pub fn show(&self, overview: &Overview) {
        let fresh = contents(overview);
        self.0.send_if_modified(|old| {
            let is_other = *old != fresh;
            *old = fresh;
            is_other
        });
    }
}

/// The groups that a person would look for, and the images that can be woken.
fn contents(overview: &Overview) -> Contents {
    let mut groups: Vec<_> = overview.groups.values().filter(|group| !group.ended && !is_own(group)).collect();
    groups.sort_by_cached_key(|group| (group.kind, group.name.to_lowercase()));
    let group = |group: &&dormouse_wire::Listed| {
        let verdict = overview.verdicts.get(&group.id).map(say::verdict_word);
        let label = match verdict {
            Some(verdict) => format!("{} — {verdict}", group.name),
            None => group.name.clone(),
        };
        Entry { id: group.id.clone(), label, enabled: true }
    };
    let image = |image: &dormouse_wire::dbus::Sleeping| Entry {
        id: image.id.clone(),
        label: image.name.clone(),
        enabled: !overview.images.problems(&image.id).iter().any(say::blocks),
    };
    Contents {
        groups: groups.iter().take(MOST).map(group).collect(),
        images: overview.images.shown().filter(|image| !image.awake).take(MOST).map(image).collect(),
    }
}

/// What the bus asks.
struct Icon {
    contents: Contents,
    told: Sender<Msg>,
}

impl Icon {
    fn tell(&self, message: Msg) {
        // After the end of the app nobody listens.
        let _ = self.told.send(message);
    }
}

impl ksni::Tray for Icon {
    const MENU_ON_ACTIVATE: bool = false;

    fn id(&self) -> String {
        APP_ID.to_owned()
    }

    fn title(&self) -> String {
        gettext("Dormouse")
    }

    fn icon_name(&self) -> String {
        format!("{APP_ID}-symbolic")
    }

    fn activate(&mut self, _x: i32, _y: i32) {
        self.tell(Msg::Wanted);
    }

    fn menu_about_to_show(&mut self) {
        self.tell(Msg::TrayOpened);
    }

    fn watcher_online(&self) {
        self.tell(Msg::TrayShows(true));
    }

    fn watcher_offline(&self, _reason: OfflineReason) -> bool {
        self.tell(Msg::TrayShows(false));
        true
    }

    fn menu(&self) -> Vec<MenuItem<Self>> {
        vec![
            entries(gettext("Freeze Group"), &self.contents.groups, Wish::Freeze),
            entries(gettext("Wake Up"), &self.contents.images, Wish::Wake),
            MenuItem::Separator,
            plain(gettext("Open Dormouse"), || Msg::Wanted),
            plain(gettext("Quit"), || Msg::Quit),
        ]
    }
}

fn plain(label: String, message: fn() -> Msg) -> MenuItem<Icon> {
    let activate = Box::new(move |icon: &mut Icon| icon.tell(message()));
    StandardItem { label: plain_text(&label), activate, ..StandardItem::default() }.into()
}

fn entries(label: String, entries: &[Entry], wish: fn(String) -> Wish) -> MenuItem<Icon> {
    let entry = |entry: &Entry| {
        let id = entry.id.clone();
        let activate = Box::new(move |icon: &mut Icon| icon.tell(Msg::Wished(wish(id.clone()))));
        StandardItem { label: plain_text(&entry.label), enabled: entry.enabled, activate, ..StandardItem::default() }
            .into()
    };
    SubMenu {
        label: plain_text(&label),
        enabled: !entries.is_empty(),
        submenu: entries.iter().map(entry).collect(),
        ..SubMenu::default()
    }
    .into()
}

/// In labels of these menus an underscore marks a key.
fn plain_text(label: &str) -> String {
    label.replace('_', "__")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dormouse_wire::{GroupKind, Listed, Verdict};

    use super::*;
    use crate::bus::News;
    use crate::model::groups::tests::group;

    #[test]
    fn apps_come_first_and_each_has_its_verdict() {
        let mut overview = Overview::default();
        let app = Listed { kind: GroupKind::App, ..group("2", "Zebra", 0) };
        let ended = Listed { ended: true, ..group("3", "Gone", 0) };
        overview.hear(&News::Groups(Arc::new(vec![group("1", "alpha", 0), app, ended])));
        overview.hear(&News::Verdict { group: "2".to_owned(), answer: Ok(Verdict::Freezable) });
        let labels: Vec<String> = contents(&overview).groups.into_iter().map(|entry| entry.label).collect();
        assert_eq!(labels, ["Zebra — Freezable", "alpha"]);
    }
}
