//! The services that programs are connected to by unix sockets: what a person calls them, and what can be done.

// zoo: no kind

use dormouse_wire::ThingKind::{self, MessageBus, PipeWire, PulseAudio, Service as Other, Wayland, X11};
use dormouse_wire::{Phrase, phrase};

use super::name::Name;

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What it is, for a person: it follows "connected to".
    pub what: Phrase,
    /// What can be done.
    pub way_out: Phrase,
    /// What it is in a graph.
    pub kind: ThingKind,
}

const DISPLAY: Phrase = phrase!("Pause it instead, or start it in a nested session that is frozen with it");
const CLOSE: Phrase = phrase!("Cut the connection (--disconnect), close it in the program, or pause the group instead");
const LOG: Phrase = phrase!("Start it with its output in a file, or pause the group instead");

/// Part of the name, what it is, what can be done, and what it is in a graph. The first that fits counts.
static SERVICES: [(&str, Phrase, Phrase, ThingKind); 18] = [
    ("/.X11-unix/", phrase!("the X11 display server"), DISPLAY, X11),
    ("/.ICE-unix/", phrase!("the session manager (ICE)"), CLOSE, Other),
    ("/wayland-", phrase!("the Wayland display server"), DISPLAY, Wayland),
    ("/dbus/system_bus_socket", phrase!("the system's message bus (D-Bus)"), CLOSE, MessageBus),
    ("/dbus-", phrase!("a message bus (D-Bus)"), CLOSE, MessageBus),
    ("/at-spi/", phrase!("the message bus of assistive technology (D-Bus)"), CLOSE, MessageBus),
    ("/bus", phrase!("a message bus (D-Bus)"), CLOSE, MessageBus),
    ("/pipewire-", phrase!("PipeWire, for sound and video"), CLOSE, PipeWire),
    ("/pulse/", phrase!("PulseAudio, for sound"), CLOSE, PulseAudio),
    ("/systemd/journal/", phrase!("the journal"), LOG, Other),
    ("/dev/log", phrase!("the system's log"), LOG, Other),
    ("/systemd/", phrase!("a service of systemd"), CLOSE, Other),
    ("/nscd/", phrase!("the cache of names (nscd)"), CLOSE, Other),
    ("/keyring", phrase!("the keyring"), CLOSE, Other),
    ("/gnupg/", phrase!("GnuPG's agent"), CLOSE, Other),
    ("ssh-", phrase!("the SSH agent"), CLOSE, Other),
    ("/tmux-", phrase!("tmux"), CLOSE, Other),
    ("docker.sock", phrase!("Docker"), CLOSE, Other),
];

/// The service at this name.
pub fn service(name: &Name) -> Service {
    // An abstract name may be what elsewhere is the name of a file.
    let shown = format!("/{}", name.shown().trim_start_matches('@'));
    let found = SERVICES.iter().find(|(part, ..)| shown.contains(part));
    match found {
        Some((_, what, way_out, kind)) => Service { what: what.clone(), way_out: way_out.clone(), kind: *kind },
        None => Service { what: phrase!("a service"), way_out: CLOSE, kind: Other },
    }
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
