//! Jobs whose terminal lies outside the group: they come back on the terminal that the thaw is run from, as it is set
//! and painted there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use harness::User;
use harness::command::{self, Outcome};
use harness::group::MARK;
use harness::specimen::ORDINARY;
use harness::terminal::Terminal;

as_each_user!(
    vim_keeps_what_was_not_saved,
    emacs_keeps_what_was_not_saved,
    a_whole_shell_with_less_shows_the_same_page,
    a_stopped_job_comes_back_to_the_foreground,
    a_job_is_stopped_and_continued_after_the_thaw,
    a_job_with_pids_of_its_own_is_stopped_and_continued
);

/// A folder of the user's, whose name marks what is started in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new(user: User) -> Self {
        let base = tempfile::Builder::new().prefix("dormouse-").tempdir().unwrap_or_else(|error| panic!("{error}"));
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap_or_else(|error| panic!("{error}"));
        let place = Self(base);
        fs::create_dir(place.folder()).unwrap_or_else(|error| panic!("{error}"));
        if user == User::Ordinary {
            chown(place.folder(), Some(ORDINARY), Some(ORDINARY)).unwrap_or_else(|error| panic!("{error}"));
        }
        place
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("work")
    }

    fn image(&self) -> PathBuf {
        self.0.path().join("image.dormouse")
    }

    fn shell(&self, shell: &str, user: User) -> Terminal {
        let folder = self.folder();
        Terminal::shell(shell, user, &folder, &[(MARK, &folder.to_string_lossy())])
    }

    /// A shell of the person who thaws.
    fn person() -> Terminal {
        Terminal::shell("bash", User::Root, Path::new("/"), &[])
    }

    fn freeze(&self, pid: i32) -> Outcome {
        let outcome =
            command::run(&["freeze", &pid.to_string(), "-o", &self.image().to_string_lossy()], self.0.path(), || {});
        outcome.expect_success("freeze");
        outcome
    }

    /// Starts vim with a line of text that is not saved; the terminal, and the pid of vim.
    fn vim(&self, shell: &str, user: User) -> (Terminal, i32) {
        let mut terminal = self.shell(shell, user);
        terminal.type_in("vim -u NONE -i NONE -N letter\r");
        terminal.wait_for("[New]");
        terminal.type_in("iDear dormouse,\rsleep well");
        terminal.wait_for("sleep well");
        let vim = terminal.process("vim");
        (terminal, vim)
    }

    fn letter(&self) -> String {
        fs::read_to_string(self.folder().join("letter")).unwrap_or_default()
    }

    fn thaw_command(&self) -> String {
        self.thaw_with("")
    }

    fn thaw_with(&self, options: &str) -> String {
        format!("{} thaw {options} {}\r", command::path().display(), self.image().display())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        harness::group::end(0, &self.folder().to_string_lossy(), &std::collections::BTreeSet::new());
    }
}

/// vim is a job of a shell that stays where it is; thawed on another terminal it still knows what was typed and not saved.
fn vim_keeps_what_was_not_saved(user: User) {
    let _alone = harness::alone::with_terminals();
    let place = Place::new(user);
    let (mut first, vim) = place.vim("bash", user);
    assert_eq!(place.letter(), "", "the text is saved already");

    place.freeze(vim);
    first.settle();
    first.type_in("echo as\"\"wide as ev\"\"er; tput cols\r");
    let shown = first.wait_for("aswide as ever\n80\n");
    assert!(shown.contains("echo as"), "the terminal does not show what is typed:\n{shown}");

    let mut second = Place::person();
    second.type_in(&place.thaw_command());
    second.wait_for("Dear dormouse,");
    second.type_in(" and long\x1b:wq\r");
    second.wait_for("READY> ");
    assert_eq!(place.letter(), "Dear dormouse,\nsleep well and long\n");
    second.type_in("echo ended with $?\r");
    second.wait_for("ended with 0\n");
}

/// The same with emacs, which talks to its terminal in another way.
fn emacs_keeps_what_was_not_saved(user: User) {
    let _alone = harness::alone::with_terminals();
    let place = Place::new(user);
    let mut first = place.shell("bash", user);
    first.type_in("emacs -nw -Q letter\r");
    first.wait_for("(New file)");
    first.type_in("Dear dormouse,\rsleep well");
    first.wait_for("sleep well");
    let emacs = first.process("emacs");
    place.freeze(emacs);
    assert_eq!(place.letter(), "", "the text is saved already");

    let mut second = Place::person();
    second.type_in(&place.thaw_command());
    second.wait_for("Dear dormouse,");
    second.type_in(" and long\x18\x13\x18\x03");
    second.wait_for("READY> ");
    assert_eq!(place.letter().trim_end(), "Dear dormouse,\nsleep well and long");
}

/// A session with all that is on its terminal: the shell, and less at the end of a pipeline, in the middle of its text.
fn a_whole_shell_with_less_shows_the_same_page(user: User) {
    let _alone = harness::alone::with_terminals();
    let place = Place::new(user);
    let lines = (1..=200).rev().fold(String::new(), |lines, number| lines + &format!("line {number:03}\n"));
    let written = fs::write(place.folder().join("lines"), lines);
    written.unwrap_or_else(|error| panic!("{error}"));
    let mut first = place.shell("bash", user);
    first.type_in("there=$$; cat lines | sort | less\r");
    first.wait_for("line 023");
    first.type_in(" ");
    first.wait_for("line 046");

    let shell = first.leader();
    place.freeze(shell);
    assert!(harness::process::Stat::of(shell).is_none_or(|stat| stat.is_dead()), "the shell still runs");
    drop(first);

    let mut second = Place::person();
    second.type_in(&place.thaw_command());
    let page = second.wait_for("line 046");
    assert!(page.contains("line 024"), "less shows another page:\n{page}");
    second.type_in(" ");
    second.wait_for("line 069");
    second.type_in("q");
    second.wait_for("READY> ");
    second.type_in("echo still $there $$\r");
    second.wait_for(&format!("still {shell} {shell}\n"));
    second.type_in("sleep 100\r");
    second.process("sleep");
    second.type_in("\x03");
    second.wait_for("READY> ");
    second.type_in("exit 7\r");
    second.wait_for("READY> ");
    second.type_in("echo ended with $?\r");
    second.wait_for("ended with 7\n");
}

/// A job that ^Z has stopped is on its terminal too, and who thaws it wants to go on with it.
fn a_stopped_job_comes_back_to_the_foreground(user: User) {
    let _alone = harness::alone::with_terminals();
    let place = Place::new(user);
    let (mut first, vim) = place.vim("bash", user);
    first.type_in("\x1b\x1a");
    first.wait_for("READY> ");
    place.freeze(vim);
    let mut second = Place::person();
    second.type_in(&place.thaw_command());
    second.wait_for("Dear dormouse,");
    second.type_in(":wq\r");
    second.wait_for("READY> ");
    assert_eq!(place.letter(), "Dear dormouse,\nsleep well\n");
}

/// After the thaw it is a job like any other: ^Z stops it, `fg` continues it. The shell it had, which does not set its
/// terminal by itself, can be used as before.
fn a_job_is_stopped_and_continued_after_the_thaw(user: User) {
    let _alone = harness::alone::with_terminals();
    let place = Place::new(user);
    let (mut first, vim) = place.vim("dash", user);
    place.freeze(vim);
    first.settle();
    first.type_in("echo as\"\"wide as ev\"\"er\r");
    let shown = first.wait_for("aswide as ever\n");
    assert!(shown.contains("echo as"), "the terminal does not show what is typed:\n{shown}");

    stopped_and_continued(&place, &place.thaw_command());
}

/// The same where the job comes back in a pid namespace: the shell of the person waits for a command that waits for another one.
fn a_job_with_pids_of_its_own_is_stopped_and_continued(user: User) {
    let _alone = harness::alone::with_terminals();
    let place = Place::new(user);
    let (mut first, vim) = place.vim("bash", user);
    place.freeze(vim);
    first.settle();
    stopped_and_continued(&place, &place.thaw_with("--pid-namespace always"));
}

/// Wakes vim, stops it, continues it, and saves what it has.
fn stopped_and_continued(place: &Place, thaw: &str) {
    let mut second = Place::person();
    second.type_in(thaw);
    second.wait_for("Dear dormouse,");
    second.type_in("\x1b\x1a");
    second.wait_for("READY> ");
    second.type_in("echo mean\"\"while; fg\r");
    second.wait_for("meanwhile\n");
    second.wait_for("Dear dormouse,");
    second.type_in(":wq\r");
    second.wait_for("READY> ");
    assert_eq!(place.letter(), "Dear dormouse,\nsleep well\n");
    second.type_in("echo ended with $?\r");
    second.wait_for("ended with 0\n");
}

/// Without a terminal there is no place for a job that needs one: nothing is started, and the way out is named.
#[test]
fn a_thaw_without_a_terminal_is_refused() {
    let _alone = harness::alone::with_terminals();
    let place = Place::new(User::Root);
    let (_first, vim) = place.vim("bash", User::Root);
    place.freeze(vim);
    let outcome = command::run(&["thaw", &place.image().to_string_lossy()], place.0.path(), || {});
    assert!(!outcome.status.success(), "it was thawed:\n{}", outcome.said);
    assert!(outcome.said.contains("/dev/pts/") && outcome.said.contains("from a shell in a"), "{}", outcome.said);
    assert!(harness::process::Stat::of(vim).is_none(), "vim is there all the same");
}
