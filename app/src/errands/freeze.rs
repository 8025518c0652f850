//! To freeze a group: at once where nothing is lost, after a question where something is, and where it cannot be frozen an
//! explanation.

use dormouse_wire::Verdict;
use gettextrs::gettext;
use relm4::gtk::prelude::*;

use super::Errands;
use crate::app::Msg;
use crate::bus::{Answer, Ask, FreezeHow};
use crate::dialogs::{freeze, trouble};
use crate::model::overview::Overview;
use crate::pages::Wish;
use crate::say;
use crate::settings::Choice;

impl Errands {
    /// The person wishes to freeze this group. What a freeze would say is asked anew: it may have changed since it was shown.
    pub fn freeze(&mut self, group: String) {
        if self.judged.insert(group.clone()) {
            self.bus.ask(Ask::Verdict(group));
        }
    }

    pub(super) fn judge(&self, group: &str, answer: &Answer<Verdict>, overview: &Overview) {
        let name = overview.name(group);
        let begin = {
            let (bus, group, compression) = (self.bus.clone(), group.to_owned(), self.settings.compression());
            let keep_files = self.settings.is(Choice::KeepFiles);
            move |accept_losses, disconnect, keep_connections| {
                let how = FreezeHow { accept_losses, disconnect, keep_connections, keep_files, compression };
                bus.ask(Ask::Freeze { group: group.clone(), how });
            }
        };
        let keeps = self.settings.is(Choice::KeepConnections);
        let folder = overview.folder.as_deref();
        match answer {
            Ok(Verdict::Freezable) if !self.settings.is(Choice::AskBeforeFreezing) => begin(false, Vec::new(), keeps),
            Ok(verdict @ (Verdict::Freezable | Verdict::Lossy(_))) => {
                let loses = |verdict: &Verdict| matches!(verdict, Verdict::Lossy(_));
                let (loses, all_the_same) = (loses(verdict), loses(&verdict.clone().once_kept()));
                self.window.present();
                freeze::ask(&self.window, &name, verdict, folder, move |cut, keep| {
                    begin(if keep { all_the_same } else { loses }, cut, keep || keeps);
                });
            }
            Ok(verdict @ Verdict::Blocked(problems)) => {
                let is_paused = overview.groups.get(group).is_some_and(|group| group.paused);
                let (sender, group) = (self.sender.clone(), group.to_owned());
                let pause = move || sender.emit(Msg::Wished(Wish::Pause(group.clone())));
                self.window.present();
                freeze::explain(&self.window, &name, verdict, problems, (!is_paused).then_some(pause));
            }
            Err(why) => {
                self.window.present();
                let heading = say::with(&gettext("“{name}” could not be looked at"), &[("name", &name)]);
                trouble::show(&self.window, &heading, why);
            }
        }
    }
}
