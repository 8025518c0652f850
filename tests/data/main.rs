//! What surrounds the programs: launcher, metainfo, settings, icons, translations, the service's unit and its rights on the bus.
//! Each file is looked at as `make install` leaves it, by the program that reads it in a real system.
#![allow(clippy::panic, missing_docs)]

mod bus;
mod desktop;
mod flatpak;
mod icons;
mod installed;
mod interfaces;
mod policy;
mod translations;
mod unit;
