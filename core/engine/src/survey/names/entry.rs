//! One desktop entry: <https://specifications.freedesktop.org/desktop-entry-spec/latest/>.
//!
//! Only what names a group is read. A line that breaks the rules is passed over, as GLib and KDE do: one wrong
//! translation must not cost an app its name.

use super::command;

/// What a desktop entry says of its app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its desktop file ID without `.desktop`.
    pub id: String,
    /// `Name`, in the first of the languages that it has.
    pub name: String,
    /// `Icon`: a name or an absolute path.
    pub icon: Option<String>,
    /// The program that `TryExec` or `Exec` starts, without its folders; for an interpreter, its script.
    pub program: Option<Vec<u8>>,
    /// How many words `Exec` has: the plainest of several entries for one program is the app itself.
    pub words: usize,
    /// `StartupWMClass`.
    pub window_class: Option<String>,
    /// `NoDisplay`: not shown in menus.
    pub no_display: bool,
    /// `Hidden`: as if it had been deleted.
    pub hidden: bool,
}

/// The value of a file with this ID; `None` for what is no application, or has no name. `languages` as
/// [`super::language::wanted`] orders them.
pub fn parse(id: &str, bytes: &[u8], languages: &[String]) -> Option<Entry> {
    let text = String::from_utf8_lossy(bytes);
    let mut entry = Entry { id: id.to_owned(), ..Entry::default() };
    let mut best = None;
    let (mut exec, mut try_exec, mut is_application) = (None, None, false);
    for (key, value) in main_group(&text) {
        match key {
            "Type" => is_application = value == "Application",
            "Icon" => entry.icon = Some(unescape(value)).filter(|icon| !icon.is_empty()),
            "Exec" => exec = Some(unescape(value)),
            "TryExec" => try_exec = Some(unescape(value)),
            "StartupWMClass" => entry.window_class = Some(unescape(value)).filter(|class| !class.is_empty()),
            "NoDisplay" => entry.no_display = value == "true",
            "Hidden" => entry.hidden = value == "true",
            _ => {
                let Some(rank) = rank_of_name(key, languages) else { continue };
                if best.is_none_or(|best| rank < best) && !value.is_empty() {
                    best = Some(rank);
                    entry.name = unescape(value);
                }
            }
        }
    }
    let words = exec.as_deref().map(split).unwrap_or_default();
    entry.words = words.len();
    entry.program = program(&words).or_else(|| try_exec.as_deref().and_then(|name| program(&[name.to_owned()])));
    (entry.hidden || (is_application && !entry.name.is_empty())).then_some(entry)
}

/// The keys and values of the group `[Desktop Entry]`.
fn main_group(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim_end).skip_while(|line| *line != "[Desktop Entry]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim_end(), value.trim_start()))
}

/// How good a `Name` or `Name[LANGUAGE]` is: the place of its language, the one without a language last.
fn rank_of_name(key: &str, languages: &[String]) -> Option<usize> {
    let rest = key.strip_prefix("Name")?;
    if rest.is_empty() {
        return Some(usize::MAX);
    }
    let language = rest.strip_prefix('[')?.strip_suffix(']')?;
    languages.iter().position(|wanted| wanted == language)
}

/// Undoes the escapes of strings; others are left as they are.
fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '\\') {
            (_, true) => match letters.next() {
                Some('s') => plain.push(' '),
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some('r') => plain.push('\r'),
                Some('\\') | None => plain.push('\\'),
                Some(other) => plain.extend(['\\', other]),
            },
            (letter, false) => plain.push(letter),
        }
    }
    plain
}

/// The words of `Exec`, with its quotes undone; field codes such as `%U` are no words.
fn split(exec: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut letters = exec.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            space if space.is_ascii_whitespace() && !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    let is_code = |word: &String| word.len() == 2 && word.starts_with('%');
    words.into_iter().filter(|word| !is_code(word)).collect()
}

/// What the words start: behind `env` and its assignments, and for an interpreter its script. A launcher such as `flatpak`
/// starts nothing that could be recognised.
fn program(words: &[String]) -> Option<Vec<u8>> {
    let mut words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    if words.first().is_some_and(|first| command::base(first) == b"env") {
        let skipped = words.iter().skip(1).take_while(|word| word.contains(&b'=') || word.starts_with(b"-")).count();
        words.drain(..=skipped);
    }
    let command = command::read(&words)?;
    if command.is_interpreter { command.script } else { Some(command.program) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CALCULATOR: &str = "# A comment\n[Desktop Entry]\nName=Calculator\nName[de]=Taschenrechner\n\
        Name[sr]=Калкулатор\nName[sr@latin]=Kalkulator\nExec=env A=b gnome-calculator --x %U\nIcon=org.gnome.Calculator\n\
        Type=Application\nStartupWMClass=Calc\\sWindow\nComment=bad \\escape\nno line\n\n\
        [Desktop Action New]\nName=New Window\nExec=other\n";

    fn read(text: &str, languages: &[&str]) -> Option<Entry> {
        let languages: Vec<String> = languages.iter().map(|language| (*language).to_owned()).collect();
        parse("org.gnome.Calculator", text.as_bytes(), &languages)
    }

    fn program_of(exec: &str) -> Option<String> {
        let entry = read(&format!("[Desktop Entry]\nType=Application\nName=x\nExec={exec}\n"), &[])?;
        entry.program.map(|program| String::from_utf8_lossy(&program).into_owned())
    }

    #[test]
    fn an_entry_tells_name_icon_program_and_window() {
        let entry = read(CALCULATOR, &[]).expect("an application");
        assert_eq!((entry.name.as_str(), entry.icon.as_deref()), ("Calculator", Some("org.gnome.Calculator")));
        assert_eq!(
            (entry.program.as_deref(), entry.window_class.as_deref()),
            (Some(&b"gnome-calculator"[..]), Some("Calc Window"))
        );
        assert!(!entry.no_display && !entry.hidden);
    }

    #[test]
    fn the_name_is_in_the_first_language_that_there_is() {
        let name = |languages: &[&str]| read(CALCULATOR, languages).map(|entry| entry.name);
        assert_eq!(name(&["de_DE", "de"]).as_deref(), Some("Taschenrechner"));
        assert_eq!(name(&["sr_RS@latin", "sr_RS", "sr@latin", "sr"]).as_deref(), Some("Kalkulator"));
        assert_eq!(name(&["fr"]).as_deref(), Some("Calculator"));
    }

    #[test]
    fn the_program_is_the_first_word_that_is_one() {
        for (exec, program) in [
            ("firefox %u", Some("firefox")),
            ("/usr/lib/x/x --y", Some("x")),
            ("\"/opt/My App/my app\" %F", Some("my app")),
            ("env BAMF=x /snap/bin/code", Some("code")),
            ("python3 /usr/share/foo/foo.py", Some("foo.py")),
            ("/usr/bin/flatpak run --command=x org.x.Y", None),
            ("sh -c \"echo $HOME\"", None),
            ("", None),
        ] {
            assert_eq!(program_of(exec).as_deref(), program, "{exec}");
        }
    }

    #[test]
    fn what_is_no_application_or_has_no_name_is_none() {
        assert_eq!(read("[Desktop Entry]\nType=Link\nName=x\n", &[]), None);
        assert_eq!(read("[Desktop Entry]\nType=Application\nExec=x\n", &[]), None);
        assert_eq!(read("Name=x\nType=Application\n", &[]), None);
        assert!(read("[Desktop Entry]\nHidden=true\n", &[]).is_some_and(|entry| entry.hidden));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, lines in "\\[Desktop Entry\\]\nType=Application\n((Name|Exec|Name\\[de\\]|Icon) ?=[a\\\\\" %=é]{0,9}\n){0,5}") {
            let _ = (parse("x", &bytes, &[]), parse("x", lines.as_bytes(), &["de".to_owned()]));
        }
    }
}
