//! What changes by steps: boosted trees on what the law leaves over.
//!
//! Gradient boosting (Friedman 2001) on histograms (Ke et al. 2017, LightGBM) of at most 48 quantile bins.
//! Questions are chosen by residuals up to a small bound, and a leaf is the median of its rows: absolute errors are what
//! counts, and a row measured in a bad moment pulls no more than one that is a little off. The same rows give the same
//! trees, bit for bit: subsamples are drawn by hashing.

use super::draw;

/// Features of a row, the unused ones 0.
pub const TREE_DIMS: usize = 45;

/// Of these, what the first half of the trees sees; the others see all. Together they err less than trees of either
/// kind alone, at sizes that no row has by 2 to 3 %.
const PLAIN_DIMS: usize = 21;

/// What the trees see of a row.
pub type Traits = [f32; TREE_DIMS];

/// Bins of a feature.
const BINS: usize = 48;

/// Of 256, how many rows and features a tree sees.
const ROW_SHARE: u64 = 179;

/// Features that a tree sees, of 256: fewer make trees that differ more and together err less. On the H200 table the
/// median error at coordinates that no row has is 3.66 % with 179 of 256, and 3.60 % so.
const TRAIT_SHARE: u64 = 110;

/// Residuals, in log seconds, beyond which a row pulls no harder. With means of residuals up to 0.05 as leaves, the
/// median error of 1,000 rows of the H200 table is 2 % larger, and that of those of plans' sizes 4 %.
const MOST_PULL: f64 = 0.01;

/// Rows that the bins are made of.
const CUT_ROWS: usize = 4_000;

/// Rows that a leaf is drawn towards 0 by.
const SHRINK: f64 = 0.5;

/// How many trees, and how large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Trees of each half.
    pub trees: usize,
    /// Questions on the way to a leaf.
    pub depth: usize,
    /// Rows of a leaf, at least.
    pub leaf: u32,
    /// The share of what a tree finds that is taken over.
    pub rate: f64,
    /// Rows that a tree sees at most.
    pub most_rows: usize,
}

impl Size {
    /// What so many rows bear.
    pub fn of(rows: usize) -> Option<Size> {
        let (trees, depth, leaf, rate) = match rows {
            0..100 => return None,
            100..500 => (400, 4, 8, 0.06),
            500..4000 => (400, 5, 4, 0.04),
            4000..12_000 => (400, 6, 4, 0.06),
            _ => (200, 6, 4, 0.1),
        };
        Some(Size { trees, depth, leaf, rate, most_rows: 6000 })
    }
}

/// Trees of one size, as complete binary trees: the children of node i are 2i + 1 and 2i + 2.
#[derive(Clone, Debug, Default)]
pub struct Forest {
    depth: usize,
    /// Upper ends of the bins of each feature.
    cuts: Vec<Vec<f32>>,
    /// Feature and last bin of the left side, `2^depth − 1` a tree.
    questions: Vec<(u8, u8)>,
    /// `2^depth` a tree.
    leaves: Vec<f32>,
}

type Bins = [u8; TREE_DIMS];

#[derive(Clone, Copy, Default)]
struct Cell {
    pull: f64,
    rows: u32,
}

type Histogram = Vec<[Cell; BINS]>;

impl Forest {
    /// The forest of `targets` at `traits`, of the rows that are kept.
    pub fn fit(traits: &[Traits], targets: &[f64], rows: &[u32], size: Size) -> Forest {
        let cuts: Vec<Vec<f32>> = (0..TREE_DIMS).map(|axis| cuts(traits, rows, axis)).collect();
        let mut forest = Forest { depth: size.depth, cuts, ..Forest::default() };
        let bins: Vec<Bins> = rows.iter().map(|row| forest.bins(&traits[*row as usize])).collect();
        let targets: Vec<f64> = rows.iter().map(|row| targets[*row as usize]).collect();
        let mut left = targets.clone();
        let mut grower =
            Grower { histograms: vec![vec![Histogram::new(); 2]; size.depth + 1], spare: Vec::new() };
        let share = ROW_SHARE.min((256 * size.most_rows / rows.len().max(1)) as u64).max(1);
        for tree in 0..2 * size.trees {
            if tree == size.trees {
                left.copy_from_slice(&targets);
            }
            let seed = tree as u64;
            let dims = if tree < size.trees { PLAIN_DIMS } else { TREE_DIMS };
            let mut seen: Vec<u32> =
                (0..rows.len() as u32).filter(|row| draw::mix(seed, u64::from(*row)) % 256 < share).collect();
            let axes: Vec<usize> = (0..dims)
                .filter(|axis| {
                    !forest.cuts[*axis].is_empty() && draw::mix(!seed, *axis as u64) % 256 < TRAIT_SHARE
                })
                .collect();
            let mut questions = vec![(0, u8::MAX); (1 << size.depth) - 1];
            let mut leaves = vec![0.0; 1 << size.depth];
            grower.grow(&bins, &left, &axes, &mut seen, size, (0, 0), &mut questions, &mut leaves);
            for (left, bins) in left.iter_mut().zip(&bins) {
                *left -= f64::from(leaves[place(&questions, bins, size.depth)]);
            }
            forest.questions.append(&mut questions);
            forest.leaves.extend(leaves.iter().map(|leaf| 0.5 * leaf));
        }
        forest
    }

    /// What the trees say of a point.
    pub fn predict(&self, traits: &Traits) -> f64 {
        let bins = self.bins(traits);
        let per_tree = (1 << self.depth) - 1;
        let trees = self.questions.chunks_exact(per_tree.max(1));
        let leaves = self.leaves.chunks_exact(per_tree + 1);
        trees.zip(leaves).map(|(questions, leaves)| leaves[place(questions, &bins, self.depth)]).sum::<f32>()
            as f64
    }

    fn bins(&self, traits: &Traits) -> Bins {
        std::array::from_fn(|axis| self.cuts[axis].partition_point(|cut| *cut < traits[axis]) as u8)
    }
}

/// The leaf that a row falls into.
fn place(questions: &[(u8, u8)], bins: &Bins, depth: usize) -> usize {
    let mut node = 0;
    for _ in 0..depth {
        let (axis, last) = questions[node];
        node = 2 * node + 1 + usize::from(bins[axis as usize] > last);
    }
    node - questions.len()
}

/// Cuts between the values of a feature, at their quantiles; none where all are alike.
fn cuts(traits: &[Traits], rows: &[u32], axis: usize) -> Vec<f32> {
    let rows = draw::rows(rows.len(), CUT_ROWS, 3).into_iter().map(|place| rows[place]);
    let mut values: Vec<f32> = rows.map(|row| traits[row as usize][axis]).collect();
    values.sort_unstable_by(f32::total_cmp);
    let mut cuts: Vec<f32> = (1..BINS)
        .filter_map(|bin| {
            let at = values.get(bin * values.len() / BINS)?;
            let below = values[..bin * values.len() / BINS].iter().rev().find(|value| *value < at)?;
            Some(0.5 * (at + below))
        })
        .collect();
    cuts.dedup();
    cuts
}

/// Buffers of the growing, kept from tree to tree.
struct Grower {
    histograms: Vec<Vec<Histogram>>,
    spare: Vec<u32>,
}

impl Grower {
    #[allow(clippy::too_many_arguments)]
    fn grow(
        &mut self,
        bins: &[Bins],
        left_over: &[f64],
        axes: &[usize],
        rows: &mut [u32],
        size: Size,
        (node, level): (usize, usize),
        questions: &mut [(u8, u8)],
        leaves: &mut [f32],
    ) {
        let pull_of = |row: u32| left_over[row as usize].clamp(-MOST_PULL, MOST_PULL);
        let split = if level == size.depth || rows.len() < 2 * size.leaf as usize {
            None
        } else {
            let mut histogram = std::mem::take(&mut self.histograms[level][0]);
            histogram.clear();
            histogram.resize(axes.len(), [Cell::default(); BINS]);
            for row in rows.iter() {
                let (bins, pull) = (&bins[*row as usize], pull_of(*row));
                for (cells, axis) in histogram.iter_mut().zip(axes) {
                    let cell = &mut cells[usize::from(bins[*axis]).min(BINS - 1)];
                    cell.pull += pull;
                    cell.rows += 1;
                }
            }
            let pull = rows.iter().map(|row| pull_of(*row)).sum();
            let split = best_split(&histogram, axes, pull, rows.len() as u32, size.leaf);
            self.histograms[level][0] = histogram;
            split
        };
        let Some((axis, last)) = split else {
            // the questions below are all answered with "left"
            let first = (node + 1) * (1 << (size.depth - level)) - (1 << size.depth);
            let count = rows.len() as f64;
            let middle = middle(rows.iter().map(|row| left_over[*row as usize]).collect());
            leaves[first] = (size.rate * middle * count / (count + SHRINK)) as f32;
            return;
        };
        questions[node] = (axis as u8, last);
        self.spare.clear();
        let mut left = 0;
        for at in 0..rows.len() {
            let row = rows[at];
            if bins[row as usize][axis] > last {
                self.spare.push(row);
            } else {
                rows[left] = row;
                left += 1;
            }
        }
        rows[left..].copy_from_slice(&self.spare);
        let (low, high) = rows.split_at_mut(left);
        self.grow(bins, left_over, axes, low, size, (2 * node + 1, level + 1), questions, leaves);
        self.grow(bins, left_over, axes, high, size, (2 * node + 2, level + 1), questions, leaves);
    }
}

/// The median, the mean of two: the upper one of leaves of four rows would be a bias. 0 of none.
fn middle(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let half = values.len() / 2;
    let is_even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    match below.iter().copied().max_by(f64::total_cmp) {
        Some(lower) if is_even => 0.5 * (lower + *upper),
        _ => *upper,
    }
}

/// The feature and bin after which a split gains most; `None` where none gains.
fn best_split(
    histogram: &Histogram,
    axes: &[usize],
    pull: f64,
    rows: u32,
    least: u32,
) -> Option<(usize, u8)> {
    let score = |pull: f64, rows: u32| pull * pull / (f64::from(rows) + SHRINK);
    let mut best = (score(pull, rows) + 1e-12, None);
    for (cells, axis) in histogram.iter().zip(axes) {
        let (mut left, mut count) = (0.0, 0);
        for (bin, cell) in cells.iter().enumerate() {
            left += cell.pull;
            count += cell.rows;
            if count < least || cell.rows == 0 {
                continue;
            }
            if rows - count < least {
                break;
            }
            let gain = score(left, count) + score(pull - left, rows - count);
            if gain > best.0 {
                best = (gain, Some((*axis, bin as u8)));
            }
        }
    }
    best.1
}
