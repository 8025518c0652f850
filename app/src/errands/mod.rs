//! What the person has asked for, from the first click to the last word about it: questions before it, the request, a toast or
//! a notification after it, and the way back.

mod delete;
mod files;
mod freeze;
mod told;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Instant;

use dormouse_wire::ThawWish;
use relm4::Sender;
use relm4::adw;

use crate::app::Msg;
use crate::bus::{Ask, Bus, News};
use crate::model::overview::Overview;
use crate::settings::Settings;

/// The errands that are under way.
#[derive(Debug)]
pub struct Errands {
    bus: Bus,
    settings: Settings,
    window: adw::ApplicationWindow,
    toasts: adw::ToastOverlay,
    sender: Sender<Msg>,
    /// Groups that are to be frozen, and whose verdict is not known yet.
    judged: HashSet<String>,
    /// Jobs that are at work, and since when.
    jobs: HashMap<String, Instant>,
    /// Files that are being written, by the id of their image.
    exports: HashMap<String, PathBuf>,
    /// How images are being woken.
    wishes: HashMap<String, ThawWish>,
    /// Names of files that are to be woken once they have been imported.
    woken: HashSet<String>,
}

impl Errands {
    /// None yet.
    pub fn new(
        bus: Bus,
        settings: Settings,
        window: adw::ApplicationWindow,
        toasts: adw::ToastOverlay,
        sender: Sender<Msg>,
    ) -> Self {
        Self {
            bus,
            settings,
            window,
            toasts,
            sender,
            judged: HashSet::new(),
            jobs: HashMap::new(),
            exports: HashMap::new(),
            wishes: HashMap::new(),
            woken: HashSet::new(),
        }
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.judged.is_empty()
    }

    /// Goes on with what the news are about.
    pub fn hear(&mut self, news: &News, overview: &Overview) {
        match news {
            News::Service(_) => {
                self.judged.clear();
                self.jobs.clear();
            }
            News::Verdict { group, answer } if self.judged.remove(group) => self.judge(group, answer, overview),
            News::Paused { group, paused, answer } => self.paused(group, *paused, answer, overview),
            News::Begun(job) => {
                self.jobs.insert(job.clone(), Instant::now());
            }
            News::Job(job) => self.follow(job, overview),
            News::Refused { kind, subject, job, trouble } => {
                job.as_ref().map(|job| self.jobs.remove(job));
                self.refused(*kind, subject, trouble, overview);
            }
            News::NotAtLogout(why) => self.not_at_logout(why),
            News::Deleted { image, answer } => self.deleted(image, answer, overview),
            _ => {}
        }
    }

    /// Holds a group still.
    pub fn pause(&self, group: String) {
        self.bus.ask(Ask::Pause(group));
    }

    /// Lets it go on.
    pub fn resume(&self, group: String) {
        self.bus.ask(Ask::Resume(group));
    }

    /// Wakes an image.
    pub fn wake(&mut self, image: String) {
        self.wake_so(image, ThawWish::default());
    }

    /// Wakes it in this way.
    pub fn wake_so(&mut self, image: String, wish: ThawWish) {
        self.wishes.insert(image.clone(), wish);
        self.bus.ask(Ask::Thaw { image, wish });
    }

    /// Undoes a job.
    pub fn cancel(&self, job: String) {
        self.bus.ask(Ask::Cancel(job));
    }
}
