//! Nodes in layers: who makes, writes or asks stands left of what is made, written or asked.

use std::collections::BTreeSet;

use rust_sugiyama::configure::{Config, RankingType};
use rust_sugiyama::from_vertices_and_edges;

use super::{NODE, Tie};

/// What lies between two nodes of one layer.
const BESIDE: f64 = 22.0;
/// What lies between two layers, where the ties run.
const BETWEEN: f64 = 84.0;
/// What lies around all.
const MARGIN: f64 = 24.0;

/// Where the nodes are.
#[derive(Debug, Default)]
pub struct Layout {
    /// Their middles.
    pub places: Vec<(f64, f64)>,
    /// How wide all is.
    pub width: f64,
    /// How high.
    pub height: f64,
}

/// Lays so many nodes out. What is not tied together stands one below the other.
pub fn lay_out(count: usize, ties: &[Tie]) -> Layout {
    // The library lays out from above to below; here the layers run from left to right, where names need the room.
    let size = (NODE.1, NODE.0 + BETWEEN - BESIDE);
    let vertices: Vec<(u32, (f64, f64))> = (0..count as u32).map(|place| (place, size)).collect();
    let edges = without_circles(count, ties);
    let config = Config {
        vertex_spacing: BESIDE,
        dummy_vertices: true,
        dummy_size: 0.5,
        // The library's search for the shortest ties does not end for some graphs.
        ranking_type: RankingType::Up,
        // It is what takes the time with hundreds of nodes.
        transpose: count <= 100,
        ..Config::default()
    };
    let mut layout = Layout { places: vec![(0.0, 0.0); count], ..Layout::default() };
    let mut parts = from_vertices_and_edges(&vertices, &edges, &config);
    // What is tied together comes first, and what stands alone last.
    parts.sort_by_key(|(nodes, ..)| std::cmp::Reverse(nodes.len()));
    let mut below = MARGIN;
    for (nodes, ..) in parts {
        let least = |of: fn((f64, f64)) -> f64| nodes.iter().map(|(_, at)| of(*at)).fold(f64::INFINITY, f64::min);
        let (top, left) = (least(|at| at.0), least(|at| at.1));
        let mut bottom = below;
        for (node, (down, right)) in nodes {
            let at = (right - left + MARGIN + NODE.0 / 2.0, down - top + below + NODE.1 / 2.0);
            bottom = bottom.max(at.1 + NODE.1 / 2.0);
            layout.width = layout.width.max(at.0 + NODE.0 / 2.0 + MARGIN);
            if let Some(place) = layout.places.get_mut(node) {
                *place = at;
            }
        }
        below = bottom + BESIDE;
    }
    layout.height = below - BESIDE + MARGIN;
    layout
}

/// The ties with those turned round that lead back to where one has come from: layers know one direction only. Each pair of nodes
/// has one at most.
fn without_circles(count: usize, ties: &[Tie]) -> Vec<(u32, u32)> {
    let mut next = vec![Vec::new(); count];
    let mut led_to = vec![false; count];
    for tie in ties.iter().filter(|tie| tie.from != tie.to && tie.from < count && tie.to < count) {
        next[tie.from].push(tie.to);
        led_to[tie.to] = true;
    }
    // A walk in depth, from where nothing leads to; whoever is left behind last stands before all that it leads to.
    let starts = (0..count).filter(|node| !led_to[*node]).chain(0..count);
    let (mut seen, mut left) = (vec![false; count], Vec::with_capacity(count));
    for start in starts {
        let mut path = vec![(start, 0)];
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        while let Some((node, place)) = path.last_mut() {
            if let Some(&to) = next[*node].get(*place) {
                *place += 1;
                if !std::mem::replace(&mut seen[to], true) {
                    path.push((to, 0));
                }
            } else {
                left.push(*node);
                path.pop();
            }
        }
    }
    let mut order = vec![0; count];
    for (place, node) in left.into_iter().rev().enumerate() {
        order[node] = place;
    }
    let forwards = |(from, to): (usize, usize)| if order[from] < order[to] { (from, to) } else { (to, from) };
    let edges = next.iter().enumerate().flat_map(|(from, all)| all.iter().map(move |to| (from, *to)));
    let edges: BTreeSet<(usize, usize)> = edges.map(forwards).collect();
    edges.into_iter().map(|(from, to)| (from as u32, to as u32)).collect()
}

#[cfg(test)]
mod tests {
    use dormouse_wire::{EdgeKind, Strength};

    use super::*;

    fn tie(from: usize, to: usize) -> Tie {
        Tie { from, to, kinds: vec![EdgeKind::Holds], strength: Strength::Weak, ends: Vec::new() }
    }

    #[test]
    fn a_chain_runs_from_left_to_right() {
        let layout = lay_out(3, &[tie(2, 0), tie(0, 1)]);
        let [first, second, third] = [2, 0, 1].map(|place: usize| layout.places[place]);
        assert!(first.0 + NODE.0 < second.0 && second.0 + NODE.0 < third.0, "{layout:?}");
        assert!((first.1 - third.1).abs() < 1.0, "{layout:?}");
    }

    #[test]
    fn circles_and_any_other_shape_are_laid_out() {
        assert_eq!(lay_out(0, &[]).places.len(), 0);
        lay_out(2, &[tie(0, 1), tie(1, 0)]);
        // Numbers that look like chance and are the same each time.
        let mut seed = 1_u32;
        let mut chance = |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % below
        };
        for _ in 0..300 {
            let count = 1 + chance(60);
            let ties: Vec<Tie> =
                (0..chance(150)).map(|_| tie(chance(count), chance(count))).filter(|tie| tie.from != tie.to).collect();
            let layout = lay_out(count, &ties);
            assert!(layout.places.iter().all(|at| at.0.is_finite() && at.1.is_finite()), "{ties:?}");
        }
    }

    #[test]
    fn three_hundred_nodes_take_no_time() {
        let star: Vec<Tie> = (1..300).map(|place| tie(if place < 20 { 0 } else { place % 19 + 1 }, place)).collect();
        let start = std::time::Instant::now();
        lay_out(300, &star);
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }
}
