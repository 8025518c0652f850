//! Lines, words, numbers and escapes out of the bytes of `/proc` files. Pure; used by every parser of this folder.

use std::str::FromStr;

/// A line that the kernel is not known to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot be read: {}", line.escape_debug())]
pub struct Unreadable {
    /// The line or what is left of it, at most 200 bytes, with bytes that are not UTF-8 replaced.
    pub line: String,
}

impl Unreadable {
    /// Names the line.
    pub fn line(line: &[u8]) -> Self {
        Self { line: String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned() }
    }
}

/// The lines of a file that are not empty, without their line feeds.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// The words of a line: what stands between spaces and tabs.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// What stands before and behind the first `separator`.
pub fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// The next word of `rest`, with the spaces before it; `rest` is left behind the word.
pub fn take_word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let trimmed = rest.trim_ascii_start();
    let end = trimmed.iter().position(u8::is_ascii_whitespace).unwrap_or(trimmed.len());
    let (word, behind) = trimmed.split_at(end);
    *rest = behind;
    (!word.is_empty()).then_some(word)
}

/// A decimal number, with a minus sign where the type has one.
pub fn decimal<T: FromStr>(word: &[u8]) -> Option<T> {
    digits(word)?.parse().ok()
}

/// A hexadecimal number without a prefix.
pub fn hexadecimal(word: &[u8]) -> Option<u64> {
    u64::from_str_radix(digits(word)?, 16).ok()
}

/// A hexadecimal number with `0x` before it.
pub fn prefixed_hexadecimal(word: &[u8]) -> Option<u64> {
    hexadecimal(word.strip_prefix(b"0x")?)
}

/// An octal number.
pub fn octal<T: TryFrom<u64>>(word: &[u8]) -> Option<T> {
    u64::from_str_radix(digits(word)?, 8).ok()?.try_into().ok()
}

/// A device number as `/proc` writes it in maps and locks: `major:minor` in hexadecimal.
pub fn device(word: &[u8]) -> Option<(u32, u32)> {
    let (major, minor) = split_once(word, b':')?;
    Some((hexadecimal(major)?.try_into().ok()?, hexadecimal(minor)?.try_into().ok()?))
}

/// An amount of memory as `/proc` writes it, `   12 kB`, in bytes.
pub fn kibibytes(value: &[u8]) -> Option<u64> {
    decimal::<u64>(value.trim_ascii().strip_suffix(b" kB")?)?.checked_mul(1024)
}

/// The kernel never writes a plus sign, which Rust would accept.
fn digits(word: &[u8]) -> Option<&str> {
    std::str::from_utf8(word).ok().filter(|word| !word.starts_with('+'))
}

/// Undoes the kernel's octal escapes, a backslash and three digits (`mangle_path` in fs/seq_file.c). Those of bytes for
/// which `escaped` is false are left alone: the kernel has not made them.
pub fn unescape_octal(bytes: &[u8], escaped: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        let byte = (*first == b'\\').then(|| octal_digits(behind)).flatten().filter(|byte| escaped(*byte));
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[3..] } else { behind };
    }
    plain
}

/// The byte that the first three octal digits mean.
pub(super) fn octal_digits(bytes: &[u8]) -> Option<u8> {
    let digits = bytes.get(..3).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)))?;
    octal(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_strictly() {
        assert_eq!(decimal::<i32>(b"-7"), Some(-7));
        assert_eq!(decimal::<u32>(b"-7"), None);
        assert_eq!(decimal::<u32>(b"+7"), None);
        assert_eq!(decimal::<u32>(b""), None);
        assert_eq!(hexadecimal(b"ffffffffffffffff"), Some(u64::MAX));
        assert_eq!(hexadecimal(b"10000000000000000"), None);
        assert_eq!(prefixed_hexadecimal(b"0x1f"), Some(0x1f));
        assert_eq!(octal::<u32>(b"02000002"), Some(0o2000002));
        assert_eq!(octal::<u8>(b"0400"), None);
    }

    #[test]
    fn octal_escapes_are_undone_where_the_kernel_makes_them() {
        let any = |_| true;
        assert_eq!(unescape_octal(br"/a\040b\134c", any), br"/a b\c");
        assert_eq!(unescape_octal(br"/a\040b\012c", |byte| byte == b'\n'), b"/a\\040b\nc");
        assert_eq!(unescape_octal(br"\04", any), br"\04");
        assert_eq!(unescape_octal(br"\777", any), br"\777");
    }

    #[test]
    fn words_are_taken_from_the_front() {
        let mut rest = &b"  one two  three"[..];
        assert_eq!(take_word(&mut rest), Some(&b"one"[..]));
        assert_eq!(take_word(&mut rest), Some(&b"two"[..]));
        assert_eq!(rest, b"  three");
        assert_eq!(take_word(&mut rest), Some(&b"three"[..]));
        assert_eq!(take_word(&mut rest), None);
    }

    proptest! {
        #[test]
        fn what_the_kernel_escapes_comes_back(bytes: Vec<u8>) {
            let escaped: Vec<u8> = bytes.iter().flat_map(|byte| match byte {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
                _ => vec![*byte],
            }).collect();
            prop_assert_eq!(unescape_octal(&escaped, |_| true), bytes);
        }
    }
}
