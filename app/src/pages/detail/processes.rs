//! The processes of a group, each with what there is to know of it for whoever asks.

use std::collections::HashMap;

use dormouse_wire::{Details, ProcessName};
use gettextrs::gettext;
use relm4::Sender;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;
use relm4::gtk::glib::markup_escape_text;
use relm4::prelude::*;

use super::Msg;
use crate::bus::Answer;
use crate::widgets::facts;
use crate::{accessible, say};

/// The part of the page.
#[derive(Debug)]
pub struct Processes {
    root: gtk::ScrolledWindow,
    list: gtk::ListBox,
    shown: Vec<ProcessName>,
    /// Rows by their pid, with the place for what there is to know.
    rows: HashMap<i32, adw::Bin>,
    sender: Sender<Msg>,
}

impl Processes {
    /// None yet.
    pub fn new(sender: &Sender<Msg>) -> Self {
        relm4::view! {
            root = gtk::ScrolledWindow {
                set_hscrollbar_policy: gtk::PolicyType::Never,
                adw::Clamp {
                    set_maximum_size: 720,
                    #[name = "list"]
                    gtk::ListBox {
                        set_selection_mode: gtk::SelectionMode::None,
                        set_valign: gtk::Align::Start,
                        set_margin_all: 12,
                        add_css_class: "boxed-list",
                    },
                },
            }
        }
        accessible::name(&list, &gettext("Processes"));
        Self { root, list, shown: Vec::new(), rows: HashMap::new(), sender: sender.clone() }
    }

    /// Its widget.
    pub fn widget(&self) -> &gtk::ScrolledWindow {
        &self.root
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.show(&[]);
    }

    /// Shows these. Where they are the same as before, what is open stays open.
    pub fn show(&mut self, processes: &[ProcessName]) {
        if self.shown == processes {
            return;
        }
        while let Some(row) = self.list.row_at_index(0) {
            self.list.remove(&row);
        }
        self.rows.clear();
        self.shown = processes.to_vec();
        for process in processes {
            let (row, place) = self.row(process);
            self.list.append(&row);
            self.rows.insert(process.pid.0, place);
        }
        self.list.set_visible(!processes.is_empty());
    }

    fn row(&self, process: &ProcessName) -> (adw::ExpanderRow, adw::Bin) {
        let spinner = gtk::Spinner::builder().spinning(true).halign(gtk::Align::Center).build();
        let place = adw::Bin::builder().child(&spinner).build();
        place.set_margin_all(12);
        let row = adw::ExpanderRow::builder()
            .title(markup_escape_text(&process.comm))
            .subtitle(say::with(&gettext("process {pid}"), &[("pid", &process.pid.to_string())]))
            .build();
        row.add_row(&gtk::ListBoxRow::builder().child(&place).activatable(false).build());
        let (sender, pid) = (self.sender.clone(), process.pid.0);
        row.connect_expanded_notify(move |row| {
            if row.is_expanded() {
                sender.emit(Msg::Asked(pid));
            }
        });
        (row, place)
    }

    /// More is known of a process.
    pub fn tell(&self, pid: i32, answer: &Answer<Details>) {
        if let Some(place) = self.rows.get(&pid) {
            place.set_child(Some(&facts::grid(&facts::of_process(answer))));
        }
    }
}
