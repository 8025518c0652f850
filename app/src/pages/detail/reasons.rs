//! The verdict on a group in a sentence, and each reason for it with its way out.

use dormouse_wire::{Checked, Listed, Verdict};
use gettextrs::gettext;
use relm4::Sender;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;

use super::{Msg, facts};
use crate::bus::{Answer, Job};
use crate::pages::Wish;
use crate::rows::reason;
use crate::widgets::badge::look;
use crate::widgets::{icon, progress};
use crate::{is_own, say};

/// The part of the page.
#[derive(Debug)]
pub struct Reasons {
    root: gtk::ScrolledWindow,
    icon: gtk::Image,
    name: gtk::Label,
    facts: gtk::Label,
    mark: gtk::Image,
    verdict: gtk::Label,
    spinner: gtk::Spinner,
    bar: gtk::ProgressBar,
    list: gtk::ListBox,
}

impl Reasons {
    /// One that shows nothing yet.
    pub fn new() -> Self {
        relm4::view! {
            root = gtk::ScrolledWindow {
                set_hscrollbar_policy: gtk::PolicyType::Never,
                adw::Clamp {
                    set_maximum_size: 720,
                    gtk::Box {
                        set_orientation: gtk::Orientation::Vertical,
                        set_spacing: 12,
                        set_margin_top: 24,
                        set_margin_bottom: 24,
                        set_margin_start: 12,
                        set_margin_end: 12,
                        #[name = "icon"]
                        gtk::Image { set_pixel_size: 64 },
                        #[name = "name"]
                        gtk::Label { add_css_class: "title-1", set_wrap: true, set_justify: gtk::Justification::Center },
                        #[name = "facts"]
                        gtk::Label { add_css_class: "dim-label", add_css_class: "numeric", set_wrap: true },
                        gtk::Box {
                            set_halign: gtk::Align::Center,
                            set_spacing: 9,
                            set_margin_top: 6,
                            #[name = "spinner"]
                            gtk::Spinner {},
                            #[name = "mark"]
                            gtk::Image { add_css_class: "verdict-icon" },
                            #[name = "verdict"]
                            gtk::Label { add_css_class: "heading", set_wrap: true, set_xalign: 0.0 },
                        },
                        #[name = "bar"]
                        gtk::ProgressBar { set_visible: false },
                        #[name = "list"]
                        gtk::ListBox {
                            set_selection_mode: gtk::SelectionMode::None,
                            set_margin_top: 12,
                            add_css_class: "boxed-list",
                        },
                    },
                },
            }
        }
        crate::accessible::name(&list, &gettext("Reasons"));
        Self { root, icon, name, facts, mark, verdict, spinner, bar, list }
    }

    /// Its widget.
    pub fn widget(&self) -> &gtk::ScrolledWindow {
        &self.root
    }

    /// Shows what is known of a group.
    pub fn show(&self, group: &Listed, checked: Option<&Answer<Checked>>, job: Option<&Job>, sender: &Sender<Msg>) {
        icon::show(&self.icon, group.icon.as_deref());
        self.name.set_label(&group.name);
        self.facts.set_label(&facts(group));
        progress::show(&self.bar, job);
        self.spinner.set_spinning(checked.is_none());
        self.spinner.set_visible(checked.is_none());
        self.mark.set_visible(matches!(checked, Some(Ok(_))) && job.is_none());
        while let Some(row) = self.list.row_at_index(0) {
            self.list.remove(&row);
        }
        let sentence = match (job, checked) {
            (Some(job), _) => progress::words(job),
            (None, None) => gettext("Looking at what ties it together…"),
            (None, Some(Err(why))) => why.sentence.clone(),
            (None, Some(Ok(_))) if is_own(group) => gettext("This is Dormouse itself. It does not freeze itself."),
            (None, Some(Ok(checked))) => say::verdict(&checked.verdict),
        };
        self.verdict.set_label(&sentence);
        if let Some(Ok(checked)) = checked {
            self.show_verdict(group, &checked.verdict, sender);
        }
        self.list.set_visible(self.list.row_at_index(0).is_some());
    }

    fn show_verdict(&self, group: &Listed, verdict: &Verdict, sender: &Sender<Msg>) {
        let (class, icon) = look(verdict);
        self.mark.set_icon_name(Some(icon));
        for other in ["freezable", "lossy", "blocked"] {
            self.mark.remove_css_class(other);
        }
        self.mark.add_css_class(class);
        let (Verdict::Lossy(problems) | Verdict::Blocked(problems)) = verdict else { return };
        for problem in problems {
            let (sender, id) = (sender.clone(), group.id.clone());
            let pause = move || sender.emit(Msg::Wished(Wish::Pause(id.clone())));
            self.list.append(&reason::row(problem, (!group.paused && !is_own(group)).then_some(pause)));
        }
    }
}
