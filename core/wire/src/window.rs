//! Displays, who is connected to them, and the windows that programs hold on them.
//!
//! All of it is hearsay to some degree: a display server says whose a window is, and a program says what is in its title.

use serde::{Deserialize, Serialize};

use crate::id::Pid;
use crate::verdict::ProcessName;

/// What was found of the X Window System on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct X11 {
    /// The displays, by rising number.
    pub displays: Vec<Display>,
}

/// A display of this machine, X(7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Display {
    /// Its number: 0 for `:0`.
    pub number: u32,
    /// Where its server listens: `/tmp/.X11-unix/X0` for a file, `@/tmp/.X11-unix/X0` for an abstract name.
    pub sockets: Vec<String>,
    /// Who serves it, where that can be seen.
    pub server: Option<Server>,
    /// Whether it has answered.
    pub access: Access,
    /// Who is connected to it, by rising pid.
    pub clients: Vec<Client>,
    /// The windows on it, as far as it has answered: those that a person would call windows, also hidden ones.
    pub windows: Vec<Window>,
}

/// The process that serves a display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The process. For a display whose Xwayland has not been started yet it is the compositor that would start it.
    pub process: ProcessName,
    /// Which server it is.
    pub kind: ServerKind,
}

/// Which server a display has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerKind {
    /// Xorg, on a screen of the machine.
    Xorg,
    /// Xwayland, within a Wayland session.
    Xwayland,
    /// Xvfb, in memory only.
    Xvfb,
    /// Xephyr, in a window of another display.
    Xephyr,
    /// Xnest, in a window of another display.
    Xnest,
    /// A server for VNC viewers.
    Xvnc,
    /// Another one, or something that only has the name of a display.
    Other,
}

/// Whether a display, or a message bus, has answered the survey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "reason")]
pub enum Access {
    /// It has told all that was asked.
    Answered,
    /// It did not answer in time. What it had told by then is there.
    Silent,
    /// It does not let the survey in: a clause that says why.
    Refused(String),
    /// Nobody listens there any more, or it ended meanwhile.
    Gone,
    /// It was not asked, for nobody seems to be connected: a server may start for the first client, and end with the last.
    Unasked,
}

/// A process that is connected to a display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The process.
    pub process: ProcessName,
    /// It holds a socket that is connected to the display.
    pub holds_socket: bool,
    /// The server names it as the process that has connected.
    pub named_by_server: bool,
}

/// A window that a person would call one: no menu, no panel, no desktop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its number on the display.
    pub id: u32,
    /// What its title bar says.
    pub title: Option<String>,
    /// The instance in WM_CLASS.
    pub instance: Option<String>,
    /// The class in WM_CLASS: the name of the application.
    pub class: Option<String>,
    /// The process that has connected to make it, as the server knows it from its socket (X-Resource extension). None where
    /// the server does not know, or the process has ended.
    pub pid: Option<Pid>,
    /// The process that the window claims to be of (_NET_WM_PID), where it is one of this machine.
    pub claimed_pid: Option<Pid>,
    /// The machine that it claims to be of (WM_CLIENT_MACHINE).
    pub machine: Option<String>,
}

impl X11 {
    /// The windows that these processes hold, on whichever display.
    pub fn windows_of(&self, pids: &[Pid]) -> Vec<&Window> {
        let windows = self.displays.iter().flat_map(|display| &display.windows);
        windows.filter(|window| window.owner().is_some_and(|owner| pids.contains(&owner))).collect()
    }

    /// The displays that some of these processes are connected to, with no other clients and windows than theirs.
    pub fn of(self, pids: &[Pid]) -> Vec<Display> {
        let theirs = |mut display: Display| {
            display.clients.retain(|client| pids.contains(&client.process.pid));
            display.windows.retain(|window| window.owner().is_some_and(|owner| pids.contains(&owner)));
            (!display.clients.is_empty() || !display.windows.is_empty()).then_some(display)
        };
        self.displays.into_iter().filter_map(theirs).collect()
    }

    /// The displays that this process is connected to.
    pub fn displays_of(&self, pid: Pid) -> impl Iterator<Item = &Display> {
        self.displays.iter().filter(move |display| display.clients.iter().any(|client| client.process.pid == pid))
    }
}

impl Window {
    /// The process that holds it: what the server knows counts for more than what the window claims.
    pub fn owner(&self) -> Option<Pid> {
        self.pid.or(self.claimed_pid)
    }

    /// What a person would call it: its title, else the name of its application. Fit to be printed.
    pub fn shown(&self) -> String {
        let names = [&self.title, &self.class, &self.instance];
        let shown = names.into_iter().flatten().map(|name| printable(name)).find(|name| !name.is_empty());
        shown.unwrap_or_else(|| "untitled".to_owned())
    }
}

/// How many characters of a title are shown.
const LONGEST_TITLE: usize = 48;
/// How many windows are named.
const MOST_NAMED: usize = 4;

/// What it means for a person to hold these windows: `holds 2 windows: Calculator, About`.
pub fn sentence(windows: &[&Window]) -> String {
    let count = match windows.len() {
        0 => return "holds no window".to_owned(),
        1 => "1 window".to_owned(),
        several => format!("{several} windows"),
    };
    let names: Vec<String> = windows.iter().take(MOST_NAMED).map(|window| window.shown()).collect();
    match windows.len().saturating_sub(MOST_NAMED) {
        0 => format!("holds {count}: {}", names.join(", ")),
        more => format!("holds {count}: {} and {more} more", names.join(", ")),
    }
}

/// A text that others wrote, on one line and not too long: control characters are escaped, and what would turn the
/// direction of the text around it is left out.
fn printable(text: &str) -> String {
    let mut shown = String::new();
    let mut letters = text.trim().chars().filter(|letter| !turns_direction(*letter));
    for letter in letters.by_ref().take(LONGEST_TITLE) {
        match letter {
            _ if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}') => {
                shown.extend(letter.escape_debug());
            }
            _ => shown.push(letter),
        }
    }
    if letters.next().is_some() {
        shown.truncate(shown.trim_end().len());
        shown.push('…');
    }
    shown
}

/// The controls of the Unicode bidirectional algorithm: they are not seen, but what stands behind them is.
fn turns_direction(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titled(title: &str) -> Window {
        Window {
            id: 1,
            title: Some(title.to_owned()),
            instance: None,
            class: Some("Class".to_owned()),
            pid: None,
            claimed_pid: Some(Pid(7)),
            machine: None,
        }
    }

    fn said(titles: &[&str]) -> String {
        let windows: Vec<Window> = titles.iter().map(|title| titled(title)).collect();
        sentence(&windows.iter().collect::<Vec<_>>())
    }

    #[test]
    fn the_sentence_names_four_windows_at_most() {
        assert_eq!(said(&[]), "holds no window");
        assert_eq!(said(&["Calculator"]), "holds 1 window: Calculator");
        assert_eq!(said(&["Calculator", "About"]), "holds 2 windows: Calculator, About");
        assert_eq!(said(&["A", "B", "C", "D"]), "holds 4 windows: A, B, C, D");
        assert_eq!(said(&["A", "B", "C", "D", "E", "F", "G"]), "holds 7 windows: A, B, C, D and 3 more");
    }

    #[test]
    fn a_title_is_shown_on_one_line_and_changes_nothing_around_it() {
        assert_eq!(titled("one\ntwo\u{1b}[31m").shown(), "one\\ntwo\\u{1b}[31m");
        assert_eq!(titled("\u{202e}Bob's \"über\" \u{2068}Ω\u{2069}").shown(), "Bob's \"über\" Ω");
        assert_eq!(titled("  ").shown(), "Class");
        assert_eq!(Window { title: None, class: None, ..titled("") }.shown(), "untitled");
    }

    #[test]
    fn a_long_title_is_cut_between_letters() {
        let shown = titled(&"ä".repeat(100)).shown();
        assert_eq!(shown, format!("{}…", "ä".repeat(48)));
        assert_eq!(titled(&"ä".repeat(48)).shown(), "ä".repeat(48));
    }

    #[test]
    fn the_server_knows_better_than_the_window_whose_it_is() {
        let window = Window { pid: Some(Pid(8)), ..titled("x") };
        assert_eq!((window.owner(), titled("x").owner()), (Some(Pid(8)), Some(Pid(7))));
    }
}
