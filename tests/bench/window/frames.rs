//! Frames, as the display sees them: X11's extension DAMAGE tells when pixels have changed, and a part of the screen is looked
//! at each time.

use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::damage::{ConnectionExt as _, ReportLevel};
use x11rb::protocol::xproto::{ConnectionExt as _, ImageFormat};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use super::done;

/// A part of the screen: left, top, width, height.
pub type Part = (i16, i16, u16, u16);

/// A frame: when, and what was in the part.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// When the display told of it.
    pub at: Instant,
    /// What the part looked like, as a number.
    pub look: u64,
}

/// Watches a display until it is dropped.
#[derive(Debug)]
pub struct Frames {
    seen: Arc<Mutex<Vec<Frame>>>,
    ends: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
}

impl Frames {
    /// Begins to watch.
    pub fn watch(display: &str, part: Part) -> Self {
        let (connection, screen) = done(RustConnection::connect(Some(display)));
        let root = connection.setup().roots[screen].root;
        done(done(connection.damage_query_version(1, 1)).reply());
        let damage = done(connection.generate_id());
        done(done(connection.damage_create(damage, root, ReportLevel::NON_EMPTY)).check());
        let (seen, ends) = (Arc::<Mutex<Vec<Frame>>>::default(), Arc::<AtomicBool>::default());
        let (told, end) = (seen.clone(), ends.clone());
        let watcher = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                match done(connection.poll_for_event()) {
                    Some(Event::DamageNotify(_)) => {
                        let at = Instant::now();
                        done(connection.damage_subtract(damage, x11rb::NONE, x11rb::NONE));
                        let (left, top, width, height) = part;
                        let image = connection.get_image(ImageFormat::Z_PIXMAP, root, left, top, width, height, !0);
                        let mut hasher = DefaultHasher::new();
                        hasher.write(&done(done(image).reply()).data);
                        locked(&told).push(Frame { at, look: hasher.finish() });
                    }
                    Some(_) => {}
                    None => std::thread::sleep(Duration::from_micros(500)),
                }
            }
        });
        Self { seen, ends, watcher: Some(watcher) }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Vec<Frame> {
        locked(&self.seen).clone()
    }

    /// The frames that changed the part, each with a look other than the one before it.
    pub fn changes(&self) -> Vec<Frame> {
        let mut seen = self.seen();
        seen.dedup_by_key(|frame| frame.look);
        seen
    }

    /// Waits until the part has not changed for so long.
    pub fn settle(&self, still: Duration) -> Vec<Frame> {
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let changes = self.changes();
            if changes.last().is_some_and(|frame| frame.at.elapsed() > still) {
                return changes;
            }
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = self.watcher.take().map(JoinHandle::join);
    }
}

fn locked(seen: &Mutex<Vec<Frame>>) -> MutexGuard<'_, Vec<Frame>> {
    seen.lock().unwrap_or_else(|error| panic!("{error}"))
}

/// A mouse, X11's extension XTEST.
#[derive(Debug)]
pub struct Mouse {
    connection: RustConnection,
    root: u32,
}

impl Mouse {
    /// One at this place of the screen.
    pub fn at(display: &str, left: i16, top: i16) -> Self {
        let (connection, screen) = done(RustConnection::connect(Some(display)));
        let root = connection.setup().roots[screen].root;
        let mouse = Self { connection, root };
        mouse.fake(x11rb::protocol::xproto::MOTION_NOTIFY_EVENT, 0, left, top);
        mouse
    }

    /// Turns the wheel one notch down.
    pub fn turn(&self) {
        const DOWN: u8 = 5;
        self.fake(x11rb::protocol::xproto::BUTTON_PRESS_EVENT, DOWN, 0, 0);
        self.fake(x11rb::protocol::xproto::BUTTON_RELEASE_EVENT, DOWN, 0, 0);
    }

    fn fake(&self, kind: u8, detail: u8, left: i16, top: i16) {
        done(done(self.connection.xtest_fake_input(kind, detail, 0, self.root, left, top, 0)).check());
    }
}
