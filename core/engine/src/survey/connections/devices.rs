//! What devices are, by their names.

use dormouse_wire::ThingKind;

/// What a device is; `None` for those that tie nobody to anything, such as `/dev/null`.
pub fn kind(path: &[u8]) -> Option<ThingKind> {
    const NOBODYS: [&[u8]; 7] =
        [b"/dev/null", b"/dev/zero", b"/dev/full", b"/dev/random", b"/dev/urandom", b"/dev/tty", b"/dev/ptmx"];
    const KINDS: [(&[u8], ThingKind); 8] = [
        (b"/dev/dri/", ThingKind::Gpu),
        (b"/dev/nvidia", ThingKind::Gpu),
        (b"/dev/kfd", ThingKind::Gpu),
        (b"/dev/snd/", ThingKind::Sound),
        (b"/dev/video", ThingKind::Camera),
        (b"/dev/media", ThingKind::Camera),
        (b"/dev/pts/", ThingKind::Terminal),
        (b"/dev/tty", ThingKind::Terminal),
    ];
    if NOBODYS.contains(&path) {
        return None;
    }
    let kind = KINDS.iter().find(|(start, _)| path.starts_with(start)).map(|(_, kind)| *kind);
    Some(kind.unwrap_or(ThingKind::Device))
}
