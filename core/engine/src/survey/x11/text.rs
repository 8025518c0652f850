//! Texts in properties of windows: UTF8_STRING, or STRING, which is Latin-1 by rule and often UTF-8 (ICCCM 2.7.1).

use x11rb::protocol::xproto::GetPropertyReply;

/// The texts in a property: WM_CLASS has two, each with a zero behind it.
pub fn texts(property: &GetPropertyReply, utf8: u32) -> Vec<String> {
    if property.format != 8 {
        return Vec::new();
    }
    let bytes = property.value.strip_suffix(b"\0").unwrap_or(&property.value);
    let is_utf8 = utf8 != 0 && property.type_ == utf8;
    bytes.split(|byte| *byte == 0).map(|text| if is_utf8 { decode(text, true) } else { compound(text) }).collect()
}

/// The parts of COMPOUND_TEXT that are UTF-8 stand between these two (Compound Text Encoding, "Extended segments").
const UTF8_BEGINS: &[u8] = b"\x1b%G";
const UTF8_ENDS: &[u8] = b"\x1b%@";

fn compound(text: &[u8]) -> String {
    let (mut decoded, mut rest) = (String::new(), text);
    let find = |bytes: &[u8], mark: &[u8]| bytes.windows(mark.len()).position(|window| window == mark);
    while let Some(begin) = find(rest, UTF8_BEGINS) {
        let inside = &rest[begin + UTF8_BEGINS.len()..];
        let end = find(inside, UTF8_ENDS).unwrap_or(inside.len());
        decoded += &decode(&rest[..begin], false);
        decoded += &decode(&inside[..end], true);
        rest = inside.get(end + UTF8_ENDS.len()..).unwrap_or_default();
    }
    decoded + &decode(rest, false)
}

fn decode(text: &[u8], is_utf8: bool) -> String {
    match std::str::from_utf8(text) {
        Ok(text) => text.to_owned(),
        // What was cut, or never was right.
        Err(_) if is_utf8 => String::from_utf8_lossy(text).into_owned(),
        Err(_) => text.iter().map(|byte| char::from(*byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRING: u32 = 31;
    const UTF8: u32 = 300;

    fn of(kind: u32, bytes: &[u8]) -> Vec<String> {
        texts(&GetPropertyReply { format: 8, type_: kind, value: bytes.to_vec(), ..GetPropertyReply::default() }, UTF8)
    }

    #[test]
    fn texts_are_read_in_whichever_encoding_they_are() {
        assert_eq!(of(STRING, b"xterm\0XTerm\0"), ["xterm", "XTerm"]);
        assert_eq!(of(STRING, b"caf\xe9"), ["café"]);
        assert_eq!(of(STRING, "café".as_bytes()), ["café"]);
        assert_eq!(of(UTF8, b"caf\xe9\n"), ["caf\u{fffd}\n"]);
        assert_eq!(of(STRING, "Caf\u{1b}%Gé —\u{1b}%@ x\u{1b}%Gü".as_bytes()), ["Café — xü"]);
        assert_eq!(of(STRING, b"\x1b%@\x1b%"), ["\u{1b}%@\u{1b}%"]);
        assert_eq!(texts(&GetPropertyReply::default(), UTF8), Vec::<String>::new());
    }
}
