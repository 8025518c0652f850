//! What is there, without stopping or touching anything: [`collect`] reads what /proc tells of each process, [`files`]
//! finds out which descriptors stand for one open file, [`judge`] says what stands in the way of a freeze, [`x11`] tells
//! who holds which windows, [`buses`] the names on message buses, [`needs`] what a group needs of the system,
//! [`networks`] asks the network namespaces.
//!
//! [`everyone`] looks at all processes of the machine, [`groups`] sorts them into what a person calls an app or a job,
//! [`names`] finds names and icons for those, and [`listing`] tells of it all.

pub mod belongs;
pub mod born;
pub mod buses;
pub mod collect;
pub mod confinement;
pub mod connect;
pub mod connections;
pub mod control_group;
pub mod deciders;
pub mod doctor;
pub mod everyone;
pub mod files;
pub mod found;
pub mod groups;
pub mod in_flight;
pub mod inner;
pub mod judge;
pub mod listing;
pub mod mapped;
pub mod names;
pub mod needs;
pub mod networks;
pub mod own_servers;
mod segments;
pub mod select;
pub mod strangers;
pub mod system_v;
pub mod terminals;
pub mod x11;
