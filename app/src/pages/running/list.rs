//! The list itself: it makes rows only for what is in view, so that thousands of groups cost no more than twenty.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use gettextrs::gettext;
use relm4::Sender;
use relm4::gtk;
use relm4::gtk::glib;
use relm4::gtk::prelude::*;

use super::Msg;
use crate::accessible;
use crate::rows::group::{GroupRow, Shown};

/// The rows, by the id of their group.
type Bound = Rc<RefCell<HashMap<String, GroupRow>>>;

/// The list.
#[derive(Debug)]
pub struct List {
    view: gtk::ListView,
    store: gtk::StringList,
    ids: Vec<String>,
    bound: Bound,
}

impl List {
    /// An empty one, which says what happens to it.
    pub fn new(sender: &Sender<Msg>) -> Self {
        let store = gtk::StringList::new(&[]);
        let bound = Bound::default();
        let factory = factory(sender, &bound);
        let selection = gtk::NoSelection::new(Some(store.clone()));
        let view = gtk::ListView::builder().model(&selection).factory(&factory).single_click_activate(true).build();
        view.add_css_class("groups");
        accessible::name(&view, &gettext("Running groups"));
        let activated = sender.clone();
        view.connect_activate(move |_, place| activated.emit(Msg::Activated(place)));
        let shown = sender.clone();
        view.connect_map(move |_| shown.emit(Msg::Moved));
        // The adjustment is the scrolled window's, which gives it when the list has come into it.
        let moved = sender.clone();
        view.connect_vadjustment_notify(move |view| {
            let Some(adjustment) = view.vadjustment() else { return };
            let moved = moved.clone();
            adjustment.connect_value_changed(move |_| moved.emit(Msg::Moved));
        });
        Self { view, store, ids: Vec::new(), bound }
    }

    /// Its widget.
    pub fn widget(&self) -> &gtk::ListView {
        &self.view
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Which group stands there.
    pub fn at(&self, place: u32) -> Option<String> {
        self.ids.get(place as usize).cloned()
    }

    /// Whether it is in the list, in view or not.
    pub fn has(&self, id: &str) -> bool {
        self.ids.iter().any(|own| own == id)
    }

    /// The groups that have a row.
    pub fn bound(&self) -> Vec<String> {
        self.bound.borrow().keys().cloned().collect()
    }

    /// Whether rows have got their places.
    pub fn is_laid_out(&self) -> bool {
        self.view.is_mapped() && self.bound().iter().any(|id| self.is_in_view(id))
    }

    /// Whether a person sees a group now. There are rows for some above and below, too.
    pub fn is_in_view(&self, id: &str) -> bool {
        let bound = self.bound.borrow();
        let place = bound.get(id).and_then(|row| row.widget().compute_bounds(&self.view));
        place.is_some_and(|place| {
            place.height() > 0.0 && place.y() + place.height() > 0.0 && place.y() < self.view.height() as f32
        })
    }

    /// Shows a group, if it has a row.
    pub fn show(&self, shown: &Shown<'_>) {
        if let Some(row) = self.bound.borrow().get(&shown.group.id) {
            row.show(shown);
        }
    }

    /// Lists these. What stays keeps its row, with the focus on it.
    pub fn set(&mut self, ids: Vec<String>) {
        for (start, removed, added) in splices(&self.ids, &ids) {
            let added: Vec<&str> = ids[added].iter().map(String::as_str).collect();
            self.store.splice(start, removed, &added);
        }
        self.ids = ids;
    }
}

/// What makes one list of another: from the end to the front, the place, how many go, and which of the new ones come there.
/// What is in both in the same order is left alone.
fn splices(old: &[String], new: &[String]) -> Vec<(u32, u32, std::ops::Range<usize>)> {
    let places: HashMap<&str, usize> = new.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
    let mut found = Vec::new();
    let (mut from, mut next) = (0, 0);
    for (at, id) in old.iter().enumerate() {
        // A greedy walk: whoever would have to go back is taken out and put in anew.
        let Some(&place) = places.get(id.as_str()).filter(|place| **place >= next) else { continue };
        if at > from || place > next {
            found.push((from as u32, (at - from) as u32, next..place));
        }
        (from, next) = (at + 1, place + 1);
    }
    if old.len() > from || new.len() > next {
        found.push((from as u32, (old.len() - from) as u32, next..new.len()));
    }
    found.reverse();
    found
}

fn factory(sender: &Sender<Msg>, bound: &Bound) -> gtk::SignalListItemFactory {
    let factory = gtk::SignalListItemFactory::new();
    // The row of an item is known by its widget.
    let rows: Rc<RefCell<HashMap<gtk::Widget, GroupRow>>> = Rc::default();
    let (wished, made) = (sender.clone(), rows.clone());
    factory.connect_setup(move |_, item| {
        let Some(item) = item.downcast_ref::<gtk::ListItem>() else { return };
        let wished = wished.clone();
        let row = GroupRow::new(move |wish| wished.emit(Msg::Wished(wish)));
        item.set_child(Some(row.widget()));
        made.borrow_mut().insert(row.widget().clone().upcast(), row);
    });
    let (seen, in_view, made) = (sender.clone(), bound.clone(), rows.clone());
    factory.connect_bind(move |_, item| {
        let Some((widget, id)) = bound_item(item) else { return };
        if let Some(row) = made.borrow().get(&widget) {
            in_view.borrow_mut().insert(id.clone(), row.clone());
        }
        seen.emit(Msg::Seen(id));
    });
    let (left, in_view) = (sender.clone(), bound.clone());
    factory.connect_unbind(move |_, item| {
        let Some((widget, id)) = bound_item(item) else { return };
        let mut in_view = in_view.borrow_mut();
        // The same group may have got another row meanwhile.
        if in_view.get(&id).is_some_and(|row| row.widget() == &widget) {
            in_view.remove(&id);
            left.emit(Msg::Left(id));
        }
    });
    factory.connect_teardown(move |_, item| {
        if let Some(widget) = item.downcast_ref::<gtk::ListItem>().and_then(gtk::ListItem::child) {
            rows.borrow_mut().remove(&widget);
        }
    });
    factory
}

fn bound_item(item: &glib::Object) -> Option<(gtk::Widget, String)> {
    let item = item.downcast_ref::<gtk::ListItem>()?;
    let id = item.item()?.downcast::<gtk::StringObject>().ok()?.string().to_string();
    Some((item.child()?, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(old: &str, new: &str) -> (String, usize) {
        let letters = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        let (mut list, new) = (letters(old), letters(new));
        let splices = splices(&list, &new);
        let count = splices.len();
        for (start, removed, added) in splices {
            let start = start as usize;
            list.splice(start..start + removed as usize, new[added].iter().cloned());
        }
        (list.concat(), count)
    }

    #[test]
    fn one_list_becomes_the_other_by_few_splices() {
        for (old, new, count) in [
            ("", "", 0),
            ("", "abc", 1),
            ("abc", "", 1),
            ("abc", "abc", 0),
            ("abc", "axbc", 1),
            ("abcdef", "acxef", 2),
            ("abc", "cab", 2),
            ("abcd", "dcba", 2),
        ] {
            assert_eq!(made(old, new), (new.to_owned(), count), "{old} to {new}");
        }
    }
}
