//! The interface of the images.

use std::collections::HashMap;

use zbus::zvariant::{Fd, OwnedObjectPath, Value};

/// The caller's images.
#[zbus::proxy(
    interface = "io.github.dormouse.Dormouse1.Images",
    default_service = "io.github.dormouse.Dormouse1",
    default_path = "/io/github/dormouse/Dormouse1"
)]
pub trait Images {
    /// The images in the caller's folder: JSON, a list of [`Sleeping`](super::Sleeping).
    fn list(&self) -> zbus::Result<String>;

    /// The folder, and how much room it has: JSON, a [`Folder`](super::Folder).
    fn folder(&self) -> zbus::Result<String>;

    /// What is in an image: JSON, as `dormouse inspect --json` writes it.
    fn inspect(&self, image: &str) -> zbus::Result<String>;

    /// What stands in the way of waking it here and now: JSON, a list of [`Problem`](crate::Problem), empty where nothing does.
    fn preflight(&self, image: &str) -> zbus::Result<String>;

    /// Begins to wake it; answers the job. Its result is a [`Thawed`](crate::Thawed). The image stays.
    #[zbus(allow_interactive_auth)]
    fn thaw(&self, image: &str, options: HashMap<&str, Value<'_>>) -> zbus::Result<OwnedObjectPath>;

    /// Begins to copy it into a file that the caller has opened; answers the job.
    fn export(&self, image: &str, file: Fd<'_>) -> zbus::Result<OwnedObjectPath>;

    /// Begins to pack it with the programs and libraries that it needs into a file that the caller has opened; answers the job. Its result
    /// says how much is in it.
    fn export_bundle(
        &self,
        image: &str,
        file: Fd<'_>,
        options: HashMap<&str, Value<'_>>,
    ) -> zbus::Result<OwnedObjectPath>;

    /// Begins to copy an image from a file that the caller has opened into the caller's folder, checking every byte; answers
    /// the job. Its result is a [`Sleeping`](super::Sleeping).
    fn import(&self, name: &str, file: Fd<'_>) -> zbus::Result<OwnedObjectPath>;

    /// Deletes it.
    fn delete(&self, image: &str) -> zbus::Result<()>;

    /// Begins to make another folder that of the caller's images, or one in it where others may enter it; empty: the usual one
    /// again. The images come along. Answers the job; its result is a [`Folder`](super::Folder).
    fn move_to(&self, folder: &str) -> zbus::Result<OwnedObjectPath>;

    /// The images of the receiver may have changed. Sent to watchers of groups, too.
    #[zbus(signal)]
    fn changed(&self) -> zbus::Result<()>;
}
