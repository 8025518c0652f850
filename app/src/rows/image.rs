//! The row of an image: icon, name, when and how large, and a button that wakes it, or why it cannot be woken.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use dormouse_wire::Problem;
use dormouse_wire::dbus::Sleeping;
use gettextrs::gettext;
use relm4::gtk::pango;
use relm4::gtk::prelude::*;
use relm4::prelude::*;

use crate::bus::Job;
use crate::pages::Wish;
use crate::widgets::{icon, progress};
use crate::{accessible, say};

/// All there is to show of an image.
#[derive(Debug)]
pub struct Shown<'a> {
    /// The image.
    pub image: &'a Sleeping,
    /// What stands in the way of waking it.
    pub problems: &'a [Problem],
    /// What is being done with it.
    pub job: Option<&'a Job>,
    /// Why nothing can be woken here.
    pub lacks: Option<&'a str>,
}

/// A row.
#[derive(Debug)]
pub struct ImageRow {
    root: gtk::ListBoxRow,
    icon: gtk::Image,
    name: gtk::Label,
    facts: gtk::Label,
    why: gtk::Label,
    bar: gtk::ProgressBar,
    wake: gtk::Button,
    cancel: gtk::Button,
    wish: Rc<RefCell<Option<Wish>>>,
}

impl ImageRow {
    /// A row that shows nothing yet, and says what its buttons are pressed for.
    pub fn new(wished: impl Fn(Wish) + Clone + 'static) -> Self {
        relm4::view! {
            root = gtk::ListBoxRow {
                set_activatable: true,
                gtk::Box {
                    set_spacing: 12,
                    set_margin_all: 12,
                    #[name = "icon"]
                    gtk::Image { set_pixel_size: 32 },
                    gtk::Box {
                        set_orientation: gtk::Orientation::Vertical,
                        set_valign: gtk::Align::Center,
                        set_hexpand: true,
                        set_spacing: 3,
                        #[name = "name"]
                        gtk::Label { set_xalign: 0.0, set_ellipsize: pango::EllipsizeMode::End },
                        #[name = "facts"]
                        gtk::Label {
                            set_xalign: 0.0,
                            set_ellipsize: pango::EllipsizeMode::End,
                            add_css_class: "caption",
                            add_css_class: "dim-label",
                            add_css_class: "numeric",
                        },
                        #[name = "why"]
                        gtk::Label {
                            set_xalign: 0.0,
                            set_wrap: true,
                            set_wrap_mode: pango::WrapMode::WordChar,
                            set_natural_wrap_mode: gtk::NaturalWrapMode::None,
                            add_css_class: "caption",
                            add_css_class: "error",
                        },
                        #[name = "bar"]
                        gtk::ProgressBar { set_visible: false, add_css_class: "row-progress" },
                    },
                    #[name = "wake"]
                    gtk::Button { set_label: &gettext("Wake Up"), set_valign: gtk::Align::Center },
                    #[name = "cancel"]
                    gtk::Button {
                        set_icon_name: "process-stop-symbolic",
                        set_tooltip_text: Some(&gettext("Cancel")),
                        set_valign: gtk::Align::Center,
                        add_css_class: "flat",
                        add_css_class: "circular",
                    },
                },
            }
        }
        let wish = Rc::new(RefCell::new(None::<Wish>));
        for button in [&wake, &cancel] {
            let (pressed, wished) = (wish.clone(), wished.clone());
            button.connect_clicked(move |_| {
                if let Some(wish) = pressed.borrow().clone() {
                    wished(wish);
                }
            });
        }
        Self { root, icon, name, facts, why, bar, wake, cancel, wish }
    }

    /// Its widget.
    pub fn widget(&self) -> &gtk::ListBoxRow {
        &self.root
    }

    /// Shows an image.
    pub fn show(&self, shown: &Shown<'_>) {
        let Shown { image, problems, job, lacks } = shown;
        icon::show(&self.icon, image.icon.as_deref());
        self.name.set_label(&image.name);
        self.facts.set_label(&job.map_or_else(|| facts(image), progress::words));
        let why = problems.iter().find(|problem| say::blocks(problem)).filter(|_| job.is_none() && !image.awake);
        self.why.set_label(&why.map(|problem| say::sentence(&problem.what)).unwrap_or_default());
        self.why.set_visible(why.is_some());
        progress::show(&self.bar, *job);
        self.cancel.set_visible(job.is_some());
        self.wake.set_visible(job.is_none() && !image.awake);
        // About all else the person is asked then.
        self.wake.set_sensitive(!problems.iter().any(say::is_final) && lacks.is_none());
        self.wake.set_tooltip_text(*lacks);
        self.wish.replace(Some(match job {
            Some(job) => Wish::Cancel(job.id.clone()),
            None => Wish::Wake(image.id.clone()),
        }));
        let named = |sentence: &str| say::with(sentence, &[("name", &image.name)]);
        accessible::name(&self.wake, &named(&gettext("Wake up {name}")));
        accessible::name(&self.cancel, &named(&gettext("Cancel {name}")));
        accessible::name(&self.root, &format!("{}, {}", image.name, self.facts.label()));
    }
}

/// When, how large, and where from.
pub fn facts(image: &Sleeping) -> String {
    let mut facts = Vec::new();
    if image.awake {
        facts.push(gettext("Awake"));
    }
    facts.push(say::when(image.frozen, now()));
    facts.push(say::size(image.size));
    facts.extend(image.machine.clone());
    facts.join(" · ")
}

/// The time, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}
