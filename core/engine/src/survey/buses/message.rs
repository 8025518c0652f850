//! Messages of the D-Bus wire protocol, as far as the bus itself is asked: method calls with at most one string, and their
//! replies. D-Bus specification, "Message Protocol".

/// The bus, its path and its interface.
const BUS: &str = "org.freedesktop.DBus";
const PATH: &str = "/org/freedesktop/DBus";

/// The head of a message up to its fields.
pub const HEAD: usize = 16;

/// A call of a method of the bus.
pub fn call(serial: u32, member: &str, argument: Option<&str>) -> Vec<u8> {
    let mut body = Writer(Vec::new());
    if let Some(argument) = argument {
        body.string(argument);
    }
    // Little endian, a method call, no flags, version 1.
    let mut message = Writer(vec![b'l', 1, 0, 1]);
    message.word(body.0.len() as u32);
    message.word(serial);
    let mut fields = Writer(Vec::new());
    for (code, kind, value) in [(1, b'o', PATH), (2, b's', BUS), (3, b's', member), (6, b's', BUS)] {
        fields.align(8);
        fields.0.extend([code, 1, kind, 0]);
        fields.string(value);
    }
    if argument.is_some() {
        fields.align(8);
        fields.0.extend([8, 1, b'g', 0, 1, b's', 0]);
    }
    message.word(fields.0.len() as u32);
    message.0.extend(fields.0);
    message.align(8);
    message.0.extend(body.0);
    message.0
}

/// How long a message is in all, from its head. None: it is none that could be read.
pub fn length(head: &[u8]) -> Option<usize> {
    let reader = Reader::of(head)?;
    let (body, fields) = (reader.word(4)? as usize, reader.word(12)? as usize);
    HEAD.checked_add(fields)?.checked_next_multiple_of(8)?.checked_add(body)
}

/// A reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The serial of the call.
    pub to: u32,
    /// It is an error.
    pub failed: bool,
    body: Reader<'a>,
}

impl<'a> Reply<'a> {
    /// The reply in a whole message; none if it is another kind of message.
    pub fn of(message: &'a [u8]) -> Option<Self> {
        let failed = match message.get(1)? {
            2 => false,
            3 => true,
            _ => return None,
        };
        let mut reader = Reader::of(message)?;
        let end = HEAD.checked_add(reader.word(12)? as usize)?;
        let mut to = None;
        reader.at = HEAD;
        while reader.at < end {
            reader.align(8);
            let (code, kind) = (reader.byte()?, reader.signature()?);
            match kind {
                b"u" if code == 5 => to = Some(reader.next_word()?),
                b"u" => drop(reader.next_word()?),
                b"s" | b"o" => drop(reader.string()?),
                b"g" => drop(reader.signature()?),
                _ => return None,
            }
        }
        reader.at = end.checked_next_multiple_of(8)?;
        Some(Self { to: to?, failed, body: reader })
    }

    /// Its value where that is a number.
    pub fn number(mut self) -> Option<u32> {
        self.body.next_word()
    }

    /// Its value where that is a string.
    pub fn text(mut self) -> Option<String> {
        self.body.string()
    }

    /// Its value where that is a list of strings.
    pub fn texts(mut self) -> Option<Vec<String>> {
        let length = self.body.next_word()? as usize;
        let end = self.body.at.checked_add(length)?;
        let mut texts = Vec::new();
        while self.body.at < end {
            texts.push(self.body.string()?);
        }
        Some(texts)
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn word(&mut self, word: u32) {
        self.align(4);
        self.0.extend(word.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.word(text.len() as u32);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }
}

/// Values out of a message; alignment counts from its beginning.
#[derive(Debug, PartialEq, Eq)]
struct Reader<'a> {
    bytes: &'a [u8],
    little: bool,
    at: usize,
}

impl<'a> Reader<'a> {
    fn of(message: &'a [u8]) -> Option<Self> {
        let little = match message.first()? {
            b'l' => true,
            b'B' => false,
            _ => return None,
        };
        Some(Self { bytes: message, little, at: 0 })
    }

    fn word(&self, at: usize) -> Option<u32> {
        let word = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) })
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.saturating_add(to - 1) / to * to;
    }

    fn next_word(&mut self) -> Option<u32> {
        self.align(4);
        let word = self.word(self.at)?;
        self.at += 4;
        Some(word)
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// So many bytes and the zero behind them.
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length + 1;
        Some(taken)
    }

    fn string(&mut self) -> Option<String> {
        let length = self.next_word()? as usize;
        Some(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn signature(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reply as a bus writes it: to the call with the serial 7, from the bus.
    fn reply(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![b'l', kind, 1, 1];
        message.extend((body.len() as u32).to_le_bytes());
        message.extend(9_u32.to_le_bytes());
        let fields = [&[5, 1, b'u', 0, 7, 0, 0, 0][..], &[7, 1, b's', 0, 1, 0, 0, 0, b'x', 0]].concat();
        message.extend((fields.len() as u32).to_le_bytes());
        message.extend(fields);
        message.resize(message.len().next_multiple_of(8), 0);
        message.extend(body);
        message
    }

    #[test]
    fn replies_are_read() {
        let message = reply(2, &42_u32.to_le_bytes());
        assert_eq!(length(&message), Some(message.len()));
        assert_eq!(
            Reply::of(&message).map(|reply| (reply.to, reply.failed, reply.number())),
            Some((7, false, Some(42)))
        );
        let list = [&15_u32.to_le_bytes()[..], &2_u32.to_le_bytes(), b":1\0\0", &2_u32.to_le_bytes(), b"a.\0"].concat();
        let message = reply(2, &list);
        let texts = Reply::of(&message).and_then(Reply::texts);
        assert_eq!(texts, Some(vec![":1".to_owned(), "a.".to_owned()]));
        assert_eq!(Reply::of(&reply(3, &[])).map(|reply| reply.failed), Some(true));
        assert_eq!(Reply::of(&reply(4, &[])), None);
    }

    #[test]
    fn a_call_is_as_long_as_it_says() {
        for argument in [None, Some("x"), Some("org.freedesktop.DBus")] {
            let message = call(3, "GetNameOwner", argument);
            assert_eq!(length(&message), Some(message.len()));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, body: Vec<u8>) {
            let message = reply(2, &body);
            for message in [&bytes, &message] {
                let _ = (length(message), Reply::of(message).map(Reply::number), Reply::of(message).map(Reply::texts));
            }
        }
    }
}
