//! The interface of the service itself.

use zbus::zvariant::OwnedObjectPath;

/// The service itself.
#[zbus::proxy(
    interface = "io.github.dormouse.Dormouse1.Service",
    default_service = "io.github.dormouse.Dormouse1",
    default_path = "/io/github/dormouse/Dormouse1"
)]
pub trait Service {
    /// The jobs of the caller that run or have ended lately.
    fn jobs(&self) -> zbus::Result<Vec<OwnedObjectPath>>;

    /// Whether the caller's session falls asleep at logout: an [`AtLogout`](super::AtLogout), JSON.
    fn at_logout(&self) -> zbus::Result<String>;

    /// Chooses whether it does.
    fn set_at_logout(&self, chosen: bool) -> zbus::Result<()>;

    /// Its version.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;

    /// What it lacks for freezing and thawing, in a sentence; empty where it lacks nothing.
    #[zbus(property(emits_changed_signal = "const"))]
    fn lacks(&self) -> zbus::Result<String>;
}
