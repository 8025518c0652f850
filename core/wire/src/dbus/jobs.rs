//! The interface of each job, and what is said in it.

/// A piece of work that takes its time. It can be looked at for a minute after its end.
#[zbus::proxy(interface = "io.github.dormouse.Dormouse1.Job", default_service = "io.github.dormouse.Dormouse1")]
pub trait Job {
    /// Asks it to undo itself. It has ended when the state says so.
    fn cancel(&self) -> zbus::Result<()>;

    /// `freeze`, `thaw`, `export`, `import` or `move`: a [`JobKind`](super::JobKind).
    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> zbus::Result<String>;

    /// The id of the group or image.
    #[zbus(property(emits_changed_signal = "const"))]
    fn subject(&self) -> zbus::Result<String>;

    /// `running`, `done`, `failed` or `cancelled`: a [`JobState`](super::JobState).
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;

    /// The [`Phase`](crate::Phase) as in JSON, such as `writing`; empty before the first.
    #[zbus(property)]
    fn phase(&self) -> zbus::Result<String>;

    /// How many bytes of this phase have been moved.
    #[zbus(property)]
    fn bytes(&self) -> zbus::Result<u64>;

    /// How many there are to move; 0 where none are, or it is not known.
    #[zbus(property)]
    fn total(&self) -> zbus::Result<u64>;

    /// How many seconds this phase will take still; -1 where it is not known.
    #[zbus(property)]
    fn seconds_left(&self) -> zbus::Result<i32>;

    /// JSON once it has ended: the result, or a [`Failure`](super::Failure); empty before.
    #[zbus(property)]
    fn result(&self) -> zbus::Result<String>;
}
