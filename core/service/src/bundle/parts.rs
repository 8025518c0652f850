//! A bundle entry by entry, whoever wrote it: nothing that it says is believed before it has been held against all the rest.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use dormouse_engine::image::kept::ContentHash;
use dormouse_wire::dbus::Failure;
use dormouse_wire::{Phrase, Problem, ProblemKind, phrase};
use tar::{Entries, Entry, EntryType};

use super::{FORMAT, IMAGE, MANIFEST, MOST, Manifest, OBJECTS, Packed, about_file};

pub(super) const NOT_READ: Phrase = phrase!("The bundle cannot be used.");

/// What is wrong with a bundle.
pub(super) enum Odd {
    System(io::Error),
    Form(Phrase),
}

impl From<io::Error> for Odd {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl Odd {
    /// In words.
    pub(super) fn problem(self, bundle: &Path) -> Problem {
        match self {
            Self::System(error) => about_file(bundle, &error),
            Self::Form(what) => {
                let problem = Problem::blocks(ProblemKind::Image, what).at(bundle.display().to_string());
                problem.way_out(phrase!("Take it from where it was made, once more"))
            }
        }
    }

    /// The same, with what that comes to.
    pub(super) fn failure(self, bundle: &Path) -> Failure {
        Failure { sentence: NOT_READ, problems: vec![self.problem(bundle)] }
    }
}

/// It is none, or is not what it was.
pub(super) fn odd(what: Phrase) -> Odd {
    Odd::Form(phrase!("it is no bundle, or it is damaged: {what}", what))
}

/// Its end is not there.
pub(super) fn cut() -> Odd {
    odd(phrase!("something is missing, it has been cut"))
}

/// What an entry behind the first is.
pub(super) enum Part<'a> {
    Image,
    File(&'a Packed, ContentHash),
}

/// What is in a bundle, by its first entry.
pub(super) fn manifest(entries: &mut Entries<'_, impl Read>) -> Result<Manifest, Odd> {
    let mut first = entries.next().ok_or_else(|| odd(phrase!("it is empty")))??;
    if &*first.path_bytes() != MANIFEST.as_bytes() || !is_plain(&first) || first.size() > MOST {
        return Err(odd(phrase!("it does not begin with what is in it")));
    }
    let mut text = Vec::new();
    first.read_to_end(&mut text)?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|_| odd(phrase!("what is in it cannot be understood")))?;
    if manifest.format != FORMAT {
        return Err(Odd::Form(phrase!(
            "it has form {format}, and this Dormouse reads form {own}",
            format = manifest.format,
            own = FORMAT
        )));
    }
    if manifest.id.is_empty() || manifest.id.len() > 64 || !manifest.id.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return Err(odd(phrase!("its image has no id")));
    }
    Ok(manifest)
}

/// Does something with an entry.
pub(super) type Take<'t, 'a, R> = dyn FnMut(Part<'a>, &mut Entry<'_, R>) -> Result<(), Odd> + 't;

/// Gives each entry behind the first to `take`. Each that is named comes once, with the size that is named, and no other.
pub(super) fn each<'a, R: Read>(
    manifest: &'a Manifest,
    entries: Entries<'_, R>,
    take: &mut Take<'_, 'a, R>,
) -> Result<(), Odd> {
    let mut missing: BTreeMap<&str, &Packed> = manifest.files.iter().map(|file| (file.hash.as_str(), file)).collect();
    let mut has_image = false;
    for entry in entries {
        let mut entry = entry?;
        if !is_plain(&entry) {
            return Err(odd(phrase!("something in it is no ordinary file")));
        }
        let (name, size) = (entry.path_bytes().into_owned(), entry.size());
        if name == IMAGE.as_bytes() && size == manifest.size && !has_image {
            take(Part::Image, &mut entry)?;
            has_image = true;
            continue;
        }
        let hash = name.strip_prefix(OBJECTS.as_bytes()).and_then(|name| std::str::from_utf8(name).ok());
        let packed = hash.and_then(|hash| missing.remove(hash)).filter(|packed| packed.size == size);
        let hash = packed.and_then(|packed| ContentHash::parse(&packed.hash));
        let (Some(packed), Some(hash)) = (packed, hash) else {
            return Err(odd(phrase!("something is in it that it does not name")));
        };
        take(Part::File(packed, hash), &mut entry)?;
    }
    if has_image && missing.is_empty() { Ok(()) } else { Err(cut()) }
}

/// An ordinary file whose bytes are all there: what is sparse could be any size.
fn is_plain(entry: &Entry<'_, impl Read>) -> bool {
    entry.header().entry_type() == EntryType::Regular
}
