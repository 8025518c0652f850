//! What ties a group together and what leads out of it: as a graph, and as a list of sentences.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use dormouse_wire::{Details, Graph};
use gettextrs::gettext;
use relm4::Sender;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;
use relm4::gtk::gdk;
use relm4::prelude::*;

use super::Msg;
use crate::bus::Answer;
use crate::model::graph::{Picture, What, picture};
use crate::widgets::facts;
use crate::widgets::graph::{GraphView, subtitle, title};
use crate::{accessible, say};

/// The part of the page.
#[derive(Debug)]
pub struct Connections {
    root: gtk::Box,
    stack: gtk::Stack,
    view: GraphView,
    list: gtk::ListBox,
    graph: Graph,
    open: HashSet<String>,
    /// The popover at a process, and its place for what there is to know.
    asked: Rc<RefCell<Option<(i32, adw::Bin)>>>,
}

impl Connections {
    /// None yet.
    pub fn new(sender: &Sender<Msg>) -> Self {
        let view = GraphView::default();
        relm4::view! {
            root = gtk::Box {
                set_orientation: gtk::Orientation::Vertical,
                #[name = "stack"]
                gtk::Stack {
                    set_vexpand: true,
                    add_named[Some("empty")] = &adw::StatusPage {
                        set_icon_name: Some("network-workgroup-symbolic"),
                        set_title: &gettext("No Connections"),
                        set_description: Some(&gettext("Nothing ties these processes to each other or to others.")),
                    },
                    add_named[Some("graph")] = &gtk::Box {
                        set_orientation: gtk::Orientation::Vertical,
                        append = &view.clone() -> GraphView { set_vexpand: true },
                        append: &legend(),
                    },
                    add_named[Some("list")] = &gtk::ScrolledWindow {
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
                    },
                },
            }
        }
        accessible::name(&list, &gettext("Connections"));
        root.append(&tools(&view, &stack));
        let connections =
            Self { root, stack, view, list, graph: Graph::default(), open: HashSet::new(), asked: Rc::default() };
        connections.listen(sender);
        connections
    }

    /// Its widget.
    pub fn widget(&self) -> &gtk::Box {
        &self.root
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.open.clear();
        self.show(&Graph::default());
        self.view.fit();
    }

    /// Shows this graph.
    pub fn show(&mut self, graph: &Graph) {
        self.graph = graph.clone();
        while let Some(row) = self.list.row_at_index(0) {
            self.list.remove(&row);
        }
        // The list has all, one by one: nothing in it is put together.
        let everything = picture(graph, &HashSet::new());
        let is_list = self.stack.visible_child_name().as_deref() == Some("list");
        for words in sentences(&everything) {
            self.list.append(&words);
        }
        self.draw();
        let face = if graph.edges.is_empty() {
            "empty"
        } else if is_list {
            "list"
        } else {
            "graph"
        };
        self.stack.set_visible_child_name(face);
    }

    /// Opens a family.
    pub fn open_family(&mut self, key: String) {
        self.open.insert(key);
        self.draw();
    }

    fn draw(&self) {
        self.view.set_picture(picture(&self.graph, &self.open));
    }

    /// More is known of a process.
    pub fn tell(&self, pid: i32, answer: &Answer<Details>) {
        if let Some((_, place)) = self.asked.borrow().as_ref().filter(|(asked, _)| *asked == pid) {
            place.set_child(Some(&facts::grid(&facts::of_process(answer))));
        }
    }

    fn listen(&self, sender: &Sender<Msg>) {
        let (view, asked, sender) = (self.view.downgrade(), self.asked.clone(), sender.clone());
        self.view.connect_chosen(move |node, area| {
            let Some(view) = view.upgrade() else { return };
            match view.what(node) {
                Some(What::Process { name, .. }) => {
                    let place = point_at(&view, &name.comm, &area);
                    asked.replace(Some((name.pid.0, place)));
                    sender.emit(Msg::Asked(name.pid.0));
                }
                Some(what @ What::Thing { .. }) => {
                    let place = point_at(&view, &title(&what), &area);
                    place.set_child(Some(&facts::grid(&[(gettext("Name"), subtitle(&what))])));
                }
                Some(what) => sender.emit(Msg::FamilyOpened(what.key().unwrap_or_default().to_owned())),
                None => {}
            }
        });
    }
}

/// A popover at a node; the place in it for what there is to know.
fn point_at(view: &GraphView, heading: &str, area: &gdk::Rectangle) -> adw::Bin {
    let popover = gtk::Popover::builder().pointing_to(area).build();
    relm4::view! {
        content = gtk::Box {
            set_orientation: gtk::Orientation::Vertical,
            set_spacing: 9,
            set_margin_all: 9,
            gtk::Label { set_label: heading, set_xalign: 0.0, add_css_class: "heading" },
            #[name = "place"]
            adw::Bin {
                gtk::Spinner { set_spinning: true },
            },
        }
    }
    popover.set_child(Some(&content));
    popover.set_parent(view);
    popover.connect_closed(|popover| {
        // Not within the signal: the popover is still at work.
        let popover = popover.clone();
        gtk::glib::idle_add_local_once(move || popover.unparent());
    });
    popover.popup();
    place
}

/// Each tie in a sentence.
fn sentences(picture: &Picture) -> Vec<gtk::ListBoxRow> {
    let name = |place: usize| {
        picture
            .nodes
            .get(place)
            .map(|node| format!("{} ({})", title(&node.what), subtitle(&node.what)))
            .unwrap_or_default()
    };
    let row = |tie: &crate::model::graph::Tie| {
        let kinds: Vec<String> = tie.kinds.iter().map(|kind| say::tie(*kind)).collect();
        let words = format!("{} {} {}", name(tie.from), kinds.join(", "), name(tie.to));
        let label = gtk::Label::builder().label(&words).wrap(true).xalign(0.0).build();
        label.set_margin_all(12);
        let row = gtk::ListBoxRow::builder().child(&label).activatable(false).build();
        accessible::name(&row, &words);
        row
    };
    picture.ties.iter().map(row).collect()
}

/// What is below the graph: nearer, farther, all, and the list instead.
fn tools(view: &GraphView, stack: &gtk::Stack) -> gtk::Box {
    let tools = gtk::Box::builder().spacing(6).build();
    tools.add_css_class("toolbar");
    let list =
        gtk::ToggleButton::builder().icon_name("view-list-symbolic").hexpand(true).halign(gtk::Align::End).build();
    type Zoom = (&'static str, String, fn(&GraphView));
    let zooms: [Zoom; 3] = [
        ("zoom-out-symbolic", gettext("Zoom Out"), |view| view.zoom_by(0.8, None)),
        ("zoom-in-symbolic", gettext("Zoom In"), |view| view.zoom_by(1.25, None)),
        ("zoom-fit-best-symbolic", gettext("Show All"), GraphView::fit),
    ];
    for (icon, word, zoom) in zooms {
        let button = gtk::Button::builder().icon_name(icon).tooltip_text(&word).build();
        accessible::name(&button, &word);
        let view = view.clone();
        button.connect_clicked(move |_| zoom(&view));
        list.bind_property("active", &button, "sensitive").invert_boolean().sync_create().build();
        tools.append(&button);
    }
    let word = gettext("Show as a List");
    list.set_tooltip_text(Some(&word));
    accessible::name(&list, &word);
    let shown = stack.clone();
    list.connect_toggled(move |list| {
        if shown.visible_child_name().as_deref() != Some("empty") {
            shown.set_visible_child_name(if list.is_active() { "list" } else { "graph" });
        }
    });
    tools.append(&list);
    tools
}

/// What the looks of nodes and ties mean.
fn legend() -> gtk::FlowBox {
    let legend = gtk::FlowBox::builder()
        .selection_mode(gtk::SelectionMode::None)
        .min_children_per_line(2)
        .max_children_per_line(6)
        .column_spacing(12)
        .build();
    legend.add_css_class("legend");
    accessible::name(&legend, &gettext("Legend"));
    let meanings = [
        ("member", gettext("process of the group")),
        ("outside", gettext("process outside")),
        ("thing", gettext("what they share")),
        ("boundary", gettext("leads out of the group")),
        ("strong", gettext("cannot be cut")),
        ("weak", gettext("can be cut")),
    ];
    for (look, meaning) in meanings {
        let swatch = gtk::Box::builder().valign(gtk::Align::Center).build();
        swatch.add_css_class("swatch");
        swatch.add_css_class(look);
        let label = gtk::Label::new(Some(&meaning));
        label.add_css_class("caption");
        let entry = gtk::Box::builder().spacing(6).build();
        entry.append(&swatch);
        entry.append(&label);
        legend.insert(&entry, -1);
        if let Some(child) = entry.parent() {
            child.set_focusable(false);
        }
    }
    legend
}
