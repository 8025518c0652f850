//! What the pages show, without GTK: [groups] with their [verdicts], [images], the [overview] of both, and the [graph](graph) of a group.

pub mod graph;
pub mod groups;
pub mod images;
pub mod overview;
pub mod verdicts;
