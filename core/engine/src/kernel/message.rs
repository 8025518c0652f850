//! Attributes of messages, netlink(7): each its length, its type and its value, side by side or one within another.

/// Attributes that are being written, for a family of messages whose numbers are in the order of the network.
#[derive(Clone, Debug, Default)]
pub struct Attributes(Vec<u8>);

const NESTED: u16 = 0x8000; // NLA_F_NESTED
const HEADER: usize = 4;

impl Attributes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more. A value that is longer than its length can say is cut, and refused by the kernel.
    #[must_use]
    pub fn bytes_of(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(((HEADER + value.len()) as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// With a number.
    #[must_use]
    pub fn word(self, kind: u16, value: u32) -> Self {
        self.bytes_of(kind, &value.to_be_bytes())
    }

    /// With a text, and the zero at its end.
    #[must_use]
    pub fn text(self, kind: u16, value: &str) -> Self {
        self.bytes_of(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// With others within one.
    #[must_use]
    pub fn nest(self, kind: u16, inner: Self) -> Self {
        self.bytes_of(kind | NESTED, &inner.0)
    }

    /// As they are sent.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The attributes that are there, by type; it ends where one is longer than what is left.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (half(bytes, 0)? as usize, half(bytes, 2)? & !(NESTED | 0x4000));
        let value = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Four bytes in the order of this machine.
pub fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Two bytes in the order of this machine.
pub fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let written = Attributes::new().word(7, 1).nest(3, Attributes::new().text(1, "abc"));
        let read: Vec<_> = attributes(written.bytes()).collect();
        assert_eq!(read[0], (7, &[0, 0, 0, 1][..]));
        assert_eq!(read[1].0, 3);
        assert_eq!(attributes(read[1].1).collect::<Vec<_>>(), [(1, &b"abc\0"[..])]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = attributes(&bytes).count();
        }
    }
}
