//! The service `io.github.dormouse.Dormouse1`, and what it shares with the command.
//!
//! # The service
//!
//! [`serve()`] owns the name on the bus and answers ([`bus`]); [`authorize`] decides who may do what. It surveys by itself
//! ([`watch`]), and does nothing else to any process: each freeze, thaw, check and look into an image is the work of a
//! process of its own ([`worker`]), so that nothing slow or broken stands in the way of another answer. Whatever needs no
//! power is done as the user who asks; the rest by an engine that knows for whom it works
//! ([`Asker`](dormouse_engine::Asker)).
//!
//! When the service ends in the middle of a job, the job is undone: its worker is told by the kernel (PR_SET_PDEATHSIG).
//! Images are files; nothing else has to be remembered.
//!
//! # What the command uses too
//!
//! Whole sessions ([`session`]), bundles ([`bundle`]), the folder of images ([`store`]), the way to look into one ([`look`]), the folder that lasts until the next boot
//! ([`runtime`]), systemd ([`systemd`]), where desktop entries lie ([`folders`]), times for people ([`when`]), and what
//! failures of the engine come to ([`failure`]).

pub mod alone;
mod authorize;
pub mod bundle;
pub mod bus;
mod copying;
pub mod failure;
pub mod folders;
pub mod look;
pub mod moving;
pub mod runtime;
mod serve;
pub mod session;
pub mod store;
pub mod systemd;
mod watch;
pub mod when;
pub mod worker;

pub use serve::{Options, ServeError, serve};
