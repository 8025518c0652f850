//! The page of one group: the verdict with its reasons, what ties it together, and its processes.

mod connections;
mod processes;
mod reasons;

use std::sync::Arc;

use dormouse_wire::{Checked, Listed, Verdict};
use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;
use relm4::prelude::*;

use self::connections::Connections;
use self::processes::Processes;
use self::reasons::Reasons;
use super::Wish;
use crate::bus::{Answer, Ask, Bus, Job, News, Service};
use crate::{accessible, is_own, say};

/// The page.
#[derive(Debug)]
pub struct Detail {
    bus: Bus,
    group: Option<Listed>,
    checked: Option<Arc<Answer<Checked>>>,
    job: Option<Arc<Job>>,
    lacks: Option<String>,
    reasons: Reasons,
    connections: Connections,
    processes: Processes,
}

/// What happened to it.
#[derive(Debug)]
pub enum Msg {
    /// This group is to be shown.
    Opened(Box<Listed>),
    /// There are news.
    Heard(News),
    /// A button was pressed.
    Freeze,
    /// A button was pressed.
    PauseOrResume,
    /// A button was pressed.
    Cancel,
    /// A button was pressed.
    Wished(Wish),
    /// More is to be known of a process.
    Asked(i32),
    /// A family of the graph is to be opened.
    FamilyOpened(String),
    /// A freeze would say other things from now on.
    JudgeAnew,
}

#[relm4::component(pub)]
impl SimpleComponent for Detail {
    type Init = Bus;
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
                #[name = "switcher"]
                #[wrap(Some)]
                set_title_widget = &adw::ViewSwitcherTitle {
                    #[watch]
                    set_title: model.name(),
                    set_stack: Some(&stack),
                },
                #[name = "freeze"]
                pack_end = &gtk::Button {
                    set_label: &gettext("Freeze"),
                    #[watch]
                    set_css_classes: model.freeze_look(),
                    #[watch]
                    set_visible: model.can_be_asked(),
                    #[watch]
                    set_sensitive: model.lacks.is_none(),
                    #[watch]
                    set_tooltip_text: model.lacks.as_deref(),
                    connect_clicked => Msg::Freeze,
                },
                #[name = "pause"]
                pack_end = &gtk::Button {
                    #[watch]
                    set_visible: model.can_be_asked(),
                    #[watch]
                    set_icon_name: if model.is_paused() { "media-playback-start-symbolic" } else { "media-playback-pause-symbolic" },
                    #[watch]
                    set_tooltip_text: Some(&model.pause_word()),
                    connect_clicked => Msg::PauseOrResume,
                },
                #[name = "cancel"]
                pack_end = &gtk::Button {
                    set_label: &gettext("Cancel"),
                    #[watch]
                    set_visible: model.job.is_some(),
                    connect_clicked => Msg::Cancel,
                },
            },
            #[name = "stack"]
            adw::ViewStack {
                set_vexpand: true,
                add_titled[Some("verdict"), &gettext("Verdict")] = model.reasons.widget() -> &gtk::ScrolledWindow {} -> {
                    set_icon_name: Some("dialog-information-symbolic"),
                },
                add_titled[Some("connections"), &gettext("Connections")] = model.connections.widget() -> &gtk::Box {} -> {
                    set_icon_name: Some("network-workgroup-symbolic"),
                },
                add_titled[Some("processes"), &gettext("Processes")] = model.processes.widget() -> &gtk::ScrolledWindow {} -> {
                    set_icon_name: Some("view-list-symbolic"),
                },
            },
            #[name = "bottom"]
            adw::ViewSwitcherBar { set_stack: Some(&stack) },
        }
    }

    fn init(bus: Bus, root: Self::Root, sender: ComponentSender<Self>) -> ComponentParts<Self> {
        let input = sender.input_sender();
        let model = Self {
            bus,
            group: None,
            checked: None,
            job: None,
            lacks: None,
            reasons: Reasons::new(),
            connections: Connections::new(input),
            processes: Processes::new(input),
        };
        let widgets = view_output!();
        let narrow = widgets.switcher.bind_property("title-visible", &widgets.bottom, "reveal");
        narrow.sync_create().build();
        accessible::name(&widgets.back, &gettext("Back"));
        accessible::name(&widgets.pause, &gettext("Pause"));
        ComponentParts { model, widgets }
    }

    fn update(&mut self, message: Msg, sender: ComponentSender<Self>) {
        let wish = match message {
            Msg::Opened(group) => return self.open(*group, &sender),
            Msg::Heard(news) => return self.heard(news, &sender),
            Msg::Asked(pid) => return self.bus.ask(Ask::Process(pid)),
            Msg::FamilyOpened(key) => return self.connections.open_family(key),
            Msg::JudgeAnew => {
                let group = self.group.as_ref().filter(|group| !is_own(group));
                return group.map_or((), |group| self.bus.ask(Ask::Check(group.id.clone())));
            }
            Msg::Freeze => self.group.as_ref().map(|group| Wish::Freeze(group.id.clone())),
            Msg::PauseOrResume => self
                .group
                .as_ref()
                .map(|group| if group.paused { Wish::Resume(group.id.clone()) } else { Wish::Pause(group.id.clone()) }),
            Msg::Cancel => self.job.as_ref().map(|job| Wish::Cancel(job.id.clone())),
            Msg::Wished(wish) => Some(wish),
        };
        if let Some(wish) = wish {
            let _ = sender.output(wish);
        }
    }
}

impl Detail {
    /// The id of the group that it shows.
    pub fn shown(&self) -> Option<&str> {
        self.group.as_ref().map(|group| group.id.as_str())
    }

    fn name(&self) -> &str {
        self.group.as_ref().map(|group| group.name.as_str()).unwrap_or_default()
    }

    /// What stands in the way is not suggested.
    fn freeze_look(&self) -> &'static [&'static str] {
        match self.checked.as_deref() {
            Some(Ok(Checked { verdict: Verdict::Blocked(_), .. })) => &["text-button"],
            _ => &["text-button", "suggested-action"],
        }
    }

    fn is_paused(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.paused)
    }

    fn pause_word(&self) -> String {
        if self.is_paused() { gettext("Resume") } else { gettext("Pause") }
    }

    /// Whether there is something to be done with it: not with Dormouse itself, and not while something is being done.
    fn can_be_asked(&self) -> bool {
        self.job.is_none() && self.group.as_ref().is_some_and(|group| !is_own(group))
    }

    fn open(&mut self, group: Listed, sender: &ComponentSender<Self>) {
        if self.group.as_ref().is_none_or(|old| old.id != group.id) {
            self.job = None;
            self.connections.clear();
            self.processes.clear();
        }
        self.checked = None;
        self.bus.ask(Ask::Check(group.id.clone()));
        self.group = Some(group);
        self.show(sender);
    }

    fn heard(&mut self, news: News, sender: &ComponentSender<Self>) {
        let Some(group) = &mut self.group else {
            if let News::Service(Service::There { lacks, .. }) = news {
                self.lacks = lacks;
            }
            return;
        };
        match news {
            News::Service(Service::There { lacks, .. }) => {
                self.lacks = lacks;
                self.job = None;
                self.bus.ask(Ask::Check(group.id.clone()));
            }
            News::Changed { groups, .. } => {
                let Some(fresh) = groups.iter().find(|fresh| fresh.id == group.id) else { return };
                let is_other = fresh.members != group.members;
                *group = fresh.clone();
                if is_other {
                    self.bus.ask(Ask::Check(group.id.clone()));
                }
            }
            News::Checked { group: id, answer } if id == group.id => {
                if let Ok(checked) = answer.as_ref() {
                    self.connections.show(&checked.graph);
                    self.processes.show(&checked.processes);
                }
                self.checked = Some(answer);
            }
            News::Paused { group: id, paused, answer: Ok(()) } if id == group.id => group.paused = paused,
            News::Job(job) if job.subject == group.id => self.job = Some(job).filter(|job| job.runs()),
            News::Process { pid, answer } => {
                self.connections.tell(pid, &answer);
                return self.processes.tell(pid, &answer);
            }
            _ => return,
        }
        self.show(sender);
    }

    fn show(&self, sender: &ComponentSender<Self>) {
        if let Some(group) = &self.group {
            self.reasons.show(group, self.checked.as_deref(), self.job.as_deref(), sender.input_sender());
        }
    }
}

/// What a group has, in a line.
fn facts(group: &Listed) -> String {
    let mut facts = vec![say::counted("one process", "{count} processes", group.processes)];
    facts.extend(group.memory.map(say::size));
    facts.extend(group.user.clone());
    facts.extend(group.paused.then(|| gettext("Paused")));
    facts.join(" · ")
}
