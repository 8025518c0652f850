//! From node to node by the arrow keys.

use super::Picture;

/// Where to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Left,
    Right,
    Up,
    Down,
}

/// The node to go to from this one: the nearest in that direction, where what is straight ahead counts as nearer.
pub fn next(picture: &Picture, from: usize, direction: Direction) -> Option<usize> {
    const ASIDE: f64 = 3.0;
    let start = picture.nodes.get(from)?.at;
    let distance = |at: (f64, f64)| {
        let (right, down) = (at.0 - start.0, at.1 - start.1);
        let (ahead, aside) = match direction {
            Direction::Left => (-right, down),
            Direction::Right => (right, down),
            Direction::Up => (-down, right),
            Direction::Down => (down, right),
        };
        (ahead > 1.0).then(|| ahead + ASIDE * aside.abs())
    };
    let far = picture.nodes.iter().enumerate().filter_map(|(place, node)| Some((place, distance(node.at)?)));
    far.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::picture;
    use super::super::tests::workers;
    use super::*;

    #[test]
    fn every_node_can_be_reached_by_the_arrows() {
        let picture = picture(&workers(8), &HashSet::new());
        let mut reached = HashSet::from([0]);
        let mut to_do = vec![0];
        while let Some(place) = to_do.pop() {
            for direction in [Direction::Left, Direction::Right, Direction::Up, Direction::Down] {
                let to = next(&picture, place, direction).filter(|to| reached.insert(*to));
                to_do.extend(to);
            }
        }
        assert_eq!(reached.len(), picture.nodes.len());
    }

    #[test]
    fn to_go_right_and_left_again_leads_into_another_layer_and_back() {
        let picture = picture(&workers(1), &HashSet::new());
        let right = next(&picture, 0, Direction::Right);
        let back = right.and_then(|place| next(&picture, place, Direction::Left));
        assert!(right.is_some_and(|place| picture.nodes[place].at.0 > picture.nodes[0].at.0));
        assert_eq!(back, Some(0));
    }
}
