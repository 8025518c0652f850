//! Tells watchers what has changed.

use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use dormouse_engine::survey::listing::Whose;
use dormouse_wire::dbus::PATH;
use zbus::names::UniqueName;

use crate::bus::{House, caller};
use crate::store;

/// Between two looks, at least.
const INTERVAL: Duration = Duration::from_secs(2);
/// So many times as long as a look took, nobody looks: it costs less than a hundredth of a processor.
const REST: u32 = 150;
/// After something was done there is no rest but these: what has ended goes, and what was woken comes, within moments.
const SETTLING: [Duration; 4] =
    [Duration::from_millis(150), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// So long a folder may take to answer.
const LOOK: Duration = Duration::from_secs(2);

const GROUPS: &str = "io.github.dormouse.Dormouse1.Groups";
const IMAGES: &str = "io.github.dormouse.Dormouse1.Images";

/// Looks and tells, as long as the service lives.
pub async fn tell_watchers(house: Arc<House>) {
    let mut rest = INTERVAL;
    let mut settling = [].iter();
    loop {
        let pause = settling.next().copied().unwrap_or(rest);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = house.survey.hurried() => {
                settling = SETTLING.iter();
                continue;
            }
        }
        let begin = Instant::now();
        // Not in the head of the loop, where the lock would be held as long as the loop.
        let users = house.watchers.lock().await.users();
        for user in users {
            if let Ok(now) = house.survey.list(Whose::User(user)).await {
                house.tell(user, &now).await;
            }
        }
        rest = INTERVAL.max(begin.elapsed() * REST);
    }
}

impl House {
    /// Tells a user's watchers what they do not know.
    async fn tell(&self, user: u32, now: &[dormouse_wire::Listed]) {
        let changed = self.images_since(user).await;
        let mut watchers = self.watchers.lock().await;
        for watcher in watchers.0.values_mut().filter(|watcher| watcher.caller.user == user) {
            let (news, gone) = watcher.heard.catch_up(now);
            let name = watcher.caller.name.inner();
            if let (false, Ok(text)) = (news.is_empty() && gone.is_empty(), serde_json::to_string(&news)) {
                self.changed(name, GROUPS, &(text, gone)).await;
            }
            let Some(changed) = changed else { continue };
            if changed != watcher.images {
                watcher.images = changed;
                self.changed(name, IMAGES, &()).await;
            }
        }
    }

    /// When the folder of a user's images was last changed. None: it does not answer, for it is on a network that is gone or
    /// in a filesystem of a program; then nobody asks it again as long as this question lasts.
    async fn images_since(&self, user: u32) -> Option<Option<SystemTime>> {
        let who = caller::who(user, self.session).ok()?;
        let asked = self.folders_asked.clone();
        if !asked.lock().unwrap_or_else(PoisonError::into_inner).insert(user) {
            return None;
        }
        let look = tokio::task::spawn_blocking(move || {
            let folder = store::chosen(&who.choice).unwrap_or(who.usual);
            // The folder of somebody else is none of his business.
            let found = folder.metadata().ok().filter(|found| found.uid() == who.user);
            asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&user);
            found.and_then(|found| found.modified().ok())
        });
        tokio::time::timeout(LOOK, look).await.ok()?.ok()
    }

    /// Tells a user's watchers that something has become of his images.
    pub async fn images_changed(&self, user: u32) {
        for name in self.watchers.lock().await.of(user) {
            self.changed(name.inner(), IMAGES, &()).await;
        }
    }

    /// Sends `Changed` to one connection. One that has left the bus hears no more; a body that cannot be sent is told.
    async fn changed<B>(&self, name: &UniqueName<'static>, interface: &str, body: &B)
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        let sent = self.connection.emit_signal(Some(name.clone()), PATH, interface, "Changed", body).await;
        if let Err(error) = sent {
            tracing::warn!(%error, %name, interface, "a watcher was not told of a change");
        }
    }
}
