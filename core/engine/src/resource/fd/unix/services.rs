//! The services that programs are connected to by unix sockets: what a person calls them, and what can be done.

// zoo: no kind

use dormouse_wire::ThingKind::{self, MessageBus, PipeWire, PulseAudio, Service as Other, Wayland, X11};

use super::name::Name;

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// What it is, for a person: it follows "connected to".
    pub what: &'static str,
    /// What can be done.
    pub way_out: &'static str,
    /// What it is in a graph.
    pub kind: ThingKind,
}

const DISPLAY: &str = "Pause it instead, or start it in a nested session that is frozen with it";
const CLOSE: &str = "Cut the connection (--disconnect), close it in the program, or pause the group instead";
const LOG: &str = "Start it with its output in a file, or pause the group instead";

/// Part of the name, what it is, what can be done, and what it is in a graph. The first that fits counts.
const SERVICES: [(&str, &str, &str, ThingKind); 18] = [
    ("/.X11-unix/", "the X11 display server", DISPLAY, X11),
    ("/.ICE-unix/", "the session manager (ICE)", CLOSE, Other),
    ("/wayland-", "the Wayland display server", DISPLAY, Wayland),
    ("/dbus/system_bus_socket", "the system's message bus (D-Bus)", CLOSE, MessageBus),
    ("/dbus-", "a message bus (D-Bus)", CLOSE, MessageBus),
    ("/at-spi/", "the message bus of assistive technology (D-Bus)", CLOSE, MessageBus),
    ("/bus", "a message bus (D-Bus)", CLOSE, MessageBus),
    ("/pipewire-", "PipeWire, for sound and video", CLOSE, PipeWire),
    ("/pulse/", "PulseAudio, for sound", CLOSE, PulseAudio),
    ("/systemd/journal/", "the journal", LOG, Other),
    ("/dev/log", "the system's log", LOG, Other),
    ("/systemd/", "a service of systemd", CLOSE, Other),
    ("/nscd/", "the cache of names (nscd)", CLOSE, Other),
    ("/keyring", "the keyring", CLOSE, Other),
    ("/gnupg/", "GnuPG's agent", CLOSE, Other),
    ("ssh-", "the SSH agent", CLOSE, Other),
    ("/tmux-", "tmux", CLOSE, Other),
    ("docker.sock", "Docker", CLOSE, Other),
];

/// The service at this name.
pub fn service(name: &Name) -> Service {
    // An abstract name may be what elsewhere is the name of a file.
    let shown = format!("/{}", name.shown().trim_start_matches('@'));
    let found = SERVICES.iter().find(|(part, ..)| shown.contains(part));
    let (_, what, way_out, kind) = found.copied().unwrap_or(("", "a service", CLOSE, Other));
    Service { what, way_out, kind }
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
        let of_abstract = |name: &str| service(&Name::Abstract(serde_bytes::ByteBuf::from(name))).kind;
        assert_eq!(["wayland-0", "pipewire-0", "dbus-Xy"].map(of_abstract), [Wayland, PipeWire, MessageBus]);
        assert_eq!(["mine", "my-pipewire-0"].map(of_abstract), [Other, Other]);
        assert_eq!(of("wayland-1"), "the Wayland display server", "a path may be relative");
        assert_eq!(of("/run/user/1000/bus"), "a message bus (D-Bus)");
        assert_eq!(of("/run/systemd/journal/stdout"), "the journal");
        assert_eq!(of("/srv/mine"), "a service");
    }
}
