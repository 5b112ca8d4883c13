//! The nearest rows of a point: a k-d tree.

use super::features::DIMS;

/// Coordinates of the residual: those of the op, and those that the law adds.
pub const POINT_DIMS: usize = DIMS + 5;

/// Where a residual lies.
pub type Point = [f64; POINT_DIMS];

/// Rows in a leaf: below this a scan is faster than a descent.
const LEAF: usize = 12;

/// A row near a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Squared distance to the point.
    pub distance2: f64,
    /// The row.
    pub row: usize,
}

enum Node {
    /// Rows `start..end` of the tree's order.
    Leaf { start: usize, end: usize },
    /// Rows up to `at` along `axis` on the left, the others on the right.
    Split { axis: usize, at: f64, left: usize, right: usize },
}

/// Points in an order in which near ones lie together.
pub struct Tree {
    points: Vec<(Point, usize)>,
    nodes: Vec<Node>,
}

impl Tree {
    /// A tree of `points`; rows are named by their place in it.
    pub fn new(points: &[Point]) -> Tree {
        let mut points: Vec<(Point, usize)> = points.iter().copied().zip(0..).collect();
        let mut nodes = Vec::new();
        let end = points.len();
        grow(&mut points, 0, end, &mut nodes);
        Tree { points, nodes }
    }

    /// The `most` nearest rows that `keep` admits, nearest first; the lower row first where two are equally far.
    pub fn nearest(&self, point: &Point, most: usize, keep: impl Fn(usize) -> bool) -> Vec<Neighbour> {
        let mut found = Vec::with_capacity(most + 1);
        if most > 0 {
            self.descend(self.nodes.len() - 1, point, most, &keep, &mut found);
        }
        found
    }

    fn descend(
        &self,
        node: usize,
        point: &Point,
        most: usize,
        keep: &impl Fn(usize) -> bool,
        found: &mut Vec<Neighbour>,
    ) {
        match self.nodes[node] {
            Node::Leaf { start, end } => {
                for (coords, row) in &self.points[start..end] {
                    let new = Neighbour { distance2: distance2(coords, point), row: *row };
                    let nearer = |old: &Neighbour| (old.distance2, old.row) < (new.distance2, new.row);
                    let full = found.len() == most;
                    if full && found.last().is_some_and(nearer) || !keep(*row) {
                        continue;
                    }
                    let place = found.partition_point(nearer);
                    if full {
                        found.pop();
                    }
                    found.insert(place, new);
                }
            }
            Node::Split { axis, at, left, right } => {
                let beyond = point[axis] - at;
                let (near, far) = if beyond <= 0.0 { (left, right) } else { (right, left) };
                self.descend(near, point, most, keep, found);
                // Equal distances too, so that ties do not depend on the shape of the tree.
                let reach =
                    found.last().filter(|_| found.len() == most).map_or(f64::INFINITY, |n| n.distance2);
                if beyond * beyond <= reach {
                    self.descend(far, point, most, keep, found);
                }
            }
        }
    }
}

/// Grows the tree of `points[start..end]` and gives its root, which is the last of `nodes`.
fn grow(points: &mut [(Point, usize)], start: usize, end: usize, nodes: &mut Vec<Node>) -> usize {
    let part = &mut points[start..end];
    let (axis, extent) = widest(part);
    if part.len() <= LEAF || extent <= 0.0 {
        nodes.push(Node::Leaf { start, end });
        return nodes.len() - 1;
    }
    let middle = part.len() / 2;
    part.select_nth_unstable_by(middle, |(a, i), (b, j)| a[axis].total_cmp(&b[axis]).then(i.cmp(j)));
    let at = part[middle].0[axis];
    let left = grow(points, start, start + middle, nodes);
    let right = grow(points, start + middle, end, nodes);
    nodes.push(Node::Split { axis, at, left, right });
    nodes.len() - 1
}

/// The axis along which the points reach farthest, and how far.
fn widest(points: &[(Point, usize)]) -> (usize, f64) {
    let mut best = (0, 0.0);
    for axis in 0..POINT_DIMS {
        let along = || points.iter().map(|(coords, _)| coords[axis]);
        let extent = along().fold(f64::MIN, f64::max) - along().fold(f64::MAX, f64::min);
        if extent > best.1 {
            best = (axis, extent);
        }
    }
    best
}

/// The squared distance of two points.
pub fn distance2(a: &Point, b: &Point) -> f64 {
    let mut sum = 0.0;
    for axis in 0..POINT_DIMS {
        sum += (a[axis] - b[axis]) * (a[axis] - b[axis]);
    }
    sum
}
