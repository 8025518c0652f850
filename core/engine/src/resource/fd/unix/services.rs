//! The services that programs are connected to by unix sockets: what a person calls them, and what can be done.

// zoo: no kind

use super::name::Name;

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// What it is, for a person: it follows "connected to".
    pub what: &'static str,
    /// What can be done.
    pub way_out: &'static str,
}

const DISPLAY: &str = "Pause it instead, or start it in a nested session that is frozen with it";
const CLOSE: &str = "Close the connection in the program, or pause the group instead";
const LOG: &str = "Start it with its output in a file, or pause the group instead";

/// Part of the name, what it is, what can be done. The first that fits counts.
const SERVICES: [(&str, &str, &str); 18] = [
    ("/.X11-unix/", "the X11 display server", DISPLAY),
    ("/.ICE-unix/", "the session manager (ICE)", CLOSE),
    ("/wayland-", "the Wayland display server", DISPLAY),
    ("/dbus/system_bus_socket", "the system's message bus (D-Bus)", CLOSE),
    ("/dbus-", "a message bus (D-Bus)", CLOSE),
    ("/at-spi/", "the message bus of assistive technology (D-Bus)", CLOSE),
    ("/bus", "a message bus (D-Bus)", CLOSE),
    ("/pipewire-", "PipeWire, for sound and video", CLOSE),
    ("/pulse/", "PulseAudio, for sound", CLOSE),
    ("/systemd/journal/", "the journal", LOG),
    ("/dev/log", "the system's log", LOG),
    ("/systemd/", "a service of systemd", CLOSE),
    ("/nscd/", "the cache of names (nscd)", CLOSE),
    ("/keyring", "the keyring", CLOSE),
    ("/gnupg/", "GnuPG's agent", CLOSE),
    ("ssh-", "the SSH agent", CLOSE),
    ("/tmux-", "tmux", CLOSE),
    ("docker.sock", "Docker", CLOSE),
];

/// The service at this name.
pub fn service(name: &Name) -> Service {
    let shown = name.shown();
    let found = SERVICES.iter().find(|(part, ..)| shown.contains(part));
    let (what, way_out) = found.map_or(("a service", CLOSE), |(_, what, way_out)| (*what, *way_out));
    Service { what, way_out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_told_by_their_names() {
        let of = |path: &str| service(&Name::Path(serde_bytes::ByteBuf::from(path))).what;
        assert_eq!(of("/tmp/.X11-unix/X0"), "the X11 display server");
        assert_eq!(
            service(&Name::Abstract(serde_bytes::ByteBuf::from("/tmp/.X11-unix/X0"))).what,
            "the X11 display server"
        );
        assert_eq!(of("/run/user/1000/wayland-0"), "the Wayland display server");
        assert_eq!(of("/run/user/1000/bus"), "a message bus (D-Bus)");
        assert_eq!(of("/run/systemd/journal/stdout"), "the journal");
        assert_eq!(of("/srv/mine"), "a service");
    }
}
