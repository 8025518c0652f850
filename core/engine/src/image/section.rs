//! Which sections of metadata there are.

use serde::{Deserialize, Serialize};

use super::header::{READER, SectionEntry};

/// How many bytes of CBOR a section holds at most: a writer makes no larger one, a reader refuses it unseen.
pub const SECTION_LIMIT: u64 = 256 << 20;
/// How many sections an image has at most.
pub const SECTION_COUNT_LIMIT: u32 = 256;
/// How many bytes all sections hold together at most.
pub const SECTIONS_LIMIT: u64 = 1 << 30;

/// A section of metadata this build knows. An image holds each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SectionKind {
    /// The group: its processes and all they hold.
    Group,
    /// Where the image comes from: machine, kernel, processor.
    Origin,
    /// What was announced as lost when the group was frozen.
    Losses,
    /// What a person calls the group.
    Label,
    /// The namespaces it has for itself.
    Namespaces,
    /// What the users and groups are called that it speaks of.
    Owners,
}

/// What is fixed about a section: one row of the table in `core/FORMAT.md`.
struct Row {
    kind: SectionKind,
    name: &'static str,
    number: [u8; 4],
    version: u32,
    required: bool,
}

/// A new section is one line here, one name in [`SectionKind`] and one row in `core/FORMAT.md`.
const ROWS: [Row; 6] = [
    Row { kind: SectionKind::Group, name: "group", number: *b"GRUP", version: 1, required: true },
    Row { kind: SectionKind::Origin, name: "origin", number: *b"ORIG", version: 1, required: true },
    Row { kind: SectionKind::Losses, name: "losses", number: *b"LOSS", version: 1, required: false },
    Row { kind: SectionKind::Label, name: "label", number: *b"LABL", version: 1, required: false },
    Row { kind: SectionKind::Namespaces, name: "namespaces", number: *b"NMSP", version: 1, required: true },
    Row { kind: SectionKind::Owners, name: "owners", number: *b"OWNR", version: 1, required: false },
];

impl SectionKind {
    /// Every kind of section this build knows.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.kind)
    }

    /// The kind with this number, if this build knows it.
    pub fn from_number(number: u32) -> Option<Self> {
        ROWS.iter().find(|row| u32::from_le_bytes(row.number) == number).map(|row| row.kind)
    }

    fn row(self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.kind == self)
    }

    /// The name a person reads.
    pub fn name(self) -> &'static str {
        self.row().map_or("unnamed", |row| row.name)
    }

    /// The number that stands in the file: four letters.
    pub fn number(self) -> u32 {
        self.row().map_or(0, |row| u32::from_le_bytes(row.number))
    }

    /// The version this build writes.
    pub fn version(self) -> u32 {
        self.row().map_or(0, |row| row.version)
    }

    /// The oldest reader that understands what this build writes.
    pub fn least_reader(self) -> u32 {
        READER
    }

    /// Whether a reader that does not know this kind must refuse the image.
    pub fn is_required(self) -> bool {
        self.row().is_some_and(|row| row.required)
    }
}

/// What the section table says about a section, for `dormouse inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionInfo {
    /// The four letters that stand in the file, or the number in hexadecimal where they are not letters.
    pub code: String,
    /// The name, where this build knows the kind.
    pub name: Option<String>,
    /// The version it was written in.
    pub version: u32,
    /// The oldest reader that understands it.
    pub least_reader: u32,
    /// Whether a reader must understand it.
    pub required: bool,
    /// Its length in bytes.
    pub length: u64,
    /// XXH3-128 of its bytes, in hexadecimal.
    pub hash: String,
}

impl From<&SectionEntry> for SectionInfo {
    fn from(entry: &SectionEntry) -> Self {
        Self {
            code: code(entry.number),
            name: SectionKind::from_number(entry.number).map(|kind| kind.name().to_owned()),
            version: entry.version,
            least_reader: entry.least_reader,
            required: entry.required,
            length: entry.length,
            hash: format!("{:032x}", entry.hash),
        }
    }
}

/// The number of a section as a person reads it.
pub(super) fn code(number: u32) -> String {
    let letters = number.to_le_bytes();
    if letters.iter().all(u8::is_ascii_graphic) {
        letters.iter().map(|&letter| char::from(letter)).collect()
    } else {
        format!("{number:#010x}")
    }
}

#[cfg(test)]
mod tests {
    use super::{ROWS, SectionKind, code};

    #[test]
    fn every_kind_has_one_row_and_a_number_of_its_own() {
        for kind in SectionKind::all() {
            assert_eq!(SectionKind::from_number(kind.number()), Some(kind));
            assert_eq!(ROWS.iter().filter(|row| row.kind == kind || row.name == kind.name()).count(), 1);
        }
    }

    #[test]
    fn a_number_is_shown_by_its_letters_where_it_has_some() {
        assert_eq!(code(SectionKind::Group.number()), "GRUP");
        assert_eq!(code(1), "0x00000001");
    }
}
