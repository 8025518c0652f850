//! The translations: valid, complete, up to date with what there is to translate, and set as their languages are.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::installed::{ID, Installed, SERVICE, done, make, read, run, workspace};

fn po() -> PathBuf {
    workspace().join("po")
}

fn languages() -> Vec<String> {
    read(&po().join("LINGUAS")).split_whitespace().map(str::to_owned).collect()
}

/// A text and what it is in another language: for plurals, several each.
#[derive(Debug, Default)]
struct Entry {
    texts: Vec<String>,
    translations: Vec<String>,
}

/// The entries of a language, without the header.
fn entries(language: &str) -> Vec<Entry> {
    let file = po().join(format!("{language}.po"));
    let said = run(Command::new("msgcat").args(["--no-wrap", "--no-location"]).arg(file)).expect_success();
    let mut entries: Vec<Entry> = Vec::new();
    let mut in_translation = false;
    for line in said.lines() {
        // A context stands above its text, and would be taken for a part of the translation before it.
        if line.starts_with("msgid ") {
            entries.push(Entry::default());
        }
        let Some(entry) = entries.last_mut().filter(|_| !line.starts_with('#')) else { continue };
        if line.starts_with("msgid") || line.starts_with("msgstr") {
            in_translation = line.starts_with("msgstr");
            if in_translation { &mut entry.translations } else { &mut entry.texts }.push(String::new());
        }
        let list = if in_translation { &mut entry.translations } else { &mut entry.texts };
        let quoted = line.split_once('"').and_then(|(_, rest)| rest.strip_suffix('"'));
        if let (Some(text), Some(quoted)) = (list.last_mut(), quoted.filter(|_| !line.starts_with("msgctxt"))) {
            text.push_str(&quoted.replace("\\n", "\n").replace("\\\"", "\""));
        }
    }
    entries.retain(|entry| entry.texts.iter().any(|text| !text.is_empty()));
    assert!(entries.len() > 30, "{language}.po is not read any more");
    entries
}

/// What stands in braces in a text, such as `{name}`.
fn placeholders(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect()
}

#[test]
fn the_template_holds_what_there_is_to_translate() {
    let room = done(tempfile::tempdir());
    let (pot, files) = (room.path().join("dormouse.pot"), room.path().join("POTFILES.in"));
    make(&["pot"], &[("POT", &pot), ("POTFILES", &files)]);
    // The whole of both would be hundreds of lines.
    for (kept, made) in [("dormouse.pot", pot), ("POTFILES.in", files)] {
        assert!(read(&po().join(kept)) == read(&made), "po/{kept} is out of date: run `make po`");
    }
}

#[test]
fn every_language_is_valid_and_complete() {
    let files = done(fs::read_dir(po())).flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let files: BTreeSet<String> = files.filter_map(|name| Some(name.strip_suffix(".po")?.to_owned())).collect();
    assert_eq!(files, languages().into_iter().collect(), "po/LINGUAS");
    assert_eq!(files, BTreeSet::from(["de", "es", "fr", "zh_CN"].map(str::to_owned)));
    for language in files {
        let file = po().join(format!("{language}.po"));
        run(Command::new("msgfmt").args(["--check", "--output-file=/dev/null"]).arg(&file)).expect_silence();
        // Whatever is in one and not in the other, has no translation or an uncertain one.
        let compared = run(Command::new("msgcmp").arg(&file).arg(po().join("dormouse.pot")));
        assert!(compared.succeeded && compared.err.is_empty(), "{language} is not complete:\n{}", compared.err);
        assert!(!read(&file).contains("\n#~ "), "{language}.po holds texts that are gone: `make po`, and delete them");
    }
}

#[test]
fn placeholders_survive_the_translation() {
    for language in languages() {
        for entry in entries(&language) {
            let known: BTreeSet<&str> = entry.texts.iter().flat_map(|text| placeholders(text)).collect();
            for translation in &entry.translations {
                let used = placeholders(translation);
                // One form of a plural may say "one" in a word.
                let complete = used == known || (entry.texts.len() > 1 && used.is_subset(&known));
                assert!(complete, "{language}: {:?} has other placeholders in {translation:?}", entry.texts);
            }
        }
    }
}

#[test]
fn each_language_is_set_by_its_own_rules() {
    for language in languages() {
        for entry in entries(&language) {
            // A list of words to search for is separated by semicolons, and is no sentence.
            for text in entry.translations.iter().filter(|text| !text.contains(';')) {
                assert!(!text.contains("..."), "{language}: three dots for … in {text:?}");
                assert!(!text.contains(['"', '\'']), "{language}: typewriter's quotes in {text:?}");
                let bad = match language.as_str() {
                    "fr" => wrong_in_french(text),
                    "de" => text.contains('”') || text.contains('«'),
                    "zh_CN" => text.contains([',', ';', '?', '!']),
                    _ => false,
                };
                assert!(!bad, "{language}: punctuation in {text:?}");
            }
        }
    }
}

/// French has a space that does not break before these signs and within its quotes.
fn wrong_in_french(text: &str) -> bool {
    let hard = |letter: Option<&char>| letter.is_some_and(|letter| ['\u{a0}', '\u{202f}'].contains(letter));
    let letters: Vec<char> = text.chars().collect();
    // Within a name or a command, such as `chown root:root`, it is none of these signs.
    let is_inside = |place: usize| {
        let is_close = |letter: Option<&char>| {
            letter.is_some_and(|letter| letter.is_ascii_alphanumeric() || "{}".contains(*letter))
        };
        place.checked_sub(1).is_some_and(|before| is_close(letters.get(before))) && is_close(letters.get(place + 1))
    };
    letters.iter().enumerate().any(|(place, letter)| match letter {
        ':' if is_inside(place) => false,
        ':' | '!' | '?' | '»' => !place.checked_sub(1).is_some_and(|before| hard(letters.get(before))),
        '«' => !hard(letters.get(place + 1)),
        _ => false,
    })
}

#[test]
fn french_spaces_are_told_apart() {
    assert!(wrong_in_french("Permet de :") && wrong_in_french("« make »") && wrong_in_french("Quoi?"));
    assert!(wrong_in_french("Permet de: lire") && !wrong_in_french("chown root:root {path}"));
    assert!(!wrong_in_french("Permet de\u{a0}: «\u{a0}make\u{a0}»\u{202f}!"));
}

#[test]
fn what_is_installed_speaks_every_language() {
    let installed = Installed::new();
    let launcher = read(&installed.share(&format!("applications/{ID}.desktop")));
    for language in languages() {
        for key in ["Name", "GenericName", "Comment", "Keywords"] {
            assert!(launcher.contains(&format!("\n{key}[{language}]=")), "no {key} in {language}");
        }
        for (file, number) in [
            (format!("polkit-1/actions/{SERVICE}.policy"), 6),
            (format!("mime/packages/{ID}.xml"), 1),
            (format!("metainfo/{ID}.metainfo.xml"), 13),
        ] {
            let text = read(&installed.share(&file));
            assert_eq!(text.matches(&format!("xml:lang=\"{language}\"")).count(), number, "{file} in {language}");
        }
        let compiled = installed.share(&format!("locale/{language}/LC_MESSAGES/dormouse.mo"));
        let text = run(Command::new("msgunfmt").arg(compiled)).expect_success();
        // The first of all is the header's, at the beginning of the text.
        assert_eq!(text.matches("\nmsgid ").count(), entries(&language).len(), "{language}");
    }
}
