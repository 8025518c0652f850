//! Images made from real ones: the same pages, other records, and every hash right.

use std::path::Path;

use ciborium::Value;
use dormouse_engine::image::{PageBuffer, Reader, SectionKind, Writer};

/// The record of the group in an image.
pub fn group(image: &Path) -> Value {
    let reader = Reader::open(image).unwrap_or_else(|error| panic!("{error}"));
    reader.section(SectionKind::Group).unwrap_or_else(|error| panic!("{error}"))
}

/// Writes an image with the pages and records of another one, but for the group's.
pub fn forged(from: &Path, group: &Value, to: &Path) {
    forged_section(from, SectionKind::Group, group, to);
}

/// Every place in a record: calls `visit` with each value, deepest last.
pub fn each(value: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each(item, visit)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, item)| each(item, visit)),
        Value::Tag(_, item) => each(item, visit),
        _ => {}
    }
}

/// Gives a field of a map another value; whether there is such a field.
pub fn set(value: &mut Value, name: &str, new: Value) -> bool {
    let Some(field) = field(value, name) else { return false };
    *field = new;
    true
}

/// A field of a map.
pub fn field<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    value.as_map_mut()?.iter_mut().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
}

/// Writes an image with the pages and records of another one, but for this one.
pub fn forged_section(from: &Path, changed: SectionKind, value: &Value, to: &Path) {
    let reader = Reader::open(from).unwrap_or_else(|error| panic!("{error}"));
    let mut writer = Writer::create(to).unwrap_or_else(|error| panic!("{error}"));
    let mut buffer = PageBuffer::new();
    for chunk in 0..reader.chunks() as u64 {
        reader.read_chunk(chunk, &mut buffer).unwrap_or_else(|error| panic!("{error}"));
        writer.pages().put(&mut buffer).unwrap_or_else(|error| panic!("{error}"));
    }
    for kind in SectionKind::all() {
        let known: Option<Value> = reader.optional_section(kind).unwrap_or_else(|error| panic!("{error}"));
        let value = if kind == changed { Some(value.clone()) } else { known };
        if let Some(value) = value {
            writer.section(kind, &value).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    writer.seal().unwrap_or_else(|error| panic!("{error}"));
}
