//! A desktop program in a capsule with its display, its session bus and the services of that: what is to be seen is the same after a
//! thaw, and the program goes on.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::wait::{PATIENCE, until};
use harness::{Job, User};

use crate::{bwrap, end, fall_asleep, init, wake_up, write};

/// A display, a session bus with its services, and an app, as a person would keep them in one.
const DESKTOP: &str = r#"
export HOME=/tmp/home XDG_RUNTIME_DIR=/run/user GSETTINGS_BACKEND=memory LANG=C.UTF-8 DISPLAY=:50
mkdir -p $HOME $XDG_RUNTIME_DIR && chmod 700 $XDG_RUNTIME_DIR
Xvnc :50 -SecurityTypes None -rfbport -1 -rfbunixpath /tmp/vnc.sock -nolisten local -geometry 800x600 > /tmp/display.log 2>&1 &
until [ -S /tmp/.X11-unix/X50 ]; do sleep 0.05; done
eval "$2"
echo ready
exec dbus-run-session -- $1 > /tmp/app.log 2>&1
"#;

/// A command of the display's, run within the capsule; what it wrote.
fn at_display(init: i32, words: &[&str]) -> String {
    let mut command = Command::new("nsenter");
    let pid = init.to_string();
    command.args(["-t", &pid, "-m", "-p", "env", "DISPLAY=:50", "HOME=/tmp"]).args(words);
    let output =
        harness::specimen::without_inheritance(&mut command).output().unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The display as it is when it has not changed for a moment; a caret may blink. How many pixels of it are not black.
fn settled(init: i32, folder: &Path, name: &str) -> u64 {
    // Scroll bars go away by themselves.
    const MOMENT: Duration = Duration::from_millis(2500);
    let take = |name: &str| {
        at_display(init, &["import", "-window", "root", &format!("/work/{name}.png")]);
        folder.join(format!("{name}.png"))
    };
    let still = until(PATIENCE, || {
        let before = take("before");
        std::thread::sleep(MOMENT);
        (differing(&before, &take(name)) <= CARET).then_some(())
    });
    assert!(still.is_some(), "the display does not come to rest");
    differing(&folder.join(format!("{name}.png")), &folder.join("black.png"))
}

/// So many pixels a blinking caret has at most.
const CARET: u64 = 64;

/// How many pixels of two pictures differ.
fn differing(one: &Path, other: &Path) -> u64 {
    let output = Command::new("compare").args(["-metric", "AE"]).arg(one).arg(other).arg("null:").output();
    let output = output.unwrap_or_else(|error| panic!("{error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    said.trim().parse::<f64>().unwrap_or_else(|error| panic!("{said}: {error}")) as u64
}

/// A program with a window.
#[derive(Clone, Copy, Debug)]
pub struct App<'a> {
    /// Its words.
    pub program: &'a str,
    /// What the shell does first.
    pub first: &'a str,
    /// A part of the title of its window.
    pub title: &'a str,
    /// What bubblewrap is told besides.
    pub sandbox: &'a [&'a str],
    /// What is typed in each round.
    pub keys: &'a [&'a str],
    /// So often it sleeps and wakes, with something typed between.
    pub rounds: usize,
}

/// Starts the program, types a line in each round, and looks at what is to be seen before each sleep and after it.
pub fn goes_on(user: User, app: App<'_>) {
    let mut job = Job::start("bwrap", user, |folder| {
        write(folder, "desktop.sh", DESKTOP);
        let own = if user == User::Root { &[][..] } else { &["--unshare-user"] };
        bwrap(
            folder,
            &[own, &["--ro-bind", "/var", "/var", "--tmpfs", "/run"], app.sandbox].concat(),
            &["sh", "desktop.sh", app.program, app.first],
        )
    });
    job.wait_for("ready");
    let folder = job.specimen().folder();
    let picture = |name: &str| folder.join(format!("{name}.png"));
    let black = Command::new("convert").args(["-size", "800x600", "xc:black"]).arg(picture("black")).status();
    assert!(black.is_ok_and(|status| status.success()));
    let window = || at_display(init(&folder), &["xdotool", "search", "--name", app.title]);
    assert!(until(PATIENCE, || (!window().is_empty()).then_some(())).is_some(), "there is no window");
    let drawn = until(PATIENCE, || (settled(init(&folder), &folder, "awake") > 10_000).then_some(()));
    assert!(drawn.is_some(), "nothing is to be seen");
    for round in 0..app.rounds {
        at_display(init(&folder), &[&["xdotool", "key"], app.keys].concat());
        let is_seen = || {
            settled(init(&folder), &folder, "asleep");
            (differing(&picture("awake"), &picture("asleep")) > CARET).then_some(())
        };
        assert!(until(PATIENCE, is_seen).is_some(), "round {round}: what was typed is not to be seen");
        let capsule = init(&folder);
        fall_asleep(&mut job, capsule);
        wake_up(&mut job);
        settled(init(&folder), &folder, "awake");
        let differ = differing(&picture("asleep"), &picture("awake"));
        assert!(differ <= CARET, "round {round}: {differ} pixels are others after the thaw");
    }
    end(init(&folder));
}

const CALCULATOR: App<'_> = App {
    program: "gnome-calculator",
    first: "",
    title: "Calculator",
    sandbox: &[],
    keys: &["plus", "7", "Return"],
    rounds: 5,
};

#[test]
fn a_calculator_with_its_display_and_its_bus_goes_on_computing() {
    goes_on(User::Root, CALCULATOR);
}

#[test]
fn a_calculator_in_a_capsule_of_an_ordinary_user_goes_on_computing() {
    goes_on(User::Ordinary, CALCULATOR);
}

#[test]
fn a_text_editor_with_its_display_and_its_bus_goes_on_writing() {
    let keys = &["d", "o", "r", "m", "o", "u", "s", "e", "Return"];
    goes_on(User::Root, App { program: "gnome-text-editor", title: "Text Editor", keys, ..CALCULATOR });
}
