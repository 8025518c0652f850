//! The root: it holds the window together and forwards what happens to those whom it concerns.

mod chrome;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use dormouse_wire::ThawWish;
use gettextrs::gettext;
use relm4::adw;
use relm4::adw::prelude::*;
use relm4::gtk::gio;
use relm4::prelude::*;

use self::chrome::Chrome;
use crate::bus::{self, Ask, Bus, News, Service};
use crate::dialogs::export::With;
use crate::dialogs::{about, preferences, shortcuts};
use crate::errands::Errands;
use crate::model::groups::Sort;
use crate::model::overview::Overview;
use crate::pages::Wish;
use crate::pages::asleep::{self, Asleep};
use crate::pages::detail::{self, Detail};
use crate::pages::image::{self, Image};
use crate::pages::running::{self, Running};
use crate::settings::{Choice, Settings};
use crate::tray::Tray;
use crate::{actions, is_own};

/// The app.
#[derive(Debug)]
pub struct App {
    application: adw::Application,
    bus: Bus,
    settings: Settings,
    overview: Overview,
    errands: Errands,
    chrome: Chrome,
    running: Controller<Running>,
    asleep: Controller<Asleep>,
    detail: Controller<Detail>,
    image: Controller<Image>,
    tray: Tray,
    /// Whether somebody shows the tray.
    has_tray: bool,
    background: Background,
    /// The last image is to be woken as soon as it is known which that is.
    wakes_last: bool,
    /// The app is ending, and waits until these images are deleted.
    last_deletions: Option<HashSet<String>>,
}

/// So long the app waits at its end until the service has answered.
const LAST_WAIT: Duration = Duration::from_secs(3);

/// Whether the app was started to stay without a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Background {
    /// It was not.
    No,
    /// It is being started so.
    Starting,
    /// It stays.
    Stays,
}

/// What happened.
#[derive(Debug)]
pub enum Msg {
    /// The service has told something.
    Heard(News),
    /// The person wishes something.
    Wished(Wish),
    /// The window is wanted.
    Activated,
    /// The window is wanted, by a click on the tray.
    Wanted,
    /// The menu of the tray is about to be seen.
    TrayOpened,
    /// Somebody shows the tray from now on, or nobody does.
    TrayShows(bool),
    /// Files were opened.
    Opened(Vec<gio::File>),
    /// One of them is to be woken.
    WakeFile(PathBuf),
    /// It was chosen what goes with a copy.
    ExportWith { image: String, with: With },
    /// A place for a copy was chosen.
    ExportTo { image: String, with: With, path: PathBuf },
    /// An image is to be woken in this way.
    WakeSo { image: String, wish: ThawWish },
    /// The image that was frozen last is to be woken.
    WakeLast,
    /// An image is not to be deleted after all.
    Spared(String),
    /// A page is wanted.
    Show(&'static str),
    /// The search is wanted.
    Search,
    /// Other words are searched.
    Searched(String),
    /// Another order is wanted.
    Sorted(String),
    /// The list is wanted, away from what is before it.
    Back,
    /// A dialog is wanted.
    Preferences,
    /// A dialog is wanted.
    Shortcuts,
    /// A dialog is wanted.
    About,
    /// A choice has changed.
    Chosen(Choice, bool),
    /// The app goes on without a window.
    Background,
    /// The window is to be closed.
    CloseAsked,
    /// It is time to see whether anybody still needs the app.
    Idle,
    /// The app is to end.
    Quit,
}

impl SimpleComponent for App {
    type Init = adw::Application;
    type Input = Msg;
    type Output = ();
    type Root = adw::ApplicationWindow;
    type Widgets = ();

    fn init_root() -> Self::Root {
        adw::ApplicationWindow::builder().default_width(960).default_height(680).width_request(320).build()
    }

    fn init(app: adw::Application, root: Self::Root, sender: ComponentSender<Self>) -> ComponentParts<Self> {
        relm4::set_global_css(include_str!("style.css"));
        let settings = Settings::open();
        let input = sender.input_sender();
        let told = input.clone();
        let bus = bus::start(settings.is(Choice::ShowEverybody), move |news| {
            // After the end of the app nobody listens.
            let _ = told.send(Msg::Heard(news));
        });
        actions::install(&app, settings.sort().key(), input);
        listen(&app, &root, input);
        let shown = (bus.clone(), settings.sort(), settings.is(Choice::ShowEverybody));
        let running = Running::builder().launch(shown).forward(input, Msg::Wished);
        let asleep = Asleep::builder().launch(bus.clone()).forward(input, Msg::Wished);
        let detail = Detail::builder().launch(bus.clone()).forward(input, Msg::Wished);
        let image = Image::builder().launch(()).forward(input, Msg::Wished);
        let chrome = Chrome::new(&root, (running.widget(), asleep.widget()), (detail.widget(), image.widget()), input);
        let errands = Errands::new(bus.clone(), settings.clone(), root.clone(), chrome.toasts().clone(), input.clone());
        let model = Self {
            application: app,
            bus,
            settings,
            overview: Overview::default(),
            errands,
            chrome,
            running,
            asleep,
            detail,
            image,
            tray: Tray::start(input),
            has_tray: false,
            background: Background::No,
            wakes_last: false,
            last_deletions: None,
        };
        ComponentParts { model, widgets: () }
    }

    fn update(&mut self, message: Msg, sender: ComponentSender<Self>) {
        match message {
            Msg::Heard(news) => self.heard(news),
            Msg::Wished(wish) => self.wished(wish),
            Msg::Wanted => self.chrome.window().present(),
            Msg::TrayOpened => self.ask_verdicts(),
            Msg::TrayShows(shows) => self.has_tray = shows,
            Msg::Opened(files) => files.iter().for_each(|file| self.errands.open(file)),
            Msg::WakeFile(path) => self.errands.wake_file(&path, &self.overview),
            Msg::ExportWith { image, with } => self.errands.choose_place(image, with),
            Msg::ExportTo { image, with, path } => self.errands.export(image, with, &path, &self.overview),
            Msg::WakeSo { image, wish } => self.errands.wake_so(image, wish),
            Msg::WakeLast => {
                self.wakes_last = true;
                self.wake_last();
            }
            Msg::Spared(image) => {
                self.overview.images.spare(&image);
                tell(&self.asleep, asleep::Msg::Spared(image));
            }
            Msg::Searched(words) => tell(&self.running, running::Msg::Searched(words)),
            Msg::Sorted(key) => {
                let sort = Sort::of_key(&key);
                self.settings.set_sort(sort);
                tell(&self.running, running::Msg::Sorted(sort));
            }
            Msg::Chosen(choice, value) => {
                self.settings.set(choice, value);
                match choice {
                    Choice::ShowEverybody => tell(&self.running, running::Msg::Everybody(value)),
                    Choice::KeepConnections => {
                        self.overview.verdicts.clear();
                        tell(&self.running, running::Msg::JudgeAnew);
                        tell(&self.detail, detail::Msg::JudgeAnew);
                    }
                    Choice::AskBeforeFreezing | Choice::KeepFiles | Choice::RunInBackground => {}
                }
            }
            Msg::Show(_) | Msg::Search | Msg::Back | Msg::Activated => self.show(message),
            Msg::Preferences | Msg::Shortcuts | Msg::About => self.open_dialog(&message, sender.input_sender()),
            Msg::Background => self.background = Background::Starting,
            Msg::CloseAsked => self.close(),
            Msg::Idle => self.leave_if_idle(),
            Msg::Quit => self.quit(),
        }
    }
}

/// Tells a page. While the app ends, its pages may have ended before it.
fn tell<C: Component>(page: &Controller<C>, message: C::Input) {
    let _ = page.sender().send(message);
}

/// Has the desktop's calls for the app come in as messages.
fn listen(app: &adw::Application, window: &adw::ApplicationWindow, input: &relm4::Sender<Msg>) {
    const NOW_AND_THEN: u32 = 10;
    let sender = input.clone();
    app.connect_activate(move |_| sender.emit(Msg::Activated));
    let sender = input.clone();
    app.connect_open(move |_, files, _| sender.emit(Msg::Opened(files.to_vec())));
    let sender = input.clone();
    window.connect_close_request(move |_| {
        sender.emit(Msg::CloseAsked);
        gtk::glib::Propagation::Stop
    });
    let sender = input.clone();
    gtk::glib::timeout_add_seconds_local(NOW_AND_THEN, move || {
        sender.emit(Msg::Idle);
        gtk::glib::ControlFlow::Continue
    });
}

impl App {
    fn heard(&mut self, news: News) {
        let news = if self.settings.is(Choice::KeepConnections) { news.once_kept() } else { news };
        self.overview.hear(&news);
        self.errands.hear(&news, &self.overview);
        self.tray.show(&self.overview);
        self.leave_what_is_gone(&news);
        if let (News::Deleted { image, .. }, Some(left)) = (&news, &mut self.last_deletions) {
            left.remove(image);
            self.end_when_done();
        }
        if let News::Service(Service::There { lacks, .. }) = &news {
            self.chrome.say_lacks(lacks.as_deref());
        }
        tell(&self.running, running::Msg::Heard(news.clone()));
        tell(&self.asleep, asleep::Msg::Heard(news.clone()));
        tell(&self.detail, detail::Msg::Heard(news.clone()));
        tell(&self.image, image::Msg::Heard(news));
        self.wake_last();
    }

    /// The menu of the tray shows verdicts, too; those that nobody has asked for yet are asked for when it is opened.
    fn ask_verdicts(&self) {
        const AT_A_TIME: usize = 8;
        let groups = self.overview.groups.values().filter(|group| !is_own(group) && !group.ended);
        let unknown = groups.filter(|group| !self.overview.verdicts.contains_key(&group.id));
        unknown.take(AT_A_TIME).for_each(|group| self.bus.ask(Ask::Verdict(group.id.clone())));
    }

    /// A group that sleeps or has ended has no page any more.
    fn leave_what_is_gone(&self, news: &News) {
        let detail = self.detail.model();
        let shown = detail.shown();
        let is_gone = match news {
            News::Changed { gone, .. } => shown.is_some_and(|shown| gone.iter().any(|id| id == shown)),
            News::Groups(groups) => shown.is_some_and(|shown| groups.iter().all(|group| group.id != shown)),
            _ => false,
        };
        if is_gone {
            self.chrome.leave(self.detail.widget());
        }
    }

    fn wished(&mut self, wish: Wish) {
        match wish {
            Wish::Open(group) => {
                if let Some(group) = self.overview.groups.get(&group) {
                    tell(&self.detail, detail::Msg::Opened(Box::new(group.clone())));
                    self.chrome.open(self.detail.widget());
                }
            }
            Wish::OpenImage(id) => {
                if let Some(image) = self.overview.images.get(&id) {
                    tell(&self.image, image::Msg::Opened(Box::new(image.clone()), self.overview.images.problems(&id)));
                    self.chrome.open(self.image.widget());
                }
            }
            Wish::Freeze(group) => self.errands.freeze(group),
            Wish::Pause(group) => self.errands.pause(group),
            Wish::Resume(group) => self.errands.resume(group),
            Wish::Wake(image) => self.errands.wake(image),
            Wish::Export(image) => self.errands.ask_export(image, &self.overview),
            Wish::Delete(image) => {
                self.chrome.leave(self.image.widget());
                self.overview.images.doom(&image);
                tell(&self.asleep, asleep::Msg::Doomed(image.clone()));
                self.errands.delete(image, &self.overview);
            }
            Wish::Cancel(job) => self.errands.cancel(job),
            Wish::Refresh => self.bus.ask(Ask::Refresh),
        }
    }

    /// Wakes the image that was frozen last, once it is known which that is.
    fn wake_last(&mut self) {
        if self.wakes_last && self.overview.images_told {
            self.wakes_last = false;
            match self.overview.images.last() {
                Some(image) => self.errands.wake(image.id.clone()),
                None => self.chrome.say(&gettext("Nothing sleeps")),
            }
        }
    }

    fn show(&mut self, message: Msg) {
        match message {
            Msg::Show(page) => self.chrome.show(page),
            Msg::Search => self.chrome.search(),
            Msg::Back => self.chrome.back(),
            _ if self.background == Background::Starting => {
                // The first activation is the start itself.
                self.background = Background::Stays;
                return;
            }
            _ => {}
        }
        self.chrome.window().present();
    }

    fn open_dialog(&self, which: &Msg, input: &relm4::Sender<Msg>) {
        let window = self.chrome.window();
        match which {
            Msg::Preferences => {
                let sender = input.clone();
                let tray = if self.has_tray {
                    gettext("Closing the window leaves the app in the tray.")
                } else {
                    gettext(
                        "Closing the window leaves the app running. This desktop shows no tray: open the app again to see it.",
                    )
                };
                let chosen = move |choice, value| sender.emit(Msg::Chosen(choice, value));
                let bus = self.bus.clone();
                let known = preferences::Known {
                    folder: self.overview.folder.as_deref(),
                    at_logout: self.overview.at_logout.as_ref(),
                    tray: &tray,
                };
                preferences::show(window, &self.settings, known, chosen, move |ask| bus.ask(ask));
            }
            Msg::Shortcuts => shortcuts::show(window),
            _ => match &self.overview.service {
                Service::There { version, .. } => about::show(window, Some(version)),
                Service::Sought | Service::Missing => about::show(window, None),
            },
        }
    }

    /// The window closes. The app stays where it was told to, and until what it has begun is done.
    fn close(&mut self) {
        self.chrome.window().set_visible(false);
        if !self.stays() && self.errands.is_idle() {
            return self.quit();
        }
        self.delete_doomed();
    }

    fn stays(&self) -> bool {
        self.settings.is(Choice::RunInBackground) || self.background == Background::Stays
    }

    /// Started for one action, it ends after that.
    fn leave_if_idle(&mut self) {
        let is_needed = self.chrome.window().is_visible() || self.stays() || self.wakes_last || !self.errands.is_idle();
        if !is_needed {
            self.quit();
        }
    }

    /// Ends the app once the service has heard what it was asked last.
    fn quit(&mut self) {
        if self.last_deletions.is_some() {
            return;
        }
        self.last_deletions = Some(self.overview.images.doomed().into_iter().collect());
        self.chrome.window().set_visible(false);
        self.delete_doomed();
        self.end_when_done();
        let application = self.application.clone();
        gtk::glib::timeout_add_local_once(LAST_WAIT, move || application.quit());
    }

    fn end_when_done(&self) {
        if self.last_deletions.as_ref().is_some_and(HashSet::is_empty) {
            self.application.quit();
        }
    }

    /// Nobody can want back any more what was deleted.
    fn delete_doomed(&mut self) {
        for image in self.overview.images.doomed() {
            self.bus.ask(Ask::Delete(image));
        }
    }
}
