//! The row of a group: icon, name, what it has, the verdict on it, and the one thing that can be done at once.

use std::cell::RefCell;
use std::rc::Rc;

use dormouse_wire::Listed;
use gettextrs::gettext;
use relm4::gtk;
use relm4::gtk::pango;
use relm4::gtk::prelude::*;

use crate::bus::Job;
use crate::model::verdicts::Known;
use crate::pages::Wish;
use crate::widgets::badge::Badge;
use crate::widgets::{icon, progress};
use crate::{accessible, say};

/// All there is to show of a group.
#[derive(Debug)]
pub struct Shown<'a> {
    /// The group.
    pub group: &'a Listed,
    /// What is known of its verdict.
    pub known: Option<&'a Known>,
    /// What is being done with it.
    pub job: Option<&'a Job>,
    /// Whether it is Dormouse itself.
    pub own: bool,
    /// Why nothing can be frozen here.
    pub lacks: Option<&'a str>,
    /// Whether to say whose it is.
    pub says_user: bool,
}

/// A row. Rows are used again for other groups.
#[derive(Clone, Debug)]
pub struct GroupRow {
    root: gtk::Box,
    icon: gtk::Image,
    name: gtk::Label,
    facts: gtk::Label,
    paused: gtk::Label,
    badge: Badge,
    bar: gtk::ProgressBar,
    button: gtk::Button,
    /// What the button does now.
    wish: Rc<RefCell<Option<Wish>>>,
    /// What the row looks like now.
    drawn: Rc<RefCell<Option<Drawn>>>,
}

/// What a row without a job looks like. It is drawn anew only when this has changed: each change of a widget costs a frame, and a
/// word on the bus of accessibility.
#[derive(Debug, PartialEq, Eq)]
struct Drawn {
    id: String,
    icon: Option<String>,
    name: String,
    facts: String,
    paused: bool,
    known: Option<Known>,
    own: bool,
    lacks: Option<String>,
}

impl Drawn {
    fn of(shown: &Shown<'_>) -> Self {
        let group = shown.group;
        Self {
            id: group.id.clone(),
            icon: group.icon.clone(),
            name: group.name.clone(),
            facts: facts(shown),
            paused: group.paused,
            known: shown.known.cloned(),
            own: shown.own,
            lacks: shown.lacks.map(ToOwned::to_owned),
        }
    }
}

impl GroupRow {
    /// A row that shows nothing yet, and says what its button is pressed for.
    pub fn new(wished: impl Fn(Wish) + 'static) -> Self {
        let badge = Badge::new();
        relm4::view! {
            root = gtk::Box {
                set_spacing: 12,
                #[name = "icon"]
                gtk::Image { set_pixel_size: 32 },
                gtk::Box {
                    set_orientation: gtk::Orientation::Vertical,
                    set_valign: gtk::Align::Center,
                    set_hexpand: true,
                    set_spacing: 3,
                    #[name = "name"]
                    gtk::Label { set_xalign: 0.0, set_ellipsize: pango::EllipsizeMode::End },
                    gtk::Box {
                        set_spacing: 6,
                        #[name = "paused"]
                        gtk::Label { set_label: &gettext("Paused"), add_css_class: "caption", add_css_class: "paused-mark" },
                        #[name = "facts"]
                        gtk::Label {
                            set_xalign: 0.0,
                            set_ellipsize: pango::EllipsizeMode::End,
                            add_css_class: "caption",
                            add_css_class: "dim-label",
                            add_css_class: "numeric",
                        },
                    },
                    #[name = "bar"]
                    gtk::ProgressBar { set_visible: false, add_css_class: "row-progress" },
                },
                append: badge.widget(),
                #[name = "button"]
                gtk::Button { set_valign: gtk::Align::Center, add_css_class: "flat", add_css_class: "circular" },
            }
        }
        let wish = Rc::new(RefCell::new(None::<Wish>));
        let pressed = wish.clone();
        button.connect_clicked(move |_| {
            if let Some(wish) = pressed.borrow().clone() {
                wished(wish);
            }
        });
        Self { root, icon, name, facts, paused, badge, bar, button, wish, drawn: Rc::default() }
    }

    /// Its widget.
    pub fn widget(&self) -> &gtk::Box {
        &self.root
    }

    /// Shows a group.
    pub fn show(&self, shown: &Shown<'_>) {
        let Shown { group, known, job, own, .. } = shown;
        // A job moves on with every look at it.
        let fresh = job.is_none().then(|| Drawn::of(shown));
        if fresh.is_some() && *self.drawn.borrow() == fresh {
            return;
        }
        self.drawn.replace(fresh);
        icon::show(&self.icon, group.icon.as_deref());
        self.name.set_label(&group.name);
        self.paused.set_visible(group.paused && job.is_none());
        self.facts.set_label(&job.map_or_else(|| facts(shown), progress::words));
        progress::show(&self.bar, *job);
        self.badge.show(known.filter(|_| !own && job.is_none()));
        self.offer(shown);
        accessible::name(&self.root, &format!("{}, {}", group.name, self.facts.label()));
    }

    /// What the button is for now.
    fn offer(&self, shown: &Shown<'_>) {
        let (group, id) = (shown.group, shown.group.id.clone());
        let (wish, icon, what) = match shown.job {
            Some(job) => (Wish::Cancel(job.id.clone()), "process-stop-symbolic", gettext("Cancel")),
            None if group.paused => (Wish::Resume(id), "media-playback-start-symbolic", gettext("Resume")),
            None => (Wish::Freeze(id), "weather-snow-symbolic", gettext("Freeze")),
        };
        let lacks = shown.lacks.filter(|_| matches!(wish, Wish::Freeze(_)));
        self.button.set_visible(!shown.own);
        self.button.set_sensitive(lacks.is_none());
        self.button.set_icon_name(icon);
        self.button.set_tooltip_text(Some(lacks.unwrap_or(&what)));
        let name = say::with(&gettext("{action} {name}"), &[("action", &what), ("name", &group.name)]);
        accessible::name(&self.button, &name);
        self.wish.replace(Some(wish));
    }
}

/// What a group has: processes, memory, and whose it is.
fn facts(shown: &Shown<'_>) -> String {
    let group = shown.group;
    // Where there is little room, the end is cut off.
    let mut facts: Vec<String> = group.memory.map(say::size).into_iter().collect();
    facts.push(say::counted("one process", "{count} processes", group.processes));
    facts.extend(group.user.clone().filter(|_| shown.says_user));
    if shown.own {
        facts.insert(0, gettext("Dormouse itself"));
    }
    facts.join(" · ")
}
