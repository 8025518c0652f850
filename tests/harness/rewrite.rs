//! An image as another machine would have written it: the same pages, changed records, and every hash right.

use std::path::Path;

use dormouse_engine::image::{PageBuffer, Reader, SectionKind, Writer};
use dormouse_engine::resource::group::Group;
use dormouse_engine::resource::origin::Origin;
use dormouse_wire::Problem;

/// Changes the records of an image.
pub fn rewrite(image: &Path, change: impl FnOnce(&mut Group, &mut Origin)) {
    let changed = image.with_extension("changed");
    copy(image, &changed, change).unwrap_or_else(|error| panic!("the image cannot be copied: {error}"));
    std::fs::rename(&changed, image).unwrap_or_else(|error| panic!("{error}"));
}

fn copy(
    from: &Path,
    to: &Path,
    change: impl FnOnce(&mut Group, &mut Origin),
) -> Result<(), Box<dyn std::error::Error>> {
    let reader = Reader::open(from)?;
    let mut group = reader.section(SectionKind::Group)?;
    let mut origin = reader.section(SectionKind::Origin)?;
    change(&mut group, &mut origin);
    let mut writer = Writer::create(to)?;
    let mut buffer = PageBuffer::new();
    for chunk in 0..reader.chunks() as u64 {
        reader.read_chunk(chunk, &mut buffer)?;
        writer.pages().put(&mut buffer)?;
    }
    writer.section(SectionKind::Group, &group)?;
    writer.section(SectionKind::Origin, &origin)?;
    writer.section(SectionKind::Losses, &reader.section::<Vec<Problem>>(SectionKind::Losses)?)?;
    writer.sync()?.seal()?;
    Ok(())
}
