//! Names of controls for screen readers.
//!
//! The bindings offer this from GTK 4.10 on only; the function is in every GTK 4, and its address is all that is missing.

use std::ffi::{CString, c_char, c_int, c_void};

use relm4::gtk;
use relm4::gtk::glib::prelude::*;
use relm4::gtk::glib::translate::{IntoGlib, ToGlibPtr};

unsafe extern "C" {
    fn gtk_accessible_update_property(accessible: *mut c_void, first: c_int, ...);
}

/// What a widget is called by whoever cannot see it.
pub fn name(widget: &impl IsA<gtk::Widget>, name: &str) {
    set(widget, gtk::AccessibleProperty::Label, name);
}

/// What else there is to say of it.
pub fn describe(widget: &impl IsA<gtk::Widget>, description: &str) {
    set(widget, gtk::AccessibleProperty::Description, description);
}

fn set(widget: &impl IsA<gtk::Widget>, property: gtk::AccessibleProperty, text: &str) {
    // A text with a zero in it ends there.
    let text = CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default();
    let widget: *mut gtk::ffi::GtkWidget = widget.as_ref().to_glib_none().0;
    let value: *const c_char = text.as_ptr();
    // SAFETY: the widget lives for as long as it is borrowed, and every widget is accessible; both properties take one string, which
    // GTK copies; -1 ends the list.
    unsafe { gtk_accessible_update_property(widget.cast(), property.into_glib(), value, -1 as c_int) }
}
