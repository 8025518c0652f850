//! Looking into an image without thawing it: the one place where service and command meet the engine's reader.

pub mod json;

use std::path::Path;

use dormouse_engine::image::{ImageError, PAGE, Reader, SectionInfo, SectionKind};
use dormouse_engine::resource::group::Group;
use dormouse_engine::resource::namespace::Namespaces;
use dormouse_engine::resource::origin::Origin;
use dormouse_engine::resource::owners::Names;
use dormouse_wire::{ByteSize, Label, Problem};

/// An image whose frame is whole.
#[derive(Debug)]
pub struct Image {
    reader: Reader,
}

/// What the frame of an image says: the part that is read without knowing what the sections mean.
#[derive(Debug)]
pub struct Frame {
    /// The length of the file.
    pub size: ByteSize,
    /// How much memory is in it; pages that hold only zeros are not.
    pub memory: ByteSize,
    /// How many bytes of the file that memory takes.
    pub stored: ByteSize,
    /// The sections of metadata.
    pub sections: Vec<SectionInfo>,
}

/// What the sections say.
#[derive(Debug)]
pub struct Inside {
    /// Where it comes from.
    pub origin: Origin,
    /// What was announced as lost.
    pub losses: Vec<Problem>,
    /// What a person calls it, where whoever froze it knew.
    pub label: Option<Label>,
    /// The group.
    pub group: Group,
    /// The namespaces that it had for itself.
    pub namespaces: Option<Namespaces>,
    /// What its users and groups were called.
    pub owners: Names,
}

impl From<Reader> for Image {
    fn from(reader: Reader) -> Self {
        Self { reader }
    }
}

impl Image {
    /// Opens an image and checks all of it but the page data.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        Ok(Self { reader: Reader::open(path)? })
    }

    /// What its frame says.
    pub fn frame(&self) -> Frame {
        Frame {
            size: self.reader.size(),
            memory: ByteSize(self.reader.pages().saturating_mul(PAGE as u64)),
            stored: self.reader.stored(),
            sections: self.reader.sections(),
        }
    }

    /// What its sections say.
    pub fn inside(&self) -> Result<Inside, ImageError> {
        Ok(Inside {
            origin: self.reader.section(SectionKind::Origin)?,
            losses: self.reader.optional_section(SectionKind::Losses)?.unwrap_or_default(),
            label: self.reader.optional_section(SectionKind::Label)?,
            group: self.reader.section(SectionKind::Group)?,
            namespaces: self.reader.optional_section(SectionKind::Namespaces)?,
            owners: self.reader.optional_section(SectionKind::Owners)?.unwrap_or_default(),
        })
    }

    /// The engine's reader.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }
}
