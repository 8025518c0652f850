//! What is in a bundle beside its image.

use std::path::Path;

use dormouse_service::bundle::Bundle;
use dormouse_service::look::json;
use serde_json::{Value, json};

use crate::output::{self, Table};

/// As a person reads it, in lines of at most `width` letters.
pub fn shown(path: &Path, bundle: &Bundle, width: usize) -> String {
    let mut table = Table::new(&["SIZE", "FILE"], &[0]);
    for file in bundle.files() {
        table.row([file.size.to_string(), String::from_utf8_lossy(&file.path).into_owned()]);
    }
    let files = output::count(bundle.files().count(), "file", "files");
    let heading =
        [("Bundle", path.display().to_string()), ("Size", format!("{}; an image, and {files}", bundle.size()))];
    let heading = heading.map(|(name, value)| format!("{name:<9}{}\n", output::printable(&value)));
    format!("{}\n{}\n", heading.concat(), table.lines(width))
}

/// As JSON, for programs.
pub fn as_json(bundle: &Bundle) -> Value {
    let files: Vec<Value> = bundle
        .files()
        .map(|file| json!({"path": json::text_or_bytes(&file.path), "hash": file.hash, "size": file.size, "mode": file.mode}))
        .collect();
    json!({"size": bundle.size(), "image": bundle.image_name(), "files": files})
}
