//! An image as JSON: the frame, then the sections as `core/FORMAT.md` describes them.
//!
//! A byte string is text where it is UTF-8 without control characters, else `{"bytes": "HEX"}`.

use std::path::Path;

use ciborium::Value;
use dormouse_engine::image::{ImageError, SectionKind};
use serde_json::{Map, Number, json};

use crate::look::Image;

/// Everything.
pub fn everything(path: &Path, image: &Image) -> Result<serde_json::Value, ImageError> {
    let frame = image.frame();
    let mut answer = Map::new();
    answer.insert("path".into(), json!(path));
    for (name, size) in [("size", frame.size), ("memory", frame.memory), ("stored", frame.stored)] {
        answer.insert(name.into(), json!(size));
    }
    answer.insert("sections".into(), json!(frame.sections));
    let kinds = [
        SectionKind::Origin,
        SectionKind::Label,
        SectionKind::Losses,
        SectionKind::Namespaces,
        SectionKind::Owners,
        SectionKind::Group,
    ];
    for kind in kinds {
        let section: Option<Value> = image.reader().optional_section(kind)?;
        answer.insert(kind.name().into(), section.as_ref().map_or(serde_json::Value::Null, converted));
    }
    Ok(answer.into())
}

fn converted(value: &Value) -> serde_json::Value {
    match value {
        Value::Integer(number) => {
            let number = i128::from(*number);
            u64::try_from(number)
                .map(Number::from)
                .or_else(|_| i64::try_from(number).map(Number::from))
                .map_or_else(|_| json!(number.to_string()), serde_json::Value::Number)
        }
        Value::Bytes(bytes) => text_or_bytes(bytes),
        Value::Text(text) => json!(text),
        Value::Bool(yes) => json!(yes),
        Value::Float(number) => json!(number),
        Value::Array(items) => items.iter().map(converted).collect(),
        Value::Map(entries) => {
            let key = |key: &Value| match key {
                Value::Text(text) => text.clone(),
                Value::Integer(number) => i128::from(*number).to_string(),
                other => format!("{other:?}"),
            };
            entries.iter().map(|(name, value)| (key(name), converted(value))).collect::<Map<_, _>>().into()
        }
        Value::Tag(_, inner) => converted(inner),
        _ => serde_json::Value::Null,
    }
}

/// A byte string.
pub fn text_or_bytes(bytes: &[u8]) -> serde_json::Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => json!(text),
        _ => {
            let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "bytes": pairs.concat() })
        }
    }
}

#[cfg(test)]
mod tests {
    use ciborium::Value;
    use serde_json::json;

    use super::converted;

    #[test]
    fn bytes_are_text_where_they_can_be() {
        let record = Value::Map(vec![
            (Value::from("path"), Value::Bytes(b"/tmp/x".to_vec())),
            (Value::from("mask"), Value::from(u64::MAX)),
            (Value::from("pending"), Value::Array(vec![Value::Bytes(vec![0, 255]), Value::Null])),
        ]);
        assert_eq!(
            converted(&record),
            json!({"path": "/tmp/x", "mask": u64::MAX, "pending": [{"bytes": "00ff"}, null]})
        );
    }
}
