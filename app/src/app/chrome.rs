//! The frame of the window: bars, menu, search, the pages' places, and what is said on top of them.

use gettextrs::gettext;
use relm4::Sender;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk;
use relm4::gtk::gio;

use super::Msg;
use crate::accessible;

/// The frame.
#[derive(Debug)]
pub struct Chrome {
    window: adw::ApplicationWindow,
    toasts: adw::ToastOverlay,
    leaflet: adw::Leaflet,
    lists: gtk::Box,
    stack: adw::ViewStack,
    search: gtk::ToggleButton,
    lacks: Said,
}

/// A sentence that stands above a page for as long as it is true.
#[derive(Clone, Debug)]
struct Said {
    root: gtk::Revealer,
    label: gtk::Label,
}

impl Said {
    fn new() -> Self {
        relm4::view! {
            root = gtk::Revealer {
                gtk::Box {
                    set_spacing: 12,
                    add_css_class: "said",
                    gtk::Image { set_icon_name: Some("dialog-information-symbolic") },
                    #[name = "label"]
                    gtk::Label { set_wrap: true, set_xalign: 0.0, set_hexpand: true },
                    #[name = "close"]
                    gtk::Button {
                        set_icon_name: "window-close-symbolic",
                        set_tooltip_text: Some(&gettext("Close")),
                        set_valign: gtk::Align::Center,
                        add_css_class: "flat",
                        add_css_class: "circular",
                    },
                },
            }
        }
        accessible::name(&close, &gettext("Close this message"));
        let revealer = root.clone();
        close.connect_clicked(move |_| revealer.set_reveal_child(false));
        Self { root, label }
    }

    fn say(&self, sentence: Option<&str>) {
        self.label.set_label(sentence.unwrap_or_default());
        self.root.set_reveal_child(sentence.is_some());
    }
}

impl Chrome {
    /// Puts the window together.
    pub fn new(
        window: &adw::ApplicationWindow,
        (running, asleep): (&gtk::Stack, &gtk::Stack),
        (detail, image): (&gtk::Box, &gtk::Box),
        sender: &Sender<Msg>,
    ) -> Self {
        let stack = adw::ViewStack::builder().vexpand(true).build();
        stack.add_titled(running, Some("running"), &gettext("Running")).set_icon_name(Some("view-list-symbolic"));
        stack
            .add_titled(asleep, Some("asleep"), &gettext("Asleep"))
            .set_icon_name(Some("weather-clear-night-symbolic"));
        let (bar, search) = search_bar(window, sender);
        let switcher = adw::ViewSwitcherTitle::builder().stack(&stack).title(gettext("Dormouse")).build();
        let bottom = adw::ViewSwitcherBar::builder().stack(&stack).build();
        switcher.bind_property("title-visible", &bottom, "reveal").sync_create().build();
        let header = header(&switcher, &search, &stack);
        let (session, lacks) = (Said::new(), Said::new());
        session.say(is_x11(window).then(|| gettext("In this session of X11 a paused program can hold on to the keyboard and the mouse. A session of Wayland keeps the others free.")).as_deref());
        relm4::view! {
            toasts = adw::ToastOverlay {
                #[name = "leaflet"]
                adw::Leaflet {
                    set_can_unfold: false,
                    #[name = "lists"]
                    append = &gtk::Box {
                        set_orientation: gtk::Orientation::Vertical,
                        append: &header,
                        append: &bar,
                        append: &session.root,
                        append: &lacks.root,
                        append: &stack,
                        append: &bottom,
                    },
                    append: detail,
                    append: image,
                },
            }
        }
        window.set_content(Some(&toasts));
        window.set_title(Some(&gettext("Dormouse")));
        let frame = Self { window: window.clone(), toasts, leaflet, lists, stack, search, lacks };
        frame.leave_on_escape(sender);
        frame
    }

    /// The window.
    pub fn window(&self) -> &adw::ApplicationWindow {
        &self.window
    }

    /// Where toasts appear.
    pub fn toasts(&self) -> &adw::ToastOverlay {
        &self.toasts
    }

    /// Says something for a moment.
    pub fn say(&self, sentence: &str) {
        self.toasts.add_toast(adw::Toast::new(sentence));
    }

    /// Says for as long as it is true what the service lacks.
    pub fn say_lacks(&self, lacks: Option<&str>) {
        self.lacks.say(lacks);
    }

    /// Shows a page of the list.
    pub fn show(&self, page: &str) {
        self.back();
        self.stack.set_visible_child_name(page);
    }

    /// Shows a page in front of the lists.
    pub fn open(&self, page: &gtk::Box) {
        self.leaflet.set_visible_child(page);
        page.child_focus(gtk::DirectionType::TabForward);
    }

    /// Shows the lists, if this page is in front of them.
    pub fn leave(&self, page: &gtk::Box) {
        if self.leaflet.visible_child().as_ref() == Some(page.upcast_ref()) {
            self.back();
        }
    }

    /// Shows the lists. Whoever walks by keys goes on there.
    pub fn back(&self) {
        if self.leaflet.visible_child().as_ref() != Some(self.lists.upcast_ref()) {
            self.leaflet.set_visible_child(&self.lists);
            self.stack.child_focus(gtk::DirectionType::TabForward);
        }
    }

    /// Begins a search.
    pub fn search(&self) {
        self.show("running");
        self.search.set_active(true);
    }

    fn leave_on_escape(&self, sender: &Sender<Msg>) {
        let keys = gtk::EventControllerKey::new();
        let sender = sender.clone();
        keys.connect_key_pressed(move |_, key, _, _| {
            if key == gtk::gdk::Key::Escape {
                sender.emit(Msg::Back);
            }
            gtk::glib::Propagation::Proceed
        });
        self.window.add_controller(keys);
    }
}

fn header(switcher: &adw::ViewSwitcherTitle, search: &gtk::ToggleButton, stack: &adw::ViewStack) -> adw::HeaderBar {
    relm4::view! {
        header = adw::HeaderBar {
            pack_start: search,
            set_title_widget: Some(switcher),
            #[name = "menu"]
            pack_end = &gtk::MenuButton {
                set_icon_name: "open-menu-symbolic",
                set_primary: true,
                set_tooltip_text: Some(&gettext("Menu")),
                set_menu_model: Some(&primary()),
            },
            #[name = "sort"]
            pack_end = &gtk::MenuButton {
                set_icon_name: "view-sort-descending-symbolic",
                set_tooltip_text: Some(&gettext("Order")),
                set_menu_model: Some(&orders()),
            },
        }
    }
    accessible::name(&menu, &gettext("Menu"));
    accessible::name(&sort, &gettext("Order"));
    for only_there in [sort.upcast_ref::<gtk::Widget>(), search.upcast_ref()] {
        let widget = only_there.clone();
        stack.connect_visible_child_name_notify(move |stack| {
            widget.set_visible(stack.visible_child_name().as_deref() == Some("running"));
        });
    }
    header
}

fn primary() -> gio::Menu {
    let menu = gio::Menu::new();
    menu.append(Some(&gettext("_Refresh")), Some("app.refresh"));
    let about = gio::Menu::new();
    about.append(Some(&gettext("_Preferences")), Some("app.preferences"));
    about.append(Some(&gettext("_Keyboard Shortcuts")), Some("app.shortcuts"));
    about.append(Some(&gettext("_About Dormouse")), Some("app.about"));
    menu.append_section(None, &about);
    let end = gio::Menu::new();
    end.append(Some(&gettext("_Quit")), Some("app.quit"));
    menu.append_section(None, &end);
    menu
}

fn orders() -> gio::Menu {
    let menu = gio::Menu::new();
    menu.append(Some(&gettext("By _Name")), Some("app.sort::name"));
    menu.append(Some(&gettext("By _Memory")), Some("app.sort::memory"));
    menu
}

/// The bar, and the button that opens it. Whoever begins to type searches.
fn search_bar(window: &adw::ApplicationWindow, sender: &Sender<Msg>) -> (gtk::SearchBar, gtk::ToggleButton) {
    let entry =
        gtk::SearchEntry::builder().hexpand(true).placeholder_text(gettext("Name or number of a process")).build();
    accessible::name(&entry, &gettext("Search"));
    let bar = gtk::SearchBar::builder().child(&adw::Clamp::builder().maximum_size(400).child(&entry).build()).build();
    bar.connect_entry(&entry);
    bar.set_key_capture_widget(Some(window));
    let button =
        gtk::ToggleButton::builder().icon_name("system-search-symbolic").tooltip_text(gettext("Search")).build();
    accessible::name(&button, &gettext("Search"));
    button.bind_property("active", &bar, "search-mode-enabled").bidirectional().build();
    let sender = sender.clone();
    entry.connect_search_changed(move |entry| sender.emit(Msg::Searched(entry.text().to_string())));
    (bar, button)
}

fn is_x11(window: &adw::ApplicationWindow) -> bool {
    WidgetExt::display(window).type_().name() == "GdkX11Display"
}
