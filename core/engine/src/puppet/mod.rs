//! A stopped process and what runs in it.
//!
//! Most of what the engine wants to know or change is reached from outside. What only the process itself can ask or do
//! runs in it as a [batch](Batch): a few pages of memory are put into the process, the [stage](stage::Stage); the loop
//! in [`arch`] walks the records on a thread's desk; the thread stops again at the end.

#[path = "x86_64.rs"]
pub mod arch;
pub mod batch;
mod calls;
mod error;
pub mod foothold;
pub mod stage;
pub mod thread;
mod wait;

pub use batch::{Argument, Batch, Call, FailedCall, Slot};
pub use error::{PuppetError, kernel};
pub use foothold::{Foothold, Ground};
pub use stage::{Desk, Stage};
pub use thread::{Puppet, run_together};
