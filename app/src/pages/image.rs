//! The page of one image: what sleeps in it, where it comes from, what stands in the way of waking it, and what can be done
//! with it.

use std::sync::Arc;

use dormouse_wire::Problem;
use dormouse_wire::dbus::{JobKind, Sleeping};
use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;
use relm4::prelude::*;

use super::Wish;
use crate::bus::{Job, News, Service};
use crate::rows::{image, reason};
use crate::widgets::facts::{self, Fact};
use crate::widgets::{icon, progress};
use crate::{accessible, say};

/// The page.
#[derive(Debug, Default)]
pub struct Image {
    shown: Option<Sleeping>,
    problems: Vec<Problem>,
    job: Option<Arc<Job>>,
    lacks: Option<String>,
    place: adw::Bin,
}

/// What happened to it.
#[derive(Debug)]
pub enum Msg {
    /// This image is to be shown, with what stands in the way of waking it.
    Opened(Box<Sleeping>, Vec<Problem>),
    /// There are news.
    Heard(News),
    /// Buttons were pressed.
    Wake,
    Export,
    Delete,
    Cancel,
}

#[relm4::component(pub)]
impl SimpleComponent for Image {
    type Init = ();
    type Input = Msg;
    type Output = Wish;

    view! {
        gtk::Box {
            set_orientation: gtk::Orientation::Vertical,
            adw::HeaderBar {
                #[name = "back"]
                pack_start = &gtk::Button {
                    set_icon_name: "go-previous-symbolic",
                    set_tooltip_text: Some(&gettext("Back")),
                    set_action_name: Some("app.back"),
                },
                #[wrap(Some)]
                set_title_widget = &adw::WindowTitle {
                    #[watch]
                    set_title: model.name(),
                },
            },
            gtk::ScrolledWindow {
                set_hscrollbar_policy: gtk::PolicyType::Never,
                set_vexpand: true,
                adw::Clamp {
                    set_maximum_size: 640,
                    gtk::Box {
                        set_orientation: gtk::Orientation::Vertical,
                        set_spacing: 12,
                        set_margin_top: 24,
                        set_margin_bottom: 24,
                        set_margin_start: 12,
                        set_margin_end: 12,
                        #[name = "picture"]
                        gtk::Image { set_pixel_size: 64 },
                        gtk::Label {
                            #[watch]
                            set_label: model.name(),
                            set_wrap: true,
                            set_justify: gtk::Justification::Center,
                            add_css_class: "title-1",
                        },
                        gtk::Label {
                            #[watch]
                            set_label: &model.state(),
                            set_wrap: true,
                            set_justify: gtk::Justification::Center,
                            add_css_class: "dim-label",
                        },
                        #[name = "bar"]
                        gtk::ProgressBar { set_visible: false },
                        gtk::Box {
                            set_halign: gtk::Align::Center,
                            set_spacing: 12,
                            set_margin_top: 6,
                            set_margin_bottom: 12,
                            gtk::Button {
                                set_label: &gettext("Wake Up"),
                                add_css_class: "suggested-action",
                                add_css_class: "pill",
                                #[watch]
                                set_visible: model.job.is_none() && !model.is_awake(),
                                #[watch]
                                set_sensitive: model.can_wake(),
                                #[watch]
                                set_tooltip_text: model.lacks.as_deref(),
                                connect_clicked => Msg::Wake,
                            },
                            gtk::Button {
                                set_label: &gettext("Cancel"),
                                add_css_class: "pill",
                                #[watch]
                                set_visible: model.job.is_some(),
                                connect_clicked => Msg::Cancel,
                            },
                        },
                        append: &model.place,
                        gtk::Box {
                            set_halign: gtk::Align::Center,
                            set_spacing: 12,
                            set_margin_top: 12,
                            gtk::Button {
                                set_label: &gettext("Export…"),
                                #[watch]
                                set_sensitive: model.job.is_none(),
                                connect_clicked => Msg::Export,
                            },
                            gtk::Button {
                                set_label: &gettext("Delete"),
                                add_css_class: "destructive-action",
                                #[watch]
                                set_sensitive: model.job.is_none(),
                                connect_clicked => Msg::Delete,
                            },
                        },
                    },
                },
            },
        }
    }

    fn init((): (), root: Self::Root, sender: ComponentSender<Self>) -> ComponentParts<Self> {
        let model = Self::default();
        let widgets = view_output!();
        accessible::name(&widgets.back, &gettext("Back"));
        ComponentParts { model, widgets }
    }

    fn post_view() {
        icon::show(picture, model.shown.as_ref().and_then(|image| image.icon.as_deref()));
        progress::show(bar, model.job.as_deref());
    }

    fn update(&mut self, message: Msg, sender: ComponentSender<Self>) {
        let id = self.shown.as_ref().map(|image| image.id.clone());
        let wish = match message {
            Msg::Opened(image, problems) => {
                self.job = self.job.take().filter(|job| job.subject == image.id);
                (self.shown, self.problems) = (Some(*image), problems);
                return self.fill();
            }
            Msg::Heard(news) => return self.heard(news),
            Msg::Wake => id.map(Wish::Wake),
            Msg::Export => id.map(Wish::Export),
            Msg::Delete => id.map(Wish::Delete),
            Msg::Cancel => self.job.as_ref().map(|job| Wish::Cancel(job.id.clone())),
        };
        if let Some(wish) = wish {
            let _ = sender.output(wish);
        }
    }
}

impl Image {
    fn name(&self) -> &str {
        self.shown.as_ref().map(|image| image.name.as_str()).unwrap_or_default()
    }

    fn is_awake(&self) -> bool {
        self.shown.as_ref().is_some_and(|image| image.awake)
    }

    fn can_wake(&self) -> bool {
        self.lacks.is_none() && !self.problems.iter().any(say::is_final)
    }

    /// What is being done with it, else how it is.
    fn state(&self) -> String {
        match (&self.job, &self.shown) {
            (Some(job), _) => progress::words(job),
            (None, Some(image)) => image::facts(image),
            (None, None) => String::new(),
        }
    }

    fn heard(&mut self, news: News) {
        let id = self.shown.as_ref().map(|image| image.id.as_str()).unwrap_or_default();
        match news {
            News::Service(service) => {
                self.job = None;
                self.lacks = if let Service::There { lacks, .. } = service { lacks } else { None };
            }
            News::Images(images) => {
                if let Some(image) = images.iter().find(|image| image.id == id) {
                    self.shown = Some(image.clone());
                    self.fill();
                }
            }
            News::Preflight { image, answer: Ok(problems) } if image == id => {
                self.problems = problems.to_vec();
                self.fill();
            }
            News::Job(job) if job.subject == id && job.kind != JobKind::Freeze => {
                self.job = Some(job).filter(|job| job.runs());
            }
            _ => {}
        }
    }

    /// Shows reasons and facts anew.
    fn fill(&self) {
        let Some(image) = &self.shown else { return };
        let content = gtk::Box::new(gtk::Orientation::Vertical, 18);
        let list = gtk::ListBox::builder().selection_mode(gtk::SelectionMode::None).build();
        list.add_css_class("boxed-list");
        accessible::name(&list, &gettext("Reasons"));
        for problem in self.problems.iter().chain(&image.losses) {
            list.append(&reason::row(problem, None::<fn()>));
        }
        if list.row_at_index(0).is_some() {
            content.append(&list);
        }
        let card = facts::grid(&origin(image));
        card.set_margin_all(12);
        let frame = adw::Bin::builder().child(&card).build();
        frame.add_css_class("card");
        content.append(&frame);
        self.place.set_child(Some(&content));
    }
}

/// What sleeps there, and where it comes from.
fn origin(image: &Sleeping) -> Vec<Fact> {
    let mut facts = Vec::new();
    let names: Vec<String> = image.processes.iter().map(ToString::to_string).collect();
    if !names.is_empty() {
        facts.push((gettext("Processes"), names.join("\n")));
    }
    facts.extend(image.machine.clone().map(|machine| (gettext("Machine"), machine)));
    facts.extend(image.kernel.clone().map(|kernel| (gettext("Kernel"), kernel)));
    facts.push((gettext("Size"), say::size(image.size)));
    facts.push((gettext("File"), image.id.clone()));
    facts
}
