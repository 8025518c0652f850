//! The page *Asleep*: the images, the latest first.

use std::collections::HashMap;
use std::sync::Arc;

use dormouse_wire::dbus::JobKind;
use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;
use relm4::prelude::*;

use super::Wish;
use crate::bus::{Ask, Bus, Job, News, Service, Trouble};
use crate::model::images::Images;
use crate::rows::image::{ImageRow, Shown};
use crate::{accessible, say};

/// The page.
#[derive(Debug)]
pub struct Asleep {
    bus: Bus,
    lacks: Option<String>,
    images: Images,
    /// What is being done with images, by their ids.
    jobs: HashMap<String, Arc<Job>>,
    /// What is being imported.
    imports: Vec<Arc<Job>>,
    is_told: bool,
    trouble: Option<Trouble>,
    is_missing: bool,
    rows: Vec<(String, ImageRow)>,
    list: gtk::ListBox,
}

/// What happened to it.
#[derive(Debug)]
pub enum Msg {
    /// There are news.
    Heard(News),
    /// One is out of sight from now on.
    Doomed(String),
    /// One is in sight again.
    Spared(String),
    /// A row was activated.
    Activated(i32),
    /// A button was pressed.
    Wished(Wish),
}

#[relm4::component(pub)]
impl SimpleComponent for Asleep {
    type Init = Bus;
    type Input = Msg;
    type Output = Wish;

    view! {
        gtk::Stack {
            set_vhomogeneous: false,
            set_transition_type: gtk::StackTransitionType::Crossfade,
            add_named[Some("list")] = &gtk::ScrolledWindow {
                set_hscrollbar_policy: gtk::PolicyType::Never,
                adw::Clamp {
                    set_maximum_size: 860,
                    gtk::Box {
                        set_orientation: gtk::Orientation::Vertical,
                        set_spacing: 12,
                        set_margin_all: 12,
                        gtk::Box {
                            #[watch]
                            set_visible: !model.imports.is_empty(),
                            set_spacing: 12,
                            gtk::Spinner {
                                #[watch]
                                set_spinning: !model.imports.is_empty(),
                            },
                            gtk::Label {
                                #[watch]
                                set_label: &model.importing(),
                                set_xalign: 0.0,
                                set_wrap: true,
                            },
                        },
                        append: &model.list,
                    },
                },
            },
            add_named[Some("sought")] = &adw::StatusPage {
                set_title: &gettext("Looking Around"),
                gtk::Spinner {
                    // It would turn, and cost, out of sight too.
                    #[watch]
                    set_spinning: model.face() == "sought",
                    set_halign: gtk::Align::Center,
                    set_size_request: (32, 32),
                },
            },
            add_named[Some("missing")] = &adw::StatusPage {
                set_icon_name: Some("network-offline-symbolic"),
                set_title: &gettext("The Service Is Missing"),
                set_description: Some(&gettext("Images are kept by the service of Dormouse. The page of what runs says how to install it.")),
            },
            add_named[Some("trouble")] = &adw::StatusPage {
                set_icon_name: Some("dialog-error-symbolic"),
                set_title: &gettext("The Images Cannot Be Listed"),
                #[watch]
                set_description: model.trouble.as_ref().map(|trouble| trouble.sentence.as_str()),
                gtk::Button {
                    set_label: &gettext("Try Again"),
                    set_halign: gtk::Align::Center,
                    add_css_class: "pill",
                    connect_clicked[sender] => move |_| sender.input(Msg::Wished(Wish::Refresh)),
                },
            },
            add_named[Some("empty")] = &adw::StatusPage {
                set_icon_name: Some("weather-clear-night-symbolic"),
                set_title: &gettext("Nothing Sleeps"),
                set_description: Some(&gettext("Freeze a group, and it sleeps here until you wake it up: after a reboot, too.")),
            },
            #[watch]
            set_visible_child_name: model.face(),
        }
    }

    fn init(bus: Bus, root: Self::Root, sender: ComponentSender<Self>) -> ComponentParts<Self> {
        let list = gtk::ListBox::builder().selection_mode(gtk::SelectionMode::None).valign(gtk::Align::Start).build();
        list.add_css_class("boxed-list");
        accessible::name(&list, &gettext("Images"));
        let activated = sender.input_sender().clone();
        list.connect_row_activated(move |_, row| activated.emit(Msg::Activated(row.index())));
        let model = Self {
            bus,
            lacks: None,
            images: Images::default(),
            jobs: HashMap::new(),
            imports: Vec::new(),
            is_told: false,
            trouble: None,
            is_missing: false,
            rows: Vec::new(),
            list,
        };
        let widgets = view_output!();
        ComponentParts { model, widgets }
    }

    fn update(&mut self, message: Msg, sender: ComponentSender<Self>) {
        match message {
            Msg::Heard(news) => self.heard(news, &sender),
            Msg::Doomed(id) => {
                self.images.doom(&id);
                self.refill(&sender);
            }
            Msg::Spared(id) => {
                self.images.spare(&id);
                self.refill(&sender);
            }
            Msg::Activated(place) => {
                if let Some((id, _)) = usize::try_from(place).ok().and_then(|place| self.rows.get(place)) {
                    let _ = sender.output(Wish::OpenImage(id.clone()));
                }
            }
            Msg::Wished(wish) => {
                let _ = sender.output(wish);
            }
        }
    }
}

impl Asleep {
    fn face(&self) -> &'static str {
        match () {
            () if self.is_missing => "missing",
            () if self.trouble.is_some() => "trouble",
            () if !self.is_told => "sought",
            () if self.rows.is_empty() && self.imports.is_empty() => "empty",
            () => "list",
        }
    }

    /// What is being imported, in words.
    fn importing(&self) -> String {
        let lines: Vec<String> = self
            .imports
            .iter()
            .map(|job| match job.kind {
                JobKind::Move => gettext("Moving the images…"),
                _ => say::with(&gettext("Importing “{name}”…"), &[("name", &job.subject)]),
            })
            .collect();
        lines.join("\n")
    }

    fn heard(&mut self, news: News, sender: &ComponentSender<Self>) {
        match news {
            News::Service(service) => {
                self.jobs.clear();
                self.imports.clear();
                self.is_told = false;
                self.is_missing = service == Service::Missing;
                self.lacks = if let Service::There { lacks, .. } = service { lacks } else { None };
            }
            News::Images(images) => {
                self.is_told = true;
                self.trouble = None;
                for unknown in self.images.replace(&images) {
                    self.bus.ask(Ask::Preflight(unknown));
                }
                self.refill(sender);
            }
            News::NoImages(trouble) => self.trouble = Some(trouble),
            News::Preflight { image, answer: Ok(problems) } => {
                self.images.set_problems(&image, problems);
                self.show(&image);
            }
            News::Job(job) if matches!(job.kind, JobKind::Import | JobKind::Move) => {
                self.imports.retain(|other| other.id != job.id);
                if job.runs() {
                    self.imports.push(job);
                }
            }
            News::Job(job) if job.kind != JobKind::Freeze => {
                let subject = job.subject.clone();
                if job.runs() {
                    self.jobs.insert(subject.clone(), job);
                } else {
                    self.jobs.remove(&subject);
                }
                self.show(&subject);
            }
            _ => {}
        }
    }

    fn show(&self, id: &str) {
        let row = self.rows.iter().find(|(own, _)| own == id);
        if let (Some((_, row)), Some(image)) = (row, self.images.get(id)) {
            row.show(&Shown {
                image,
                problems: &self.images.problems(id),
                job: self.jobs.get(id).map(AsRef::as_ref),
                lacks: self.lacks.as_deref(),
            });
        }
    }

    /// Rows for what is to be shown; those that stay are kept.
    fn refill(&mut self, sender: &ComponentSender<Self>) {
        let ids: Vec<String> = self.images.shown().map(|image| image.id.clone()).collect();
        let (kept, gone): (Vec<_>, Vec<_>) = self.rows.drain(..).partition(|(id, _)| ids.contains(id));
        for (_, row) in gone {
            self.list.remove(row.widget());
        }
        let mut kept: HashMap<String, ImageRow> = kept.into_iter().collect();
        for (place, id) in ids.into_iter().enumerate() {
            let place = i32::try_from(place).unwrap_or(i32::MAX);
            let row = kept.remove(&id).unwrap_or_else(|| {
                let wished = sender.input_sender().clone();
                let row = ImageRow::new(move |wish| wished.emit(Msg::Wished(wish)));
                self.list.insert(row.widget(), place);
                row
            });
            if row.widget().index() != place {
                self.list.remove(row.widget());
                self.list.insert(row.widget(), place);
            }
            self.rows.push((id.clone(), row));
            self.show(&id);
        }
    }
}
