//! One surface: the rows of a key, the law fitted to them, and what the law leaves over.

use super::features::{Coords, DIMS, Features};
use super::guard::{self, Peaks};
use super::kriging::{Fading, median};
use super::law::Law;
use super::look::Look;
use super::neighbours::{Point, Tree};
use super::sizes::Sizes;
use super::trees::{Forest, Size, Traits};
use super::values::Values;

/// Rows that speak for a point: beyond 40 the error does not fall (H200, 250 to 5,000 rows) and time rises.
const NEIGHBOURS: usize = 40;

/// The same among more than so many rows, where trees say most of it: on the H200 table 40 err no less, and take half as
/// long again. With fewer rows doubts count, which choose what is measured next: 400 products chosen with 24 neighbours
/// err by 3.4 % in the median, and with 40 by 3.1 %.
const OF_MANY: (usize, usize) = (4000, 24);

/// How much trees have to say beside the kriging. From 0.7 to 0.8 the median errors on the H200 table fall by 1 to 2 %
/// at random and at sizes that no row has, those on the A100 table by 1 to 4 %; between every other size they rise by
/// less than 1 %.
const SHARE_OF_TREES: f64 = 0.8;

/// Below this many rows nothing can be learnt of the error, and a prior stands for it.
const FEW_ROWS: usize = 8;

/// Standard deviation of a single-pass row where too few rows show it: 10 % at 90 %, since published tables
/// of one machine disagree by 7 to 12 % at the 95th percentile.
const PRIOR_NOISE: f64 = 0.058;

/// How fast a law that rests on a few rows gets unsure, in log seconds an octave away from the nearest row.
const PRIOR_DRIFT: f64 = 0.1;

/// The rows of one key with the law fitted to them.
pub struct Surface {
    features: Vec<Features>,
    logs: Vec<f64>,
    law: Law,
    /// Logarithm of time over law, of each row.
    residuals: Vec<f64>,
    /// Robust standard deviation of the residuals about 0.
    spread: f64,
    peaks: Peaks,
    low: Coords,
    high: Coords,
    values: Values,
    points: Vec<Point>,
    tree: Tree,
    fading: Fading,
    traits: Vec<Traits>,
}

/// What a surface says of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Logarithm of the seconds.
    pub log: f64,
    /// Its standard deviation by the covariance, before calibration.
    pub sigma: f64,
    /// Whether it has a coordinate that no row has.
    pub is_new: bool,
    /// Along which axes the point lies outside the range of what was measured.
    pub outside: [bool; DIMS],
    /// How far the kriging and the trees are apart, in log seconds; where there are no trees, sigma.
    pub doubt: f64,
}

impl Prediction {
    /// Whether the point lies within the box of the measured coordinates.
    pub fn is_inside(&self) -> bool {
        self.outside == [false; DIMS]
    }
}

impl Surface {
    /// The surface of rows in rising order of their ops, given as features and the logarithm of their seconds,
    /// with the law that was fitted to them; at least one.
    pub fn new(features: Vec<Features>, logs: Vec<f64>, law: Law) -> Surface {
        let residuals: Vec<f64> =
            features.iter().zip(&logs).map(|(features, log)| log - law.log(features)).collect();
        let mut away: Vec<f64> = residuals.iter().map(|residual| residual.abs()).collect();
        let spread = 1.4826 * median(&mut away) + 0.01;
        let (mut low, mut high) = ([f64::INFINITY; DIMS], [f64::NEG_INFINITY; DIMS]);
        for row in &features {
            for axis in 0..DIMS {
                low[axis] = low[axis].min(row.coords[axis]);
                high[axis] = high[axis].max(row.coords[axis]);
            }
        }
        let (points, traits): (Vec<Point>, Vec<Traits>) = (features.iter())
            .map(|row| Look::of(&law, &row.coords))
            .map(|look| (look.point, look.traits))
            .unzip();
        let tree = Tree::new(&points);
        let values = Values::new(&features.iter().collect::<Vec<_>>());
        let fading = Fading::of(&law.covariance());
        let peaks = Peaks::of(&features, &logs);
        Surface {
            features,
            logs,
            law,
            residuals,
            spread,
            peaks,
            low,
            high,
            values,
            points,
            tree,
            fading,
            traits,
        }
    }

    /// Rows of the surface.
    pub fn rows(&self) -> usize {
        self.logs.len()
    }

    /// Whether the rows are too few to learn the error from.
    pub fn has_few_rows(&self) -> bool {
        Surface::are_few(self.rows())
    }

    /// Whether so many rows are too few to learn the error from.
    pub const fn are_few(rows: usize) -> bool {
        rows < FEW_ROWS
    }

    /// The base law.
    pub fn law(&self) -> &Law {
        &self.law
    }

    /// The features of a row.
    pub fn features(&self, row: usize) -> &Features {
        &self.features[row]
    }

    /// The logarithm of the seconds of a row.
    pub fn log(&self, row: usize) -> f64 {
        self.logs[row]
    }

    /// The forest of the rows that `keep` admits; `None` where they are too few.
    pub fn grow(&self, keep: impl Fn(usize) -> bool) -> Option<Forest> {
        let rows: Vec<u32> = (0..self.rows()).filter(|row| keep(*row)).map(|row| row as u32).collect();
        let size = Size::of(rows.len())?;
        Some(Forest::fit(&self.traits, &self.residuals, &rows, size))
    }

    /// Predicts an op from the law and the residuals of the rows that `keep` admits.
    ///
    /// `t = law(op)·exp(residual)`. Beyond the box of the measured coordinates the law is that of the op itself
    /// and the residual that of the nearest point of the box: so the time does not jump at the edge and follows
    /// the law's straight tail. The residual's error there grows by the variogram `2·(C(0) − C(d))` over the
    /// distance d, as the true residual may drift away from its value at the edge.
    pub fn predict(
        &self,
        op: &Features,
        keep: &impl Fn(usize) -> bool,
        forest: Option<&Forest>,
    ) -> Prediction {
        let law = self.law.log(op);
        let mut at = op.coords;
        for (from, to) in op.spill {
            at[*to] += (at[*from] - self.high[*from]).max(0.0);
        }
        let at = self.clamped(&at);
        let outside = self.outside(op);
        let is_new = self.values.lack(op);
        let mut prediction = Prediction { log: law, sigma: self.noise(), is_new, outside, doubt: 0.0 };
        let look = Look::of(&self.law, &at);
        let most = if self.points.len() > OF_MANY.0 { OF_MANY.1 } else { NEIGHBOURS };
        let near = self.tree.nearest(&look.point, most, keep);
        let same = near.iter().take_while(|other| other.distance2 == 0.0).count();
        if prediction.is_inside() && same > 0 {
            // The same sizes under another name: another dtype of a collective, other heads of a batch.
            prediction.log = near[..same].iter().map(|other| self.logs[other.row]).sum::<f64>() / same as f64;
            return prediction;
        }
        let covariance = self.law.covariance();
        let sizes = op.is_message().then(|| Sizes::new(&near, &self.features, &self.logs));
        let mut residuals: Vec<f64> = near.iter().map(|other| self.residuals[other.row]).collect();
        if let Some(sizes) = &sizes {
            residuals.iter_mut().zip(sizes.excess()).for_each(|(residual, excess)| *residual -= excess);
        }
        let residual = covariance.predict(&self.fading, &near, &self.points, &residuals, self.spread);
        let stepped = forest.map(|forest| forest.predict(&look.traits));
        let residual_log = stepped.map_or(residual.mean, |stepped| {
            SHARE_OF_TREES * stepped + (1.0 - SHARE_OF_TREES) * residual.mean
        });
        prediction.doubt = stepped.map_or(residual.sigma, |stepped| (stepped - residual.mean).abs());
        let said = law + residual_log;
        let said = sizes.map_or(said, |sizes| sizes.between(said, &op.coords, self.law.streamed(op)));
        let said = guard::between(said, op, &near, &self.features, &self.logs);
        prediction.log = if said.is_finite() { said } else { law }.max(self.peaks.least(op));
        prediction.sigma = if self.has_few_rows() {
            let nearest = near.iter().map(|other| apart(&op.coords, &self.features[other.row].coords));
            PRIOR_NOISE.hypot(PRIOR_DRIFT * nearest.fold(f64::INFINITY, f64::min).min(100.0))
        } else {
            self.drifted(residual.sigma, op)
        };
        prediction
    }

    /// The standard deviation of one measurement, in log seconds.
    pub fn noise(&self) -> f64 {
        if self.has_few_rows() { PRIOR_NOISE } else { self.spread * self.law.covariance().nugget.sqrt() }
    }

    /// Along which axes an op lies outside the range of what was measured.
    pub fn outside(&self, op: &Features) -> [bool; DIMS] {
        std::array::from_fn(|axis| !(self.low[axis]..=self.high[axis]).contains(&op.coords[axis]))
    }

    /// The standard deviation of an op's prediction, as far beyond the box of the measured coordinates as it lies.
    pub fn drifted(&self, sigma: f64, op: &Features) -> f64 {
        let distance = apart(&op.coords, &self.clamped(&op.coords));
        let covariance = self.law.covariance();
        let drift = 2.0 * (covariance.at(0.0) - covariance.at(distance));
        sigma.hypot(self.spread * drift.max(0.0).sqrt())
    }

    /// The values of an axis, rising.
    pub fn values(&self, axis: usize) -> &[f64] {
        &self.values.0[axis]
    }

    fn clamped(&self, coords: &Coords) -> Coords {
        std::array::from_fn(|axis| coords[axis].clamp(self.low[axis], self.high[axis]))
    }
}

/// The distance of two ops in octaves.
fn apart(a: &Coords, b: &Coords) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}
