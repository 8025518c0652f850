//! The page *Running*: the groups, and whether each can be frozen.

mod list;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;
use relm4::prelude::*;

use self::list::List;
use super::Wish;
use crate::bus::{Ask, Bus, Job, News, Service, Trouble, TroubleKind};
use crate::model::groups::{Groups, Sort};
use crate::model::verdicts::Verdicts;
use crate::rows::group::Shown;
use crate::{accessible, is_own, say};

/// The page.
#[derive(Debug)]
pub struct Running {
    bus: Bus,
    service: Service,
    groups: Groups,
    verdicts: Verdicts,
    /// What is being done, by group.
    jobs: HashMap<String, Arc<Job>>,
    /// Whether the groups have been told since the service is there.
    is_told: bool,
    trouble: Option<Trouble>,
    everybody: bool,
    list: List,
    /// Since when rows have been at rest, while it is still to be seen which of them are in view.
    moved: Option<Instant>,
}

/// What happened to it.
#[derive(Debug)]
pub enum Msg {
    /// There are news.
    Heard(News),
    /// Other words are searched.
    Searched(String),
    /// Another order is wanted.
    Sorted(Sort),
    /// Groups of all users are wanted, or not.
    Everybody(bool),
    /// A freeze would say other things from now on.
    JudgeAnew,
    /// A group got a row.
    Seen(String),
    /// A group has no row any more.
    Left(String),
    /// Other rows are in view.
    Moved,
    /// The rows have been at rest for a moment.
    Settled,
    /// A row was activated.
    Activated(u32),
    /// A button was pressed.
    Wished(Wish),
}

#[relm4::component(pub)]
impl SimpleComponent for Running {
    type Init = (Bus, Sort, bool);
    type Input = Msg;
    type Output = Wish;

    view! {
        gtk::Stack {
            set_vhomogeneous: false,
            set_transition_type: gtk::StackTransitionType::Crossfade,
            add_named[Some("list")] = &gtk::ScrolledWindow {
                set_hscrollbar_policy: gtk::PolicyType::Never,
                adw::ClampScrollable {
                    set_maximum_size: 860,
                    set_child: Some(model.list.widget()),
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
                set_description: Some(&gettext("Dormouse freezes and wakes programs through a service of the system, which is not installed here. Install it with this command:")),
                #[wrap(Some)]
                set_child = &gtk::Box {
                    set_orientation: gtk::Orientation::Vertical,
                    set_spacing: 18,
                    gtk::Box {
                        set_halign: gtk::Align::Center,
                        set_spacing: 6,
                        #[name = "command"]
                        gtk::Label {
                            set_label: INSTALL,
                            set_selectable: true,
                            add_css_class: "monospace",
                            add_css_class: "command",
                        },
                        #[name = "copy"]
                        gtk::Button {
                            set_icon_name: "edit-copy-symbolic",
                            set_tooltip_text: Some(&gettext("Copy")),
                            set_valign: gtk::Align::Center,
                            add_css_class: "flat",
                            connect_clicked => |button| button.clipboard().set_text(INSTALL),
                        },
                    },
                    gtk::Button {
                        set_label: &gettext("Look Again"),
                        set_halign: gtk::Align::Center,
                        add_css_class: "pill",
                        connect_clicked[sender] => move |_| sender.input(Msg::Wished(Wish::Refresh)),
                    },
                },
            },
            add_named[Some("trouble")] = &adw::StatusPage {
                set_icon_name: Some("dialog-error-symbolic"),
                set_title: &gettext("The Groups Cannot Be Listed"),
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
                set_title: &gettext("Nothing Runs Here"),
                set_description: Some(&gettext("Programs that you start appear here.")),
            },
            add_named[Some("nothing")] = &adw::StatusPage {
                set_icon_name: Some("system-search-symbolic"),
                set_title: &gettext("No Group Found"),
                set_description: Some(&gettext("Try the name of a program or the number of a process.")),
            },
            #[watch]
            set_visible_child_name: model.face(),
        }
    }

    fn init(
        (bus, sort, everybody): Self::Init,
        root: Self::Root,
        sender: ComponentSender<Self>,
    ) -> ComponentParts<Self> {
        let mut groups = Groups::default();
        groups.sort(sort);
        let model = Self {
            bus,
            service: Service::default(),
            groups,
            verdicts: Verdicts::default(),
            jobs: HashMap::new(),
            is_told: false,
            trouble: None,
            everybody,
            list: List::new(sender.input_sender()),
            moved: None,
        };
        let widgets = view_output!();
        accessible::name(&widgets.copy, &gettext("Copy the command"));
        ComponentParts { model, widgets }
    }

    fn update(&mut self, message: Msg, sender: ComponentSender<Self>) {
        match message {
            Msg::Heard(news) => self.heard(news),
            Msg::Searched(words) => {
                self.groups.search(&words);
                self.reorder();
            }
            Msg::Sorted(sort) => {
                self.groups.sort(sort);
                self.reorder();
            }
            Msg::Everybody(everybody) => {
                self.everybody = everybody;
                self.bus.ask(Ask::Everybody(everybody));
            }
            Msg::JudgeAnew => {
                self.verdicts.clear();
                self.settle_soon(&sender);
            }
            Msg::Seen(id) => {
                self.show(&id);
                self.settle_soon(&sender);
            }
            Msg::Moved => self.settle_soon(&sender),
            Msg::Settled => self.settle(&sender),
            Msg::Left(id) => self.verdicts.leave(&id),
            Msg::Activated(place) => {
                if let Some(id) = self.list.at(place) {
                    let _ = sender.output(Wish::Open(id));
                }
            }
            Msg::Wished(wish) => {
                let _ = sender.output(wish);
            }
        }
    }
}

/// What installs the service on Debian and Ubuntu.
const INSTALL: &str = "sudo apt install dormouse";

/// Rows that have not moved for so long are at rest.
const REST: Duration = Duration::from_millis(120);

fn settle_after(rest: Duration, sender: &ComponentSender<Running>) {
    let settled = sender.input_sender().clone();
    gtk::glib::timeout_add_local_once(rest, move || settled.emit(Msg::Settled));
}

impl Running {
    /// Which of its faces the page shows.
    fn face(&self) -> &'static str {
        match self.service {
            Service::Missing => "missing",
            Service::There { .. } if self.trouble.is_some() => "trouble",
            Service::There { .. } if self.is_told => match self.list.is_empty() {
                false => "list",
                true if self.groups.is_searched() && !self.groups.is_empty() => "nothing",
                true => "empty",
            },
            Service::Sought | Service::There { .. } => "sought",
        }
    }

    fn heard(&mut self, news: News) {
        match news {
            News::Service(service) => {
                self.service = service;
                self.is_told = false;
                self.jobs.clear();
                self.verdicts.clear();
            }
            News::Groups(groups) => {
                self.is_told = true;
                self.trouble = None;
                self.groups.replace(&groups);
                self.reorder();
                self.list.bound().iter().for_each(|id| self.look_again(id));
            }
            News::NoGroups(trouble) if trouble.kind == TroubleKind::NotAuthorized && self.everybody => {
                // Whoever does not authenticate sees what is theirs.
                self.bus.ask(Ask::Everybody(false));
            }
            News::NoGroups(trouble) => self.trouble = Some(trouble),
            News::Changed { groups, gone } => {
                self.groups.change(&groups, &gone);
                gone.iter().for_each(|id| self.verdicts.forget(id));
                // While one looks at it, the list does not jump about for some bytes more.
                if !gone.is_empty() || groups.iter().any(|group| !self.list.has(&group.id)) {
                    self.reorder();
                }
                groups.iter().for_each(|group| self.look_again(&group.id));
            }
            News::Verdict { group, answer } => {
                self.verdicts.answer(&group, answer.map_err(|trouble| trouble.sentence));
                self.show(&group);
            }
            News::Paused { group, paused, answer: Ok(()) } => {
                self.groups.set_paused(&group, paused);
                self.show(&group);
            }
            News::Job(job) => {
                let subject = job.subject.clone();
                if job.runs() {
                    self.jobs.insert(subject.clone(), job);
                } else {
                    self.jobs.remove(&subject);
                    self.verdicts.forget(&subject);
                    self.look_again(&subject);
                }
                self.show(&subject);
            }
            _ => {}
        }
        self.ask_verdicts();
    }

    /// Whoever scrolls by is not asked about: each move begins the rest anew.
    fn settle_soon(&mut self, sender: &ComponentSender<Self>) {
        if self.moved.replace(Instant::now()).is_none() {
            settle_after(REST, sender);
        }
    }

    /// Asks for the verdicts on the groups in view, and for no others.
    fn settle(&mut self, sender: &ComponentSender<Self>) {
        let rested = self.moved.map_or(REST, |moved| moved.elapsed());
        if rested < REST {
            return settle_after(REST.saturating_sub(rested), sender);
        }
        self.moved = None;
        if !self.list.is_laid_out() {
            // A hidden list says when it is shown.
            if self.list.widget().is_mapped() && !self.list.is_empty() {
                self.settle_soon(sender);
            }
            return;
        }
        for id in self.list.bound() {
            if self.list.is_in_view(&id) {
                self.look_again(&id);
            } else {
                self.verdicts.leave(&id);
            }
        }
        self.ask_verdicts();
    }

    /// Shows a row as it is now; where its members have changed, its verdict is asked for again.
    fn look_again(&mut self, id: &str) {
        if self.list.is_in_view(id)
            && let Some(group) = self.groups.get(id).filter(|group| !is_own(group))
        {
            self.verdicts.want(group);
        }
        self.show(id);
    }

    fn show(&self, id: &str) {
        let Some(group) = self.groups.get(id) else { return };
        let lacks = match &self.service {
            Service::There { lacks, .. } => lacks.as_deref(),
            _ => None,
        };
        self.list.show(&Shown {
            group,
            known: self.verdicts.get(id),
            job: self.jobs.get(id).map(AsRef::as_ref),
            own: is_own(group),
            lacks,
            says_user: self.everybody,
        });
    }

    fn reorder(&mut self) {
        let shown = self.groups.shown();
        self.list.set(shown);
        let count = self.list.len();
        accessible::describe(self.list.widget(), &say::counted("one group", "{count} groups", count));
    }

    fn ask_verdicts(&mut self) {
        while let Some(group) = self.verdicts.next() {
            self.bus.ask(Ask::Verdict(group));
        }
    }
}
