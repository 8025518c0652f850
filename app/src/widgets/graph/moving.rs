//! How the graph is moved: it is dragged, scrolled, and zoomed by Ctrl and the wheel, by two fingers or by keys; a node is chosen
//! by a click or by Enter.

use relm4::gtk;
use relm4::gtk::gdk;
use relm4::gtk::glib::Propagation;
use relm4::gtk::prelude::*;
use relm4::gtk::subclass::prelude::*;

use super::GraphView;
use crate::model::graph::Direction;

/// How much one step of the wheel or one press of a key zooms.
const STEP: f64 = 1.2;
/// How far one step of the wheel scrolls.
const SCROLL: f64 = 48.0;

impl GraphView {
    pub(super) fn listen(&self) {
        self.listen_to_keys();
        self.listen_to_wheel();
        self.listen_to_drags();
        self.listen_to_fingers();
        self.listen_to_pointer();
    }

    fn listen_to_keys(&self) {
        let keys = gtk::EventControllerKey::new();
        let view = self.downgrade();
        keys.connect_key_pressed(move |_, key, _, _| {
            let Some(view) = view.upgrade() else { return Propagation::Proceed };
            match key {
                gdk::Key::Left => view.walk(Direction::Left),
                gdk::Key::Right => view.walk(Direction::Right),
                gdk::Key::Up => view.walk(Direction::Up),
                gdk::Key::Down => view.walk(Direction::Down),
                gdk::Key::plus | gdk::Key::equal | gdk::Key::KP_Add => view.zoom_by(STEP, None),
                gdk::Key::minus | gdk::Key::KP_Subtract => view.zoom_by(1.0 / STEP, None),
                gdk::Key::_0 | gdk::Key::KP_0 => view.fit(),
                gdk::Key::Return | gdk::Key::KP_Enter | gdk::Key::space => {
                    let Some(place) = view.imp().focused.get() else { return Propagation::Proceed };
                    view.choose(place);
                }
                _ => return Propagation::Proceed,
            }
            Propagation::Stop
        });
        self.add_controller(keys);
        let view = self.downgrade();
        self.connect_has_focus_notify(move |_| {
            if let Some(view) = view.upgrade() {
                view.queue_draw();
            }
        });
    }

    fn listen_to_wheel(&self) {
        let wheel = gtk::EventControllerScroll::new(gtk::EventControllerScrollFlags::BOTH_AXES);
        let view = self.downgrade();
        wheel.connect_scroll(move |wheel, right, down| {
            let Some(view) = view.upgrade() else { return Propagation::Proceed };
            if wheel.current_event_state().contains(gdk::ModifierType::CONTROL_MASK) {
                view.zoom_by(STEP.powf(-down), None);
            } else {
                view.move_by(-right * SCROLL, -down * SCROLL);
            }
            Propagation::Stop
        });
        self.add_controller(wheel);
    }

    fn listen_to_drags(&self) {
        let drag = gtk::GestureDrag::new();
        let start = std::rc::Rc::new(std::cell::Cell::new((0.0, 0.0)));
        let (view, begun) = (self.downgrade(), start.clone());
        drag.connect_drag_begin(move |_, _, _| {
            if let Some(view) = view.upgrade() {
                begun.set(view.imp().offset.get());
            }
        });
        let view = self.downgrade();
        drag.connect_drag_update(move |_, right, down| {
            if let Some(view) = view.upgrade()
                && (right.abs() > 4.0 || down.abs() > 4.0)
            {
                let (x, y) = start.get();
                view.imp().offset.set((x + right, y + down));
                view.imp().moved.set(true);
                view.queue_draw();
            }
        });
        self.add_controller(drag);
    }

    fn listen_to_fingers(&self) {
        let fingers = gtk::GestureZoom::new();
        let last = std::rc::Rc::new(std::cell::Cell::new(1.0));
        let begun = last.clone();
        fingers.connect_begin(move |_, _| begun.set(1.0));
        let view = self.downgrade();
        fingers.connect_scale_changed(move |fingers, scale| {
            if let Some(view) = view.upgrade() {
                view.zoom_by(scale / last.replace(scale), fingers.bounding_box_center());
            }
        });
        self.add_controller(fingers);
    }

    fn listen_to_pointer(&self) {
        let click = gtk::GestureClick::new();
        let view = self.downgrade();
        click.connect_released(move |_, _, x, y| {
            let Some(view) = view.upgrade() else { return };
            view.grab_focus();
            if let Some(place) = view.node_at(x, y) {
                view.focus_node(place);
                view.choose(place);
            }
        });
        self.add_controller(click);
        let pointer = gtk::EventControllerMotion::new();
        let view = self.downgrade();
        pointer.connect_motion(move |_, x, y| {
            let Some(view) = view.upgrade() else { return };
            let hovered = view.node_at(x, y);
            if view.imp().hovered.replace(hovered) != hovered {
                view.set_cursor_from_name(hovered.map(|_| "pointer"));
                view.queue_draw();
            }
        });
        self.add_controller(pointer);
    }
}
