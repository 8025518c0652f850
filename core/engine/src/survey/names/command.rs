//! What a command line is called: the program, and for an interpreter the script it runs.

/// What a command line runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The name of the program's file.
    pub program: Vec<u8>,
    /// Whether that is an interpreter, a shell, or something else that is there to run others.
    pub is_interpreter: bool,
    /// What the interpreter runs, as a person would write it: `server.py`, `-m http.server`.
    pub script: Option<Vec<u8>>,
}

/// An interpreter, without a version behind its name.
struct Interpreter {
    names: &'static [&'static str],
    /// Options that take the next word.
    with_value: &'static [&'static str],
    /// Options whose next word, or rest, is the program itself: it has no file.
    code: &'static [&'static str],
    /// Options whose next word names the program.
    named: &'static [&'static str],
}

const INTERPRETERS: [Interpreter; 7] = [
    Interpreter {
        names: &["python", "pypy"],
        with_value: &["-W", "-X", "--check-hash-based-pycs"],
        code: &["-c"],
        named: &["-m"],
    },
    Interpreter {
        names: &["sh", "bash", "dash", "zsh", "ksh", "mksh", "fish", "busybox"],
        with_value: &["-o", "+o", "-O", "+O", "--rcfile", "--init-file"],
        code: &["-c"],
        named: &[],
    },
    Interpreter { names: &["perl"], with_value: &["-I"], code: &["-e", "-E"], named: &[] },
    Interpreter { names: &["ruby"], with_value: &["-I", "-r"], code: &["-e"], named: &[] },
    Interpreter {
        names: &["node", "nodejs", "bun", "deno", "electron"],
        with_value: &["-r", "--require", "--import", "--loader", "-C", "--conditions"],
        code: &["-e", "--eval", "-p", "--print"],
        named: &[],
    },
    Interpreter {
        names: &["java"],
        with_value: &[
            "-cp",
            "-classpath",
            "--class-path",
            "-p",
            "--module-path",
            "--add-modules",
            "--add-opens",
            "--add-exports",
            "--add-reads",
            "--upgrade-module-path",
        ],
        code: &[],
        named: &["-jar", "-m", "--module"],
    },
    Interpreter {
        names: &["gjs", "gjs-console", "lua", "luajit", "php", "guile", "tclsh", "wish", "Rscript"],
        with_value: &["-I", "-l", "-L"],
        code: &["-c", "-e", "-r"],
        named: &[],
    },
];

/// Programs that are there to start others: that a process runs one says nothing of the app.
const LAUNCHERS: [&str; 12] = [
    "env",
    "flatpak",
    "snap",
    "bwrap",
    "sudo",
    "pkexec",
    "setsid",
    "nohup",
    "xdg-open",
    "gtk-launch",
    "dbus-launch",
    "dbus-run-session",
];

/// What a command line runs; nothing where it is empty.
pub fn read(words: &[&[u8]]) -> Option<Command> {
    let first = words.first().filter(|first| !first.is_empty())?;
    // A login shell has a dash before its name, login(1).
    let program = base(first.strip_prefix(b"-").unwrap_or(first));
    let interpreter = interpreter(program);
    let is_interpreter = interpreter.is_some() || is_launcher(program);
    let script = interpreter.and_then(|interpreter| script(interpreter, words.get(1..).unwrap_or_default()));
    Some(Command { program: program.to_vec(), is_interpreter, script })
}

/// The name of a file without its folders.
pub fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Whether this program only starts others.
pub fn is_launcher(program: &[u8]) -> bool {
    LAUNCHERS.iter().any(|name| name.as_bytes() == program)
}

/// Whether this program runs scripts.
pub fn is_interpreter(program: &[u8]) -> bool {
    interpreter(program).is_some()
}

/// `python3.11` is python.
fn interpreter(program: &[u8]) -> Option<&'static Interpreter> {
    let version = |byte: &u8| byte.is_ascii_digit() || *byte == b'.' || *byte == b'-';
    let end = program.iter().rposition(|byte| !version(byte)).map_or(0, |last| last + 1);
    let plain = &program[..end];
    INTERPRETERS.iter().find(|interpreter| interpreter.names.iter().any(|name| name.as_bytes() == plain))
}

/// What the interpreter runs, unless that comes out of a descriptor and has no name.
fn script(interpreter: &Interpreter, words: &[&[u8]]) -> Option<Vec<u8>> {
    const UNNAMED: [&[u8]; 3] = [b"/dev/fd/", b"/dev/stdin", b"/proc/self/fd/"];
    let word = first_word(interpreter, words)?;
    (!UNNAMED.iter().any(|place| word.starts_with(place))).then(|| base(&word).to_vec())
}

/// The first word that is neither an option nor the value of one.
fn first_word(interpreter: &Interpreter, words: &[&[u8]]) -> Option<Vec<u8>> {
    let is_one_of = |list: &[&str], word: &[u8]| list.iter().any(|option| option.as_bytes() == word);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if is_one_of(interpreter.code, word) || *word == b"-" {
            return None;
        }
        if is_one_of(interpreter.named, word) {
            let name = rest.next()?;
            // The module of Python is called by its option: `http.server` alone would mean nothing to a person.
            return Some(if *word == b"-m" { [b"-m ", *name].concat() } else { name.to_vec() });
        }
        if *word == b"--" {
            return rest.next().map(|name| name.to_vec());
        }
        if is_one_of(interpreter.with_value, word) {
            rest.next();
        } else if !word.starts_with(b"-") && !word.starts_with(b"+") && !word.is_empty() {
            return Some(word.to_vec());
        } else if word.len() > 2 && !word.starts_with(b"--") && ends_in_code(interpreter, word) {
            return None;
        }
    }
    None
}

/// `sh -ec COMMAND`: letters of several options in one word, the last of which takes the program.
fn ends_in_code(interpreter: &Interpreter, word: &[u8]) -> bool {
    let last = word.last().copied();
    interpreter.names.contains(&"sh") && last == Some(b'c')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn called(line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let command = read(&words).expect("a program");
        let script = command.script.map(|script| format!(" {}", String::from_utf8_lossy(&script))).unwrap_or_default();
        format!("{}{script}", String::from_utf8_lossy(&command.program))
    }

    #[test]
    fn an_interpreter_is_called_by_its_script() {
        for (line, name) in [
            ("python3 server.py", "python3 server.py"),
            ("/usr/bin/python3.11 -u -W ignore /srv/app/server.py 8080", "python3.11 server.py"),
            ("python3 -m http.server 8000", "python3 -m http.server"),
            ("python3 -c print(1) x", "python3"),
            ("python3", "python3"),
            ("/bin/bash -eu ./build.sh all", "bash build.sh"),
            ("bash -c sleep 1", "bash"),
            ("sh -ec sleep 1", "sh"),
            ("-bash", "bash"),
            ("bash /dev/fd/3", "bash"),
            ("bash -o pipefail run", "bash run"),
            ("perl -w -Ilib /usr/bin/prove t", "perl prove"),
            ("node --require ./x.js server.js", "node server.js"),
            ("java -Xmx1g -cp a.jar:b.jar -jar /opt/app/app.jar x", "java app.jar"),
            ("java -cp classes org.example.Main 1", "java org.example.Main"),
            ("/usr/lib/firefox/firefox -P x", "firefox"),
            ("sleep 60", "sleep"),
        ] {
            assert_eq!(called(line), name, "{line}");
        }
    }

    #[test]
    fn what_only_starts_others_is_known() {
        assert!(read(&[b"bwrap", b"--args"]).is_some_and(|command| command.is_interpreter && command.script.is_none()));
        assert!(read(&[b"vim"]).is_some_and(|command| !command.is_interpreter));
        assert_eq!((read(&[]), read(&[b""])), (None, None));
    }

    proptest! {
        #[test]
        fn no_words_make_it_panic(words in proptest::collection::vec("(python3|sh|java|-c|-m|-jar|--|-|\\+|[ -~é]{0,6})", 0..6)) {
            let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
            let _ = read(&words);
        }
    }
}
