//! Who is connected to which X display, and which windows they hold: what the survey tells of real servers and real
//! clients, and of what only looks like a display.
#![allow(missing_docs, clippy::panic)]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dormouse_engine::survey::x11::{Options, look};
use dormouse_wire::window::{Access, Display, ServerKind, Window, X11, sentence};
use dormouse_wire::{Disconnect, Pid};
use harness::wait::{PATIENCE, until};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};

mod silence;

const ORDINARY: u32 = harness::specimen::ORDINARY;

fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// The displays of the tests. Each test has a network and a `/tmp` of its own, so that others and this machine may use the
/// same.
const NUMBER: u32 = 25;

/// Leaves behind what this machine has of displays: sockets with abstract names go with the network, files with `/tmp`.
fn alone() {
    const NOTHING: Option<&str> = None;
    done(unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET));
    done(mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING));
    done(mount(Some("none"), "/tmp", Some("tmpfs"), MsFlags::empty(), NOTHING));
    let folder = Path::new("/tmp/.X11-unix");
    done(fs::create_dir(folder));
    done(fs::set_permissions(folder, fs::Permissions::from_mode(0o1777)));
}

/// A program that is ended when this is dropped.
#[derive(Debug)]
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{} does not start: {error}", command.get_program().display())),
        )
    }

    fn pid(&self) -> Pid {
        Pid(self.0.id() as i32)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A server that may tidy up leaves no socket and no lock.
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = kill(pid, Signal::SIGTERM);
        if until(Duration::from_secs(10), || self.0.try_wait().ok().flatten()).is_none() {
            let _ = (self.0.kill(), self.0.wait());
        }
    }
}

/// A display in memory. The clients end before it.
#[derive(Debug)]
struct Screen {
    clients: Vec<Program>,
    server: Program,
}

impl Screen {
    fn start(arguments: &[&OsStr], user: u32) -> Self {
        alone();
        Self::start_here(arguments, user)
    }

    fn start_here(arguments: &[&OsStr], user: u32) -> Self {
        let mut command = Command::new("Xvfb");
        // It does not begin anew, without its socket for a moment, when the first client, the probe below, has gone.
        command
            .arg(format!(":{NUMBER}"))
            .args(["-noreset", "-nolisten", "tcp", "-screen", "0", "800x600x24"])
            .args(arguments);
        let server = Program::start(command.uid(user).gid(user));
        let screen = Self { clients: Vec::new(), server };
        let ready = until(PATIENCE, || UnixStream::connect(format!("/tmp/.X11-unix/X{NUMBER}")).ok());
        assert!(ready.is_some(), "Xvfb does not serve :{NUMBER}; is the package xvfb installed?");
        screen
    }

    /// Starts a client; its pid.
    fn run(&mut self, program: &str, arguments: &[&OsStr]) -> Pid {
        self.run_with(Command::new(program).args(arguments))
    }

    fn run_with(&mut self, command: &mut Command) -> Pid {
        let client = Program::start(command.env("DISPLAY", format!(":{NUMBER}")).env("LC_ALL", "C.UTF-8"));
        self.clients.push(client);
        self.clients[self.clients.len() - 1].pid()
    }
}

/// What the survey says of the display, when it has this many windows.
fn with_windows(count: usize) -> Display {
    let mut last = None;
    let found = until(PATIENCE, || {
        let display = last.insert(seen());
        (display.windows.len() == count).then(|| display.clone())
    });
    found.unwrap_or_else(|| panic!("it does not get {count} windows: {last:#?}"))
}

fn seen() -> Display {
    // Time enough for a machine on which other tests run.
    only(look(&Options { within: Duration::from_secs(10), ..Options::default() }))
}

/// Sets a property of a window; `whose` is `-root`, or `-id` with its number.
fn set(whose: &[&str], property: &str, kind: &str, value: impl AsRef<OsStr>) {
    let mut command = Command::new("xprop");
    command.args(["-display", &format!(":{NUMBER}")]).args(whose).args(["-f", property, kind, "-set", property]);
    let status = command.arg(value).status();
    assert!(status.is_ok_and(|status| status.success()), "xprop fails; is the package x11-utils installed?");
}

/// The one display there is.
fn only(x11: X11) -> Display {
    let mut displays = x11.displays.into_iter();
    match (displays.next(), displays.next()) {
        (Some(display), None) if display.number == NUMBER => display,
        other => panic!("there should be :{NUMBER} alone: {other:#?}"),
    }
}

fn titled<'a>(display: &'a Display, title: &str) -> &'a Window {
    let found = display.windows.iter().find(|window| window.title.as_deref() == Some(title));
    found.unwrap_or_else(|| panic!("no window is called {title:?}: {display:#?}"))
}

fn words<const N: usize>(words: [&str; N]) -> [&OsStr; N] {
    words.map(OsStr::new)
}

/// The clients: pid, and whether it was found by its socket and named by the server.
fn clients(display: &Display) -> Vec<(Pid, bool, bool)> {
    display.clients.iter().map(|client| (client.process.pid, client.holds_socket, client.named_by_server)).collect()
}

#[test]
fn the_windows_of_a_display_are_found_with_the_processes_that_hold_them() {
    let mut screen = Screen::start(&[], 0);
    let xterm = screen.run("xterm", &words(["-T", "Fish & chips", "-e", "sleep", "1000"]));
    let xev = screen.run("xev", &[]);
    let display = with_windows(2);

    let path = format!("/tmp/.X11-unix/X{NUMBER}");
    assert_eq!(display.sockets, [path.clone(), format!("@{path}")]);
    let server = display.server.as_ref().unwrap_or_else(|| panic!("{display:#?}"));
    assert_eq!((server.process.pid, server.process.comm.as_str()), (screen.server.pid(), "Xvfb"));
    assert_eq!((server.kind, &display.access), (ServerKind::Xvfb, &Access::Answered));

    let mut expected = vec![(xterm, true, true), (xev, true, true)];
    expected.sort();
    assert_eq!(clients(&display), expected);

    let (terminal, tester) = (titled(&display, "Fish & chips"), titled(&display, "Event Tester"));
    assert_eq!((terminal.instance.as_deref(), terminal.class.as_deref()), (Some("xterm"), Some("XTerm")));
    assert_eq!((terminal.pid, terminal.claimed_pid, tester.pid), (Some(xterm), Some(xterm), Some(xev)));
    assert_eq!(terminal.machine.as_deref(), nix::unistd::gethostname().ok().as_deref().and_then(OsStr::to_str));

    let x11 = look(&Options::default());
    assert_eq!(sentence(&x11.windows_of(&[xterm])), "holds 1 window: Fish & chips");
    assert_eq!(x11.windows_of(&[xterm, xev]).len(), 2);
    assert_eq!(x11.displays_of(xev).map(|display| display.number).collect::<Vec<_>>(), [NUMBER]);
}

#[test]
fn a_client_in_a_network_of_its_own_is_known_to_the_server() {
    let mut screen = Screen::start(&[], 0);
    let seen_one = screen.run("xmessage", &words(["Hello"]));
    let other = screen.run("unshare", &words(["--net", "xev"]));
    let display = with_windows(2);
    let mut expected = vec![(seen_one, true, true), (other, false, true)];
    expected.sort();
    assert_eq!(clients(&display), expected);
    assert_eq!(titled(&display, "Event Tester").owner(), Some(other));
}

#[test]
fn the_server_is_believed_and_not_the_window() {
    let mut screen = Screen::start(&[], 0);
    let xev = screen.run("xev", &[]);
    let id = with_windows(1).windows[0].id.to_string();
    set(&["-id", &id], "_NET_WM_PID", "32c", "1");
    let window = seen().windows[0].clone();
    assert_eq!((window.pid, window.claimed_pid, window.owner()), (Some(xev), Some(Pid(1)), Some(xev)));
    set(&["-id", &id], "WM_CLIENT_MACHINE", "8s", "far-away");
    let window = seen().windows[0].clone();
    assert_eq!((window.claimed_pid, window.machine.as_deref()), (None, Some("far-away")));
}

#[test]
fn panels_and_desktops_are_no_windows() {
    let mut screen = Screen::start(&[], 0);
    screen.run("xev", &[]);
    let id = with_windows(1).windows[0].id.to_string();
    for (kind, count) in [("DOCK", 0), ("DIALOG", 1), ("DESKTOP", 0), ("NORMAL", 1)] {
        set(&["-id", &id], "_NET_WM_WINDOW_TYPE", "32a", format!("_NET_WM_WINDOW_TYPE_{kind}"));
        assert_eq!(seen().windows.len(), count, "{kind}");
    }
    set(&["-id", &id], "WM_STATE", "32c", "0");
    assert_eq!(seen().windows.len(), 0, "a window that was withdrawn is one");
}

#[test]
fn a_title_of_odd_bytes_is_read_and_shown_on_one_line() {
    let mut screen = Screen::start(&[], 0);
    let odd = OsString::from_vec(b"one\ntwo \x1b[31m caf\xe9 \xff".to_vec());
    let [dash_title, text] = words(["-title", "Hello"]);
    screen.run("xmessage", &[dash_title, &odd, text]);
    let window = with_windows(1).windows[0].clone();
    let id = window.id.to_string();
    // The toolkit leaves out what is no text in its locale.
    assert!(window.title.as_deref().is_some_and(|title| title.starts_with("one\ntwo \u{1b}[31m caf")), "{window:?}");
    set(&["-id", &id], "WM_NAME", "8s", &odd);
    let window = with_windows(1).windows[0].clone();
    assert_eq!(window.title.as_deref(), Some("one\ntwo \u{1b}[31m café ÿ"));
    assert_eq!(sentence(&[&window]), "holds 1 window: one\\ntwo \\u{1b}[31m café ÿ");
    set(&["-id", &id], "_NET_WM_NAME", "8u", "naïve — Ω");
    assert_eq!(seen().windows[0].title.as_deref(), Some("naïve — Ω"));
    set(&["-id", &id], "_NET_WM_NAME", "8s", "");
    assert_eq!(seen().windows[0].title.as_deref(), Some("one\ntwo \u{1b}[31m café ÿ"));
}

#[test]
fn the_list_of_a_window_manager_is_followed_while_it_runs() {
    let mut screen = Screen::start(&[], 0);
    let manager = screen.run("matchbox-window-manager", &[]);
    let xterm = screen.run("xterm", &words(["-T", "Managed", "-e", "sleep", "1000"]));
    screen.run("xev", &[]);
    // The windows may be there before the window manager is.
    let managed = until(PATIENCE, || Some(with_windows(2)).filter(|display| clients(display).len() == 3));
    let display = managed.unwrap_or_else(|| panic!("there is no window manager: {:#?}", seen()));
    assert_eq!(titled(&display, "Managed").pid, Some(xterm));
    assert!(display.windows.iter().all(|window| window.pid != Some(manager)), "{display:#?}");
    let id = titled(&display, "Managed").id;
    // The window manager may write its own list once more.
    let counts = until(PATIENCE, || {
        set(&["-root"], "_NET_CLIENT_LIST", "32x", format!("{id:#x}"));
        (seen().windows.len() == 1).then_some(())
    });
    assert!(counts.is_some(), "the list is not what counts");
    // Without it there are the same windows on the bare screen, and a list that nobody keeps.
    screen.clients.remove(0);
    let display = with_windows(2);
    assert_eq!((titled(&display, "Managed").pid, titled(&display, "Event Tester").class.as_ref()), (Some(xterm), None));
}

#[test]
fn windows_in_the_frames_of_a_window_manager_without_a_list_are_found() {
    let mut screen = Screen::start(&[], 0);
    let folder = done(tempfile::tempdir());
    let fonts = ["Title", "Menu", "Icon", "Resize", "IconManager"].map(|part| format!("{part}Font \"fixed\"\n"));
    let settings = folder.path().join("twmrc");
    done(fs::write(&settings, format!("RandomPlacement\nNoIconManagers\n{}", fonts.concat())));
    let xterm = screen.run("xterm", &words(["-T", "Framed", "-e", "sleep", "1000"]));
    with_windows(1);
    screen.run("twm", &[OsStr::new("-f"), settings.as_os_str()]);
    let framed = until(PATIENCE, || {
        let display = format!(":{NUMBER}");
        let tree = done(Command::new("xwininfo").args(["-display", &display, "-root", "-children"]).output());
        (!String::from_utf8_lossy(&tree.stdout).contains("Framed")).then_some(())
    });
    assert!(framed.is_some(), "twm puts no frame around it");
    let display = with_windows(1);
    assert_eq!(titled(&display, "Framed").pid, Some(xterm));
}

/// A folder that everybody can reach.
fn open_folder() -> tempfile::TempDir {
    alone();
    let folder = done(tempfile::tempdir());
    done(fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)));
    folder
}

/// A file with one cookie for the display, as xauth(1) writes it.
fn authority(folder: &Path, name: &str, owner: u32) -> PathBuf {
    let path = folder.join(name);
    let text = |text: &[u8]| [&(text.len() as u16).to_be_bytes()[..], text].concat();
    let texts = [b"", NUMBER.to_string().as_bytes(), b"MIT-MAGIC-COOKIE-1", b"sixteen bytes..."].map(text);
    done(fs::write(&path, [&[0xff, 0xff][..], &texts.concat()].concat()));
    done(fs::set_permissions(&path, fs::Permissions::from_mode(0o644)));
    done(chown(&path, Some(owner), Some(owner)));
    path
}

#[test]
fn a_server_that_refuses_says_why_and_opens_with_its_cookie() {
    let folder = open_folder();
    // This file is root's, and the server an ordinary user's: what it holds is not shown to it, though it is the file that
    // the server itself names.
    let own = authority(folder.path(), "root's", 0);
    let mut screen = Screen::start_here(&[OsStr::new("-auth"), own.as_os_str()], ORDINARY);
    let mut command = Command::new("xev");
    let xev = screen.run_with(command.env("XAUTHORITY", &own).env("HOME", folder.path()).uid(ORDINARY).gid(ORDINARY));
    let client = until(PATIENCE, || Some(seen()).filter(|display| !display.clients.is_empty()));
    let display = client.unwrap_or_else(|| panic!("xev does not connect"));
    assert_eq!((clients(&display), display.windows.len()), (vec![(xev, true, false)], 0));
    assert!(
        matches!(&display.access, Access::Refused(reason) if reason.starts_with("Authorization required")),
        "{display:#?}"
    );
    let given = authority(folder.path(), "the user's", ORDINARY);
    let opened = Options { authorities: vec![folder.path().join("missing"), given], ..Options::default() };
    let display = until(PATIENCE, || Some(only(look(&opened))).filter(|display| !display.windows.is_empty()));
    let display = display.unwrap_or_else(|| panic!("{:#?}", only(look(&opened))));
    assert_eq!((clients(&display), display.access), (vec![(xev, true, true)], Access::Answered));
}

#[test]
fn the_cookie_of_the_server_itself_opens_it() {
    let folder = open_folder();
    let own = authority(folder.path(), "authority", ORDINARY);
    let mut screen = Screen::start_here(&[OsStr::new("-auth"), own.as_os_str()], ORDINARY);
    // Without a client it would begin anew after the survey.
    let display = seen();
    assert_eq!((display.access, display.server.map(|server| server.kind)), (Access::Unasked, Some(ServerKind::Xvfb)));
    let mut command = Command::new("xev");
    screen.run_with(command.env("XAUTHORITY", &own).uid(ORDINARY).gid(ORDINARY));
    assert_eq!(with_windows(1).access, Access::Answered);
}

#[test]
fn a_socket_that_nobody_listens_at_is_gone() {
    alone();
    let path = format!("/tmp/.X11-unix/X{NUMBER}");
    drop(done(UnixListener::bind(&path)));
    let display = only(look(&Options::default()));
    assert_eq!((display.access, display.server), (Access::Gone, None));
    assert_eq!(display.sockets, [path]);
}

#[test]
fn where_there_is_no_display_none_is_found_at_once() {
    alone();
    let options = Options { within: Duration::from_secs(30), ..Options::default() };
    let start = Instant::now();
    assert_eq!(look(&options), X11::default());
    assert!(start.elapsed() < options.within / 2, "it took {:?}", start.elapsed());
}

#[test]
fn a_check_names_the_windows_and_blocks_for_the_display() {
    let mut screen = Screen::start(&[], 0);
    let xterm = screen.run("xterm", &["-T", "Notes", "-e", "sleep", "1000"].map(OsStr::new));
    with_windows(1);
    // The window is there before the program in it has become what it is to be.
    let program = until(PATIENCE, || {
        let child = fs::read_to_string(format!("/proc/{0}/task/{0}/children", xterm.0)).ok()?;
        let name = fs::read_to_string(format!("/proc/{}/comm", child.trim())).ok()?;
        (name == "sleep\n").then_some(())
    });
    assert!(program.is_some(), "nothing runs in xterm");
    let checked = dormouse_engine::check(
        &dormouse_engine::Selection {
            pid: xterm,
            others: Vec::new(),
            born: dormouse_engine::Born::default(),
            tree_only: true,
            disconnect: Disconnect::Nothing,
            keep_connections: false,
            asker: None,
        },
        &Options { within: Duration::from_secs(10), ..Options::default() },
    );
    let display = checked.displays.first().unwrap_or_else(|| panic!("no display: {checked:?}"));
    assert_eq!((display.number, checked.displays.len()), (NUMBER, 1));
    assert_eq!(sentence(&display.windows.iter().collect::<Vec<_>>()), "holds 1 window: Notes");
    let dormouse_wire::Verdict::Blocked(reasons) = &checked.verdict else { panic!("{:?}", checked.verdict) };
    let about = |reason: &&dormouse_wire::Problem| {
        reason.process.as_ref().is_some_and(|process| process.pid == xterm)
            && reason.what.contains("the X11 display server")
            && reason.way_out.as_ref().is_some_and(|way| way.starts_with("Pause it instead"))
    };
    assert!(reasons.iter().any(|reason| about(&reason)), "{reasons:#?}");
    // Nobody takes the server along.
    assert!(checked.processes.iter().all(|process| process.comm != "Xvfb"), "{:?}", checked.processes);
    let names: Vec<&str> = checked.processes.iter().map(|process| process.comm.as_str()).collect();
    assert_eq!(names, ["xterm", "sleep"]);
    let x11 = |node: &dormouse_wire::Node| {
        matches!(node, dormouse_wire::Node::Thing { kind: dormouse_wire::ThingKind::X11, .. })
    };
    assert!(checked.graph.nodes.iter().any(x11), "{:#?}", checked.graph.nodes);
    // It runs on.
    assert_eq!(with_windows(1).windows[0].owner(), Some(xterm));
}
