//! How the graph is drawn: ties below nodes, and only what is in view.

use dormouse_wire::{EdgeKind, Strength, ThingKind};
use relm4::gtk;
use relm4::gtk::prelude::*;
use relm4::gtk::subclass::prelude::*;
use relm4::gtk::{cairo, gdk, graphene, gsk, pango};

use super::{GraphView, rectangle, subtitle, title};
use crate::model::graph::{NODE, Shown, Tie, What};
use crate::say;

/// With more ties than this, what they say is told by tooltips alone.
const MOST_WORDS: usize = 40;
const ICON: f64 = 18.0;

/// The colours of the theme, by what they are for.
struct Colours {
    text: gdk::RGBA,
    card: gdk::RGBA,
    member: gdk::RGBA,
    boundary: gdk::RGBA,
}

impl Colours {
    #[allow(deprecated)]
    fn of(view: &GraphView) -> Self {
        let style = view.style_context();
        let named = |name: &str, other: gdk::RGBA| style.lookup_color(name).unwrap_or(other);
        let text = style.color();
        Self {
            text,
            card: named("card_bg_color", text.with_alpha(0.05)),
            member: named("accent_color", text),
            boundary: named("warning_color", text),
        }
    }

    fn of_node(&self, what: &What) -> gdk::RGBA {
        match what {
            What::Process { member: true, .. } | What::Processes { member: true, .. } => self.member,
            What::Process { .. } | What::Processes { .. } => self.text.with_alpha(0.55),
            What::Thing { kind, .. } | What::Things { kind, .. } if kind.strength() == Strength::Weak => self.boundary,
            What::Thing { .. } | What::Things { .. } => self.text.with_alpha(0.8),
        }
    }
}

/// Draws all.
pub fn snapshot(view: &GraphView, snapshot: &gtk::Snapshot) {
    let own = view.imp();
    let ((left, top), zoom) = (own.offset.get(), own.zoom.get());
    if zoom <= 0.0 {
        return;
    }
    let colours = Colours::of(view);
    let (width, height) = (f64::from(view.width()), f64::from(view.height()));
    let seen = rectangle(-left / zoom, -top / zoom, width / zoom, height / zoom);
    // GTK 4.8 misplaces what cairo draws in a snapshot that is scaled: the curves are scaled by cairo itself.
    let context = snapshot.append_cairo(&rectangle(0.0, 0.0, width, height));
    context.translate(left, top);
    context.scale(zoom, zoom);
    let words = ties(view, &context, &colours);
    drop(context);
    snapshot.save();
    snapshot.translate(&graphene::Point::new(left as f32, top as f32));
    snapshot.scale(zoom as f32, zoom as f32);
    for (words, middle, is_looked_at) in words {
        draw_words(view, snapshot, &colours, &words, middle, is_looked_at);
    }
    for (place, node) in own.picture.borrow().nodes.iter().enumerate() {
        let area = rectangle(node.at.0 - NODE.0 / 2.0, node.at.1 - NODE.1 / 2.0, NODE.0, NODE.1);
        if seen.intersection(&area).is_some() {
            draw_node(view, snapshot, &colours, node, &area);
            if own.focused.get() == Some(place) && view.has_focus() {
                ring(snapshot, &colours, &area);
            }
        }
    }
    snapshot.restore();
}

fn draw_node(view: &GraphView, snapshot: &gtk::Snapshot, colours: &Colours, node: &Shown, area: &graphene::Rect) {
    let round = if matches!(node.what, What::Thing { .. } | What::Things { .. }) { 23.0 } else { 9.0 };
    let colour = colours.of_node(&node.what);
    if node.what.key().is_some() {
        // A family looks like a pile.
        let behind = area.offset_r(4.0, 4.0);
        face(snapshot, &behind, round, colours, colour);
    }
    face(snapshot, area, round, colours, colour);
    let (x, y) = (f64::from(area.x()), f64::from(area.y()));
    let theme = gtk::IconTheme::for_display(&view.display());
    let flags = gtk::IconLookupFlags::FORCE_SYMBOLIC;
    let found = theme.lookup_icon(icon(&node.what), &[], ICON as i32, view.scale_factor(), view.direction(), flags);
    snapshot.save();
    snapshot.translate(&graphene::Point::new(x as f32 + 12.0, (y + (NODE.1 - ICON) / 2.0) as f32));
    found.snapshot_symbolic(snapshot, ICON, ICON, &[colour]);
    snapshot.restore();
    let room = NODE.0 - ICON - 32.0;
    text(view, snapshot, &title(&node.what), (x + ICON + 20.0, y + 5.0, room), &colours.text, true);
    let dim = colours.text.with_alpha(0.65);
    text(view, snapshot, &subtitle(&node.what), (x + ICON + 20.0, y + 24.0, room), &dim, false);
}

/// The face of a node: opaque, with a tint and a border.
fn face(snapshot: &gtk::Snapshot, area: &graphene::Rect, round: f32, colours: &Colours, colour: gdk::RGBA) {
    let shape = gsk::RoundedRect::from_rect(*area, round);
    snapshot.push_rounded_clip(&shape);
    // Cards are translucent in the dark.
    let ground = if colours.text.red() > 0.5 { gdk::RGBA::new(0.21, 0.21, 0.21, 1.0) } else { gdk::RGBA::WHITE };
    snapshot.append_color(&ground, area);
    snapshot.append_color(&colours.card, area);
    snapshot.append_color(&colour.with_alpha(0.10), area);
    snapshot.pop();
    snapshot.append_border(&shape, &[1.5; 4], &[colour.with_alpha(0.75); 4]);
}

fn ring(snapshot: &gtk::Snapshot, colours: &Colours, area: &graphene::Rect) {
    let shape = gsk::RoundedRect::from_rect(area.inset_r(-4.0, -4.0), 13.0);
    snapshot.append_border(&shape, &[2.5; 4], &[colours.member; 4]);
}

fn text(
    view: &GraphView,
    snapshot: &gtk::Snapshot,
    text: &str,
    (x, y, room): (f64, f64, f64),
    colour: &gdk::RGBA,
    is_title: bool,
) {
    let layout = view.create_pango_layout(Some(text));
    let attributes = pango::AttrList::new();
    attributes.insert(pango::AttrFloat::new_scale(if is_title { 0.95 } else { 0.78 }));
    if is_title {
        attributes.insert(pango::AttrInt::new_weight(pango::Weight::Semibold));
    }
    layout.set_attributes(Some(&attributes));
    layout.set_width((room * f64::from(pango::SCALE)) as i32);
    layout.set_ellipsize(if is_title { pango::EllipsizeMode::End } else { pango::EllipsizeMode::Middle });
    snapshot.save();
    snapshot.translate(&graphene::Point::new(x as f32, y as f32));
    snapshot.append_layout(&layout, colour);
    snapshot.restore();
}

/// What a tie says, where, and whether it is looked at.
type Words = (String, (f64, f64), bool);

/// Draws the ties; what is to be written on them.
fn ties(view: &GraphView, context: &cairo::Context, colours: &Colours) -> Vec<Words> {
    let own = view.imp();
    let picture = own.picture.borrow();
    let looked_at = own.hovered.get().or(own.focused.get().filter(|_| view.has_focus()));
    let says = picture.ties.len() <= MOST_WORDS && own.zoom.get() > 0.6;
    let mut words = Vec::new();
    for tie in &picture.ties {
        let (Some(from), Some(to)) = (picture.nodes.get(tie.from), picture.nodes.get(tie.to)) else { continue };
        let is_looked_at = looked_at.is_some_and(|place| tie.from == place || tie.to == place);
        let middle = draw_tie(context, colours, tie, (from.at, to.at), is_looked_at);
        if says || is_looked_at {
            let kinds: Vec<String> = tie.kinds.iter().map(|kind| say::tie(*kind)).collect();
            words.push((kinds.join(", "), middle, is_looked_at));
        }
    }
    words
}

/// A curve with an arrow; where its middle is.
fn draw_tie(
    context: &cairo::Context,
    colours: &Colours,
    tie: &Tie,
    (from, to): ((f64, f64), (f64, f64)),
    is_looked_at: bool,
) -> (f64, f64) {
    const ARROW: f64 = 7.0;
    let colour = tie_colour(colours, tie).with_alpha(if is_looked_at { 1.0 } else { 0.5 });
    context.set_source_rgba(
        f64::from(colour.red()),
        f64::from(colour.green()),
        f64::from(colour.blue()),
        f64::from(colour.alpha()),
    );
    context.set_line_width(if is_looked_at { 2.5 } else { 1.6 });
    let dashes: &[f64] =
        if tie.strength == Strength::Weak && tie.kinds != [EdgeKind::Parent] { &[6.0, 4.0] } else { &[] };
    context.set_dash(dashes, 0.0);
    // Leftwards and rightwards a tie leaves by the side, within a layer by the edge.
    let beside = (to.0 - from.0).abs() < NODE.0;
    let side = if to.0 >= from.0 { 1.0 } else { -1.0 };
    let (start, end, bend) = if beside {
        let down = if to.1 >= from.1 { 1.0 } else { -1.0 };
        let half = down * NODE.1 / 2.0;
        ((from.0, from.1 + half), (to.0, to.1 - half), (0.0, down * (to.1 - from.1).abs() / 3.0))
    } else {
        let half = side * NODE.0 / 2.0;
        ((from.0 + half, from.1), (to.0 - half, to.1), (side * ((to.0 - from.0).abs() - NODE.0).max(30.0) / 2.0, 0.0))
    };
    context.move_to(start.0, start.1);
    context.curve_to(start.0 + bend.0, start.1 + bend.1, end.0 - bend.0, end.1 - bend.1, end.0, end.1);
    // What cannot be drawn is not drawn: there is nobody to tell.
    let _ = context.stroke();
    context.set_dash(&[], 0.0);
    let length = bend.0.hypot(bend.1).max(1.0);
    let (right, down) = (bend.0 / length * ARROW, bend.1 / length * ARROW);
    context.move_to(end.0, end.1);
    context.line_to(end.0 - right - down * 0.6, end.1 - down + right * 0.6);
    context.line_to(end.0 - right + down * 0.6, end.1 - down - right * 0.6);
    context.close_path();
    let _ = context.fill();
    (start.0.midpoint(end.0), start.1.midpoint(end.1))
}

fn tie_colour(colours: &Colours, tie: &Tie) -> gdk::RGBA {
    match tie.strength {
        _ if tie.kinds == [EdgeKind::Parent] => colours.text.with_alpha(0.7),
        Strength::Strong => colours.member,
        Strength::Weak => colours.boundary,
    }
}

fn draw_words(
    view: &GraphView,
    snapshot: &gtk::Snapshot,
    colours: &Colours,
    words: &str,
    middle: (f64, f64),
    is_looked_at: bool,
) {
    let layout = view.create_pango_layout(Some(words));
    let attributes = pango::AttrList::new();
    attributes.insert(pango::AttrFloat::new_scale(0.7));
    layout.set_attributes(Some(&attributes));
    let (width, height) = layout.pixel_size();
    let (x, y) = (middle.0 - f64::from(width) / 2.0, middle.1 - f64::from(height) / 2.0);
    let ground = if colours.text.red() > 0.5 {
        gdk::RGBA::new(0.12, 0.12, 0.12, 0.85)
    } else {
        gdk::RGBA::new(1.0, 1.0, 1.0, 0.85)
    };
    snapshot.append_color(&ground, &rectangle(x - 3.0, y, f64::from(width) + 6.0, f64::from(height)));
    snapshot.save();
    snapshot.translate(&graphene::Point::new(x as f32, y as f32));
    snapshot.append_layout(&layout, &colours.text.with_alpha(if is_looked_at { 1.0 } else { 0.7 }));
    snapshot.restore();
}

/// What a node is, without words and without colour.
fn icon(what: &What) -> &'static str {
    let kind = match what {
        What::Process { .. } | What::Processes { .. } => return "application-x-executable-symbolic",
        What::Thing { kind, .. } | What::Things { kind, .. } => *kind,
    };
    match kind {
        ThingKind::Pipe | ThingKind::Fifo => "network-transmit-symbolic",
        ThingKind::UnixSocket | ThingKind::Tcp => "network-wired-symbolic",
        ThingKind::RemoteHost => "network-server-symbolic",
        ThingKind::SharedMemory | ThingKind::SystemV => "media-flash-symbolic",
        ThingKind::File => "text-x-generic-symbolic",
        ThingKind::Terminal => "utilities-terminal-symbolic",
        ThingKind::X11 | ThingKind::Wayland | ThingKind::Gpu => "video-display-symbolic",
        ThingKind::MessageBus => "network-transmit-receive-symbolic",
        ThingKind::PipeWire | ThingKind::PulseAudio | ThingKind::Sound => "audio-speakers-symbolic",
        ThingKind::Camera => "camera-photo-symbolic",
        ThingKind::Service => "system-run-symbolic",
        _ => "drive-harddisk-symbolic",
    }
}
