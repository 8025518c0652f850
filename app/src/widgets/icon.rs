//! The icon of an app or a job.

use std::path::Path;

use relm4::gtk;
use relm4::gtk::prelude::*;

const NAMELESS: &str = "application-x-executable";

/// Shows an icon by its name or its file; the one of any program where there is none.
pub fn show(image: &gtk::Image, icon: Option<&str>) {
    match icon {
        Some(file) if file.starts_with('/') && Path::new(file).is_file() => image.set_from_file(Some(file)),
        Some(name) if is_known(image, name) => image.set_icon_name(Some(name)),
        _ => image.set_icon_name(Some(NAMELESS)),
    }
}

fn is_known(image: &gtk::Image, name: &str) -> bool {
    gtk::IconTheme::for_display(&image.display()).has_icon(name)
}
