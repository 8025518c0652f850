//! The systemd unit that a control group belongs to, read from its path: systemd.unit(5), "Control Groups" in
//! <https://systemd.io/CGROUP_DELEGATION> and "XDG standardization for applications" in
//! <https://systemd.io/DESKTOP_ENVIRONMENTS>.

use dormouse_wire::GroupKind;

/// A unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name, such as `cups.service`, as systemd has escaped it.
    pub name: String,
    /// Its control group: two users may have units of one name.
    pub path: Vec<u8>,
    /// Whose manager runs it: the uid in `user@1000.service` above it, `None` for that of the system.
    pub manager: Option<u32>,
    /// `App` or `Service`.
    pub kind: GroupKind,
    /// The desktop files it may come from, without `.desktop`, the likeliest first.
    pub applications: Vec<String>,
}

/// Scopes that hold what a person has started one by one: its sessions are the groups. Logins (pam_systemd(8)), and the
/// tabs and panes of VTE and tmux.
const OF_SESSIONS: [&str; 3] = ["session-", "vte-spawn-", "tmux-spawn-"];

/// The unit of a path. The outermost one, for what lies below a unit is its own affair: Konsole and containers have units
/// in theirs. Managers of users and init.scope are no units here, but what holds such.
pub fn of(path: &[u8]) -> Option<Unit> {
    let (path, _) = crate::proc::strip_deleted(path);
    let mut manager = None;
    let mut end = 0;
    for part in path.split(|byte| *byte == b'/') {
        end += part.len() + 1;
        // What has a name that nobody could type is not systemd's.
        let Ok(name) = std::str::from_utf8(part) else { continue };
        if let Some(user) = name.strip_prefix("user@") {
            manager = user.strip_suffix(".service").and_then(|uid| uid.parse().ok()).or(manager);
        } else if holds_processes(name) {
            let (kind, applications) = application(name);
            let path = path.get(..end - 1)?.to_vec();
            return Some(Unit { name: name.to_owned(), path, manager, kind, applications });
        }
    }
    None
}

fn holds_processes(name: &str) -> bool {
    let is_of_sessions = || name == "init.scope" || OF_SESSIONS.iter().any(|prefix| name.starts_with(prefix));
    match name.rsplit_once('.') {
        Some((stem, "scope")) => !stem.is_empty() && !is_of_sessions(),
        Some((stem, "service")) => !stem.is_empty(),
        _ => false,
    }
}

/// What a unit is, and the desktop files it may come from.
fn application(name: &str) -> (GroupKind, Vec<String>) {
    let (stem, is_scope) = match name.rsplit_once('.') {
        Some((stem, suffix)) => (stem, suffix == "scope"),
        None => (name, false),
    };
    let (kind, found) = if stem.starts_with("app-dormouse-") {
        // What Dormouse has woken is called by its image: what runs in it says more.
        (GroupKind::App, Vec::new())
    } else if let Some(rest) = stem.strip_prefix("app-") {
        (GroupKind::App, of_desktop(rest, is_scope))
    } else if let Some(rest) = stem.strip_prefix("snap.") {
        (if is_scope { GroupKind::App } else { GroupKind::Service }, of_snap(rest).into_iter().collect())
    } else if let Some(rest) = stem.strip_prefix("dbus-:") {
        (GroupKind::Service, of_bus(rest).into_iter().collect())
    } else {
        (GroupKind::Service, Vec::new())
    };
    (kind, found.iter().map(|name| unescape(name)).filter(|name| !name.is_empty()).collect())
}

/// `[LAUNCHER-]APPLICATION-RANDOM` for scopes, `[LAUNCHER-]APPLICATION[@RANDOM]` for services; older ones have a dash
/// there too. A dash within one of them is escaped, but not by everybody.
fn of_desktop(rest: &str, is_scope: bool) -> Vec<String> {
    let (plain, has_instance) = match rest.split_once('@') {
        Some((plain, _)) if !is_scope => (plain, true),
        _ => (rest, false),
    };
    let parts: Vec<&str> = plain.split('-').collect();
    let join = |parts: &[&str]| parts.join("-");
    let without_random = match parts.as_slice() {
        [first @ .., _] if !first.is_empty() && !has_instance => first,
        all => all,
    };
    let mut found = Vec::new();
    let mut add = |name: String| {
        if !name.is_empty() && !found.contains(&name) {
            found.push(name);
        }
    };
    let readings: &[&[&str]] = if is_scope { &[without_random] } else { &[&parts, without_random] };
    for reading in readings {
        if reading.len() > 1 {
            add(join(&reading[1..]));
        }
        add(join(reading));
    }
    found
}

/// `NAME.APP-UUID`, `NAME.APP.UUID` or `NAME.APP`: its desktop file is `NAME_APP`.
fn of_snap(rest: &str) -> Option<String> {
    const UUID: usize = 36;
    let cut = rest.len().checked_sub(UUID + 1).filter(|cut| rest.is_char_boundary(*cut));
    let is_uuid = |text: &str| text.bytes().skip(1).all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let plain = match cut.map(|cut| rest.split_at(cut)) {
        Some((plain, uuid)) if uuid.starts_with(['-', '.']) && is_uuid(uuid) => plain,
        _ => rest,
    };
    let (name, app) = plain.split_once('.')?;
    Some(format!("{name}_{app}"))
}

/// `1.2-NAME@0`: started by the message bus for its name, dbus-broker-launch(1).
fn of_bus(rest: &str) -> Option<String> {
    let (_, name) = rest.split_once('-')?;
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    // Without a dot it would be no name on a bus.
    name.contains('.').then(|| name.to_owned())
}

/// Undoes what systemd-escape(1) does to names: `\x2d` is a dash. A slash cannot come of it.
fn unescape(name: &str) -> String {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.strip_prefix(b"x").and_then(|digits| std::str::from_utf8(digits.get(..2)?).ok());
        match digits.filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if byte != b'/' && byte != 0 => {
                plain.push(byte);
                rest = &behind[3..];
            }
            _ => {
                plain.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(path: &str) -> Option<(String, GroupKind, Vec<String>)> {
        of(path.as_bytes()).map(|unit| (unit.name, unit.kind, unit.applications))
    }

    fn applications(unit: &str) -> Vec<String> {
        let path = format!("/user.slice/user-1000.slice/user@1000.service/app.slice/{unit}");
        let unit = of(path.as_bytes()).expect("it is a unit");
        assert_eq!((unit.manager, unit.path), (Some(1000), path.into_bytes()));
        unit.applications
    }

    #[test]
    fn the_desktop_file_is_found_in_the_name_of_a_unit() {
        for (unit, application) in [
            ("app-gnome-org.gnome.Calculator-1234.scope", "org.gnome.Calculator"),
            ("app-org.gnome.Calculator-1234.scope", "org.gnome.Calculator"),
            ("app-gnome-gnome\\x2dterminal-77.scope", "gnome-terminal"),
            ("app-flatpak-org.gimp.GIMP-123.scope", "org.gimp.GIMP"),
            ("app-org.kde.kate@5a3f1c.service", "org.kde.kate"),
            ("app-gnome-org.gnome.Software@autostart.service", "org.gnome.Software"),
            ("snap.firefox.firefox-0b7c1b1e-5a4e-4b53-9d61-6c1c4d6e2f00.scope", "firefox_firefox"),
            ("snap.my-app.run-it.0b7c1b1e-5a4e-4b53-9d61-6c1c4d6e2f00.scope", "my-app_run-it"),
            ("dbus-:1.2-org.gnome.Nautilus@0.service", "org.gnome.Nautilus"),
        ] {
            assert!(applications(unit).contains(&application.to_owned()), "{unit}: {:?}", applications(unit));
        }
        assert_eq!(applications("app-gnome-org.gnome.Calculator-1234.scope")[0], "org.gnome.Calculator");
        assert!(applications("app-dormouse-bash\\x2d42-7.scope").is_empty());
    }

    #[test]
    fn only_the_outermost_unit_counts() {
        let konsole = read("/user.slice/user@1000.service/app.slice/app-org.kde.konsole-12.scope/tab(15).scope");
        assert_eq!(konsole.map(|unit| unit.0).as_deref(), Some("app-org.kde.konsole-12.scope"));
        assert_eq!(read("/system.slice/docker-0f3a.scope/x").map(|unit| unit.1), Some(GroupKind::Service));
        assert_eq!(read("/system.slice/cups.service"), Some(("cups.service".into(), GroupKind::Service, Vec::new())));
        assert_eq!(read("/a.service (deleted)").map(|unit| unit.0).as_deref(), Some("a.service"));
    }

    #[test]
    fn what_holds_sessions_is_no_unit() {
        for path in [
            "/",
            "/user.slice/user-1000.slice/session-2.scope",
            "/user.slice/user-1000.slice/user@1000.service/init.scope",
            "/init.scope",
            "/user.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-0b7c.scope",
            "/user.slice/.scope",
            "/memory/limited",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(bytes: Vec<u8>, text in "(/|user@1|app-|snap\\.|dbus-:|[a-z.@-]{0,40}|\\\\x2d|é|\\.scope|\\.service){0,9}") {
            let _ = (of(&bytes), of(text.as_bytes()));
        }
    }
}
