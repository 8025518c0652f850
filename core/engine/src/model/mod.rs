//! Nouns: addresses in other processes, what a task and a group are, what an image says of them.

mod remote;

pub use remote::RemotePtr;
