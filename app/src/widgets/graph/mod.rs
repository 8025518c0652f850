//! The graph of a group as something to look at and to walk about in: [drawn](draw) by GTK itself, [moved](moving) by pointer, wheel
//! and fingers, and walked with the arrow keys. Whoever cannot see it has the list of ties instead.

mod draw;
mod moving;

use std::cell::{Cell, RefCell};

use gettextrs::gettext;
use relm4::gtk;
use relm4::gtk::glib;
use relm4::gtk::prelude::*;
use relm4::gtk::subclass::prelude::*;
use relm4::gtk::{gdk, graphene};

use crate::model::graph::{Direction, NODE, Picture, What, next};
use crate::{accessible, say};

/// How near and how far a graph can be looked at.
const ZOOM: std::ops::RangeInclusive<f64> = 0.15..=2.5;

glib::wrapper! {
    /// The widget.
    pub struct GraphView(ObjectSubclass<imp::GraphView>)
        @extends gtk::Widget,
        @implements gtk::Buildable, gtk::ConstraintTarget;
}

/// What is called when a node was chosen: its place, and where it is in the widget.
type Chosen = Box<dyn Fn(usize, gdk::Rectangle)>;

mod imp {
    use super::*;

    /// What the widget knows.
    #[derive(Default)]
    pub struct GraphView {
        pub picture: RefCell<Picture>,
        /// What is looked at: the distance of the picture's corner from the widget's, and the zoom. Zero before the first look.
        pub offset: Cell<(f64, f64)>,
        pub zoom: Cell<f64>,
        /// The person has moved it: it is not fitted again.
        pub moved: Cell<bool>,
        pub focused: Cell<Option<usize>>,
        pub hovered: Cell<Option<usize>>,
        pub chosen: RefCell<Option<Chosen>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for GraphView {
        const NAME: &'static str = "DormouseGraphView";
        type Type = super::GraphView;
        type ParentType = gtk::Widget;

        fn class_init(class: &mut Self::Class) {
            class.set_css_name("graph");
            class.set_accessible_role(gtk::AccessibleRole::Img);
        }
    }

    impl ObjectImpl for GraphView {
        fn constructed(&self) {
            self.parent_constructed();
            let widget = self.obj();
            widget.set_focusable(true);
            widget.set_has_tooltip(true);
            widget.set_overflow(gtk::Overflow::Hidden);
            widget.listen();
        }

        fn dispose(&self) {
            // A popover that points at a node is a child that nobody else takes away.
            while let Some(child) = self.obj().first_child() {
                child.unparent();
            }
        }
    }

    impl WidgetImpl for GraphView {
        fn measure(&self, orientation: gtk::Orientation, _for_size: i32) -> (i32, i32, i32, i32) {
            let natural = if orientation == gtk::Orientation::Horizontal { 600 } else { 400 };
            (120, natural, -1, -1)
        }

        fn size_allocate(&self, width: i32, height: i32, baseline: i32) {
            self.parent_size_allocate(width, height, baseline);
            if !self.moved.get() {
                self.obj().look();
            }
            let mut child = self.obj().first_child();
            while let Some(popover) = child {
                child = popover.next_sibling();
                if let Some(popover) = popover.downcast_ref::<gtk::Popover>() {
                    popover.present();
                }
            }
        }

        fn snapshot(&self, snapshot: &gtk::Snapshot) {
            draw::snapshot(&self.obj(), snapshot);
        }

        fn query_tooltip(&self, x: i32, y: i32, keyboard: bool, tooltip: &gtk::Tooltip) -> bool {
            let widget = self.obj();
            let place = if keyboard { self.focused.get() } else { widget.node_at(f64::from(x), f64::from(y)) };
            let Some(place) = place else { return false };
            tooltip.set_text(Some(&widget.words(place)));
            tooltip.set_tip_area(&widget.area(place));
            true
        }
    }
}

impl std::fmt::Debug for imp::GraphView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GraphView").field("nodes", &self.picture.borrow().nodes.len()).finish_non_exhaustive()
    }
}

impl Default for GraphView {
    fn default() -> Self {
        let view: Self = glib::Object::new();
        accessible::name(&view, &gettext("Graph of the group"));
        view
    }
}

impl GraphView {
    /// Shows a picture. Where the person has not moved the one before, all of it is in view.
    pub fn set_picture(&self, picture: Picture) {
        let own = self.imp();
        let count = say::counted("one node", "{count} nodes", picture.nodes.len());
        own.focused.set(own.focused.get().filter(|place| *place < picture.nodes.len()));
        own.hovered.set(None);
        own.picture.replace(picture);
        accessible::describe(self, &count);
        if !own.moved.get() {
            self.look();
        }
        self.queue_draw();
    }

    /// Calls this when a node was chosen by a click or by Enter.
    pub fn connect_chosen(&self, chosen: impl Fn(usize, gdk::Rectangle) + 'static) {
        self.imp().chosen.replace(Some(Box::new(chosen)));
    }

    /// What the node at this place is.
    pub fn what(&self, place: usize) -> Option<What> {
        self.imp().picture.borrow().nodes.get(place).map(|node| node.what.clone())
    }

    /// Shows it so that it can be read: all of it where there is room for that, else from its beginning.
    fn look(&self) {
        const READABLE: f64 = 0.65;
        self.fit();
        let own = self.imp();
        if own.zoom.get() >= READABLE {
            return;
        }
        own.zoom.set(READABLE);
        let middle = |room: i32, length: f64, at: f64| {
            let room = f64::from(room);
            let spare = room - length * READABLE;
            if spare >= 0.0 { spare / 2.0 } else { (room / 2.0 - at * READABLE).clamp(spare, 0.0) }
        };
        let picture = own.picture.borrow();
        let first = picture.nodes.first().map(|node| node.at).unwrap_or_default();
        own.offset.set((middle(self.width(), picture.width, first.0), middle(self.height(), picture.height, first.1)));
    }

    /// Shows all of it, in its own size at most.
    pub fn fit(&self) {
        let own = self.imp();
        let (width, height) = (f64::from(self.width()), f64::from(self.height()));
        let (wide, high) = {
            let picture = own.picture.borrow();
            (picture.width.max(1.0), picture.height.max(1.0))
        };
        let zoom = (width / wide).min(height / high).clamp(*ZOOM.start(), 1.0);
        own.zoom.set(zoom);
        own.offset.set(((width - wide * zoom) / 2.0, (height - high * zoom) / 2.0));
        own.moved.set(false);
        self.queue_draw();
    }

    /// Looks from nearer or farther; this point of the widget stays where it is.
    pub fn zoom_by(&self, factor: f64, around: Option<(f64, f64)>) {
        let own = self.imp();
        let (x, y) = around.unwrap_or((f64::from(self.width()) / 2.0, f64::from(self.height()) / 2.0));
        let old = own.zoom.get();
        let zoom = (old * factor).clamp(*ZOOM.start(), *ZOOM.end());
        let offset = own.offset.get();
        own.zoom.set(zoom);
        own.offset.set((x - (x - offset.0) * zoom / old, y - (y - offset.1) * zoom / old));
        own.moved.set(true);
        self.queue_draw();
    }

    fn move_by(&self, right: f64, down: f64) {
        let own = self.imp();
        let offset = own.offset.get();
        own.offset.set((offset.0 + right, offset.1 + down));
        own.moved.set(true);
        self.queue_draw();
    }

    /// The node under a point of the widget.
    fn node_at(&self, x: f64, y: f64) -> Option<usize> {
        let own = self.imp();
        let ((left, top), zoom) = (own.offset.get(), own.zoom.get());
        let at = ((x - left) / zoom, (y - top) / zoom);
        let within = |node: (f64, f64)| (node.0 - at.0).abs() <= NODE.0 / 2.0 && (node.1 - at.1).abs() <= NODE.1 / 2.0;
        own.picture.borrow().nodes.iter().position(|node| within(node.at))
    }

    /// Where a node is in the widget.
    fn area(&self, place: usize) -> gdk::Rectangle {
        let own = self.imp();
        let ((left, top), zoom) = (own.offset.get(), own.zoom.get());
        let at = own.picture.borrow().nodes.get(place).map(|node| node.at).unwrap_or_default();
        let corner = ((at.0 - NODE.0 / 2.0) * zoom + left, (at.1 - NODE.1 / 2.0) * zoom + top);
        gdk::Rectangle::new(corner.0 as i32, corner.1 as i32, (NODE.0 * zoom) as i32, (NODE.1 * zoom) as i32)
    }

    /// Puts the focus on a node, and the node into view.
    fn focus_node(&self, place: usize) {
        let own = self.imp();
        own.focused.set(Some(place));
        accessible::describe(self, &self.words(place));
        let area = self.area(place);
        let aside = |start: i32, length: i32, room: i32| {
            f64::from(if start < 0 { -start + 12 } else { (room - start - length - 12).min(0) })
        };
        let (right, down) =
            (aside(area.x(), area.width(), self.width()), aside(area.y(), area.height(), self.height()));
        if right != 0.0 || down != 0.0 {
            self.move_by(right, down);
        }
        self.queue_draw();
    }

    fn walk(&self, direction: Direction) {
        let own = self.imp();
        let to = match own.focused.get() {
            Some(place) => next(&own.picture.borrow(), place, direction),
            None => (!own.picture.borrow().nodes.is_empty()).then_some(0),
        };
        if let Some(place) = to {
            self.focus_node(place);
        }
    }

    fn choose(&self, place: usize) {
        let area = self.area(place);
        if let Some(chosen) = self.imp().chosen.borrow().as_ref() {
            chosen(place, area);
        }
    }

    /// What there is to say of a node: what it is, and what ties it to others.
    fn words(&self, place: usize) -> String {
        const MOST: usize = 8;
        let picture = self.imp().picture.borrow();
        let Some(node) = picture.nodes.get(place) else { return String::new() };
        let ties = picture.ties.iter().filter(|tie| tie.from == place || tie.to == place);
        let name = |place: usize| picture.nodes.get(place).map(|node| title(&node.what)).unwrap_or_default();
        let line = |tie: &crate::model::graph::Tie| {
            let kinds: Vec<String> = tie.kinds.iter().map(|kind| say::tie(*kind)).collect();
            format!("{} {} {}", name(tie.from), kinds.join(", "), name(tie.to))
        };
        let lines: Vec<String> = ties.map(line).collect();
        let more = lines.len().saturating_sub(MOST);
        let mut said = vec![format!("{}\n{}", title(&node.what), subtitle(&node.what))];
        said.extend(lines.into_iter().take(MOST));
        said.extend((more > 0).then(|| say::counted("and one more", "and {count} more", more)));
        said.join("\n")
    }
}

/// The first line of a node.
pub fn title(what: &What) -> String {
    match what {
        What::Process { name, .. } => name.comm.clone(),
        What::Thing { kind, .. } => say::thing(*kind),
        What::Processes { comm, count, .. } => format!("{comm} × {count}"),
        What::Things { kind, count, .. } => format!("{} × {count}", say::thing(*kind)),
    }
}

/// Its second line.
pub fn subtitle(what: &What) -> String {
    match what {
        What::Process { name, member: true } => say::with(&gettext("process {pid}"), &[("pid", &name.pid.to_string())]),
        What::Process { name, member: false } => {
            say::with(&gettext("process {pid}, outside"), &[("pid", &name.pid.to_string())])
        }
        What::Thing { name, .. } => name.clone(),
        What::Processes { .. } | What::Things { .. } => gettext("open the family"),
    }
}

/// A rectangle of the drawing.
fn rectangle(x: f64, y: f64, width: f64, height: f64) -> graphene::Rect {
    graphene::Rect::new(x as f32, y as f32, width as f32, height as f32)
}
