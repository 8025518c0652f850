//! What is said when something has been done, or has not: in the window where the person looks at it, else by a notification.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dormouse_wire::dbus::{JobKind, JobState, Sleeping};
use dormouse_wire::{Frozen, Thawed};
use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk::gio;

use super::Errands;
use super::delete::said;
use crate::app::Msg;
use crate::bus::{Answer, Job, Trouble, TroubleKind};
use crate::dialogs::{decide, trouble};
use crate::model::overview::Overview;
use crate::pages::Wish;
use crate::say;

/// What ends within this time does not need a notification.
const LONG: Duration = Duration::from_secs(5);

/// How long an offer stands, seconds: longer than the five of other toasts, because it has to be read, decided and reached.
pub(super) const TIME_TO_DECIDE: u32 = 10;

/// A button behind something said.
struct Offer {
    label: String,
    /// The action of the app, and what it is told.
    action: &'static str,
    target: String,
    wish: Wish,
}

impl Errands {
    pub(super) fn follow(&mut self, job: &Arc<Job>, overview: &Overview) {
        if job.runs() {
            self.jobs.entry(job.id.clone()).or_insert_with(Instant::now);
            return;
        }
        // One that had ended before this app came is another's.
        let Some(since) = self.jobs.remove(&job.id) else { return };
        let name = overview.name(&job.subject);
        match (&job.trouble, job.state) {
            (Some(why), _) => {
                self.leave_no_part(job);
                self.woken.remove(&job.subject);
                if !(job.kind == JobKind::Thaw && self.decides(&job.subject, &name, why)) {
                    self.failed(job.kind, &name, why);
                }
            }
            (None, JobState::Done) => self.done(job, &name, since.elapsed() > LONG),
            (None, _) => {
                self.leave_no_part(job);
                self.woken.remove(&job.subject);
                self.toast(&cancelled(job.kind, &name), None);
            }
        }
    }

    fn done(&mut self, job: &Job, name: &str, took_long: bool) {
        let result = job.result.clone().unwrap_or_default();
        let mut sentence = say::done(job.kind, name);
        let offer = match job.kind {
            JobKind::Freeze => serde_json::from_value(result).ok().and_then(|frozen: Frozen| undo(&frozen)),
            JobKind::Thaw => {
                self.wishes.remove(&job.subject);
                let thawed = serde_json::from_value::<Thawed>(result).ok();
                let (lost, kept) = thawed.map(|thawed| (thawed.losses, thawed.kept.len())).unwrap_or_default();
                if kept > 0 {
                    sentence = say::awake_with_copies(name, kept);
                }
                if !lost.is_empty() {
                    let what = gettext("It is awake, and not all could be given back.");
                    trouble::show(&self.window, &sentence, &losses(what, lost));
                    return;
                }
                Some(Offer {
                    label: gettext("_Delete Image"),
                    action: "",
                    target: String::new(),
                    wish: Wish::Delete(job.subject.clone()),
                })
            }
            JobKind::Export => {
                self.exports.remove(&job.subject);
                None
            }
            JobKind::Move => None,
            JobKind::Import => {
                if self.woken.remove(&job.subject)
                    && let Ok(image) = serde_json::from_value::<Sleeping>(result)
                {
                    self.wake(image.id);
                    return;
                }
                None
            }
        };
        self.tell(&job.id, &sentence, offer, took_long);
    }

    /// Asks what to do about what stands in the way of a thaw, where the person can decide that; whether he can.
    fn decides(&mut self, image: &str, name: &str, why: &Trouble) -> bool {
        let wish = self.wishes.remove(image).unwrap_or_default();
        let Some(choice) = decide::Choice::of(&why.problems, wish) else { return false };
        if !self.window.is_active() {
            self.notify("failed", &say::failed(JobKind::Thaw, name), Some(&why.sentence), None);
        }
        self.window.present();
        let (sender, image) = (self.sender.clone(), image.to_owned());
        decide::ask(&self.window, name, &why.problems, &choice, move |wish| {
            sender.emit(Msg::WakeSo { image: image.clone(), wish });
        });
        true
    }

    pub(super) fn refused(&mut self, kind: JobKind, subject: &str, why: &Trouble, overview: &Overview) {
        self.exports.remove(subject).into_iter().for_each(remove);
        self.woken.remove(subject);
        // Whoever has closed the question for a password knows that nothing was done.
        if why.kind == TroubleKind::NotAuthorized && why.details.is_empty() {
            return self.toast(&why.sentence, None);
        }
        self.failed(kind, &overview.name(subject), why);
    }

    pub(super) fn paused(&self, group: &str, paused: bool, answer: &Answer<()>, overview: &Overview) {
        let name = overview.name(group);
        let named = |sentence: String| say::with(&sentence, &[("name", &name)]);
        match (answer, paused) {
            (Ok(()), true) => self.toast(
                &named(gettext("“{name}” is paused")),
                Some(Offer {
                    label: gettext("_Resume"),
                    action: "resume",
                    target: group.to_owned(),
                    wish: Wish::Resume(group.to_owned()),
                }),
            ),
            (Ok(()), false) => self.toast(&named(gettext("“{name}” goes on")), None),
            (Err(why), true) => trouble::show(&self.window, &named(gettext("“{name}” could not be paused")), why),
            (Err(why), false) => trouble::show(&self.window, &named(gettext("“{name}” could not be resumed")), why),
        }
    }

    pub(super) fn not_at_logout(&self, why: &Trouble) {
        trouble::show(&self.window, &gettext("What happens at logout could not be changed"), why);
    }

    fn failed(&self, kind: JobKind, name: &str, why: &Trouble) {
        let heading = say::failed(kind, name);
        if !self.window.is_active() {
            self.notify("failed", &heading, Some(&why.sentence), None);
        }
        if self.window.is_visible() {
            trouble::show(&self.window, &heading, why);
        }
    }

    /// A file that was to become a copy and has not.
    fn leave_no_part(&mut self, job: &Job) {
        if job.kind == JobKind::Export {
            self.exports.remove(&job.subject).into_iter().for_each(remove);
        }
    }

    /// Says it in the window, and where that is not looked at and it took long, or there is no window, by a notification.
    fn tell(&self, id: &str, sentence: &str, offer: Option<Offer>, took_long: bool) {
        if !self.window.is_visible() || took_long && !self.window.is_active() {
            self.notify(id, sentence, None, offer.as_ref());
        }
        self.toast(sentence, offer);
    }

    fn notify(&self, id: &str, title: &str, body: Option<&str>, offer: Option<&Offer>) {
        let Some(app) = self.window.application() else { return };
        let notification = gio::Notification::new(title);
        if body.is_some() {
            notification.set_body(body);
        }
        if let Some(offer) = offer.filter(|offer| !offer.action.is_empty()) {
            let action = format!("app.{}", offer.action);
            let label = offer.label.replace('_', "");
            notification.add_button_with_target_value(&label, &action, Some(&offer.target.to_variant()));
        }
        app.send_notification(Some(id), &notification);
    }

    fn toast(&self, sentence: &str, offer: Option<Offer>) {
        let toast = adw::Toast::new(&said(sentence));
        if let Some(offer) = offer {
            toast.set_button_label(Some(&offer.label));
            toast.set_timeout(TIME_TO_DECIDE);
            let sender = self.sender.clone();
            toast.connect_button_clicked(move |_| sender.emit(Msg::Wished(offer.wish.clone())));
        }
        self.toasts.add_toast(toast);
    }
}

/// To undo a freeze is to thaw.
fn undo(frozen: &Frozen) -> Option<Offer> {
    let image = frozen.image.file_name()?.to_string_lossy().into_owned();
    Some(Offer { label: gettext("_Undo"), action: "wake", target: image.clone(), wish: Wish::Wake(image) })
}

fn losses(sentence: String, problems: Vec<dormouse_wire::Problem>) -> Trouble {
    let details: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Trouble { kind: TroubleKind::Failed, sentence, problems, details: details.join("\n") }
}

fn cancelled(kind: JobKind, name: &str) -> String {
    let sentence = match kind {
        JobKind::Freeze => gettext("Cancelled: “{name}” runs on"),
        JobKind::Thaw => gettext("Cancelled: “{name}” sleeps on"),
        JobKind::Export | JobKind::Import => gettext("Cancelled: “{name}” was not copied"),
        JobKind::Move => gettext("Cancelled: the images stay where they were"),
    };
    say::with(&sentence, &[("name", name)])
}

fn remove(file: impl AsRef<Path>) {
    // It may be gone already, which is as well.
    let _ = std::fs::remove_file(file);
}
