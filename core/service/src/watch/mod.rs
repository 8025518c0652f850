//! The look at all processes, for whoever asks and whoever watches.
//!
//! A thread of its own looks ([`survey`]), never more often than anybody needs; [`guard`] knows what is left alone, and
//! [`changes`] what a watcher has not heard yet.

mod changes;
mod guard;
mod redact;
mod survey;
mod tell;
mod watchers;

pub use redact::redact;
pub use survey::{Group, NotFound, Survey};
pub use tell::tell_watchers;
pub use watchers::Watchers;
