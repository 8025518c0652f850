//! Widgets of our own, and what several of them need.

pub mod badge;
pub mod facts;
pub mod graph;
pub mod icon;
pub mod progress;
