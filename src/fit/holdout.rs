//! How good a table and its fit are: errors on rows that were left out.

use std::collections::BTreeMap;
use std::fmt;

use super::errors::Errors;
use super::features::Features;
use super::fitted::Fitted;
use super::values::Values;
use super::{Fit, draw, jobs, ranks};
use crate::dtype::Dtype;
use crate::op::{Family, Op};

/// Rows of a surface that are tried.
const MOST_ROWS: usize = 2_000;

/// The error on held-out rows of one family and element type, in percent of the measured time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FamilyError {
    /// The family.
    pub family: Family,
    /// The element type; `None` for communication, whose types share their rows.
    pub dtype: Option<Dtype>,
    /// Rows tried.
    pub rows: usize,
    /// Median of the absolute errors.
    pub median: f64,
    /// Mean of the absolute errors.
    pub mean: f64,
    /// 95th percentile of the absolute errors.
    pub p95: f64,
    /// The largest absolute error.
    pub max: f64,
    /// Mean of the signed errors: above 0 where the fit is too slow.
    pub bias: f64,
    /// Percentage of the rows within their 90 % interval.
    pub coverage: f64,
}

impl Fit {
    /// Tries the fit on rows it does not see: each row is predicted without the residuals of the `folds`-th
    /// part of its surface that it falls into (2 parts at least; `seed` deals them). The few constants of the
    /// law stay. At most 2,000 rows of a surface are tried, and none of a surface of a single row.
    pub fn holdout(&self, folds: u64, seed: u64) -> Vec<FamilyError> {
        let mut errors: BTreeMap<(Family, Option<Dtype>), (Vec<f64>, usize)> = BTreeMap::new();
        for (key, fitted) in &self.surfaces {
            let tried = tried(fitted, folds, seed, |_| true);
            if !tried.is_empty() {
                let (of_family, covered) = errors.entry((key.family(), key.dtype())).or_default();
                of_family.extend(tried.iter().map(|(error, _)| error));
                *covered += tried.iter().filter(|(_, is_covered)| *is_covered).count();
            }
        }
        errors
            .into_iter()
            .map(|((family, dtype), (errors, covered))| summary(family, dtype, errors, covered))
            .collect()
    }

    /// The errors of the rows that are `wanted`, tried as by [`Fit::holdout`].
    pub fn held_out(&self, folds: u64, wanted: impl Fn(&Op) -> bool) -> Errors {
        let of_key = |fitted| tried(fitted, folds, 0, |row: &Features| wanted(&row.op));
        Errors::of(self.surfaces.values().flat_map(of_key).map(|(error, _)| error).collect())
    }
}

/// The error of each row that is wanted, in percent, and whether it is within its interval.
fn tried(fitted: &Fitted, folds: u64, seed: u64, wanted: impl Fn(&Features) -> bool) -> Vec<(f64, bool)> {
    let (surface, folds) = (fitted.surface(), folds.max(2));
    let rows = draw::rows(surface.rows(), MOST_ROWS, seed).into_iter();
    let rows: Vec<usize> = rows.filter(|row| wanted(surface.features(*row))).collect();
    if surface.rows() < 2 || rows.is_empty() {
        return Vec::new();
    }
    let fold = |row: usize| draw::mix(seed, row as u64) % folds;
    let others = jobs::run(folds as usize, |out| {
        let keep = |row: &usize| fold(*row) != out as u64;
        let kept: Vec<&Features> =
            (0..surface.rows()).filter(keep).map(|row| surface.features(row)).collect();
        (surface.grow(|row| keep(&row)), Values::new(&kept))
    });
    let try_row = |row: usize| {
        let keep = |other| fold(other) != fold(row);
        let (forest, values) = &others[fold(row) as usize];
        let features = surface.features(row);
        let mut prediction = ranks::predict(surface, features, &keep, forest.as_ref());
        prediction.is_new |= values.lack(features);
        let off = prediction.log - surface.log(row);
        (100.0 * off.exp_m1(), off.abs() <= fitted.half_width(&prediction))
    };
    rows.into_iter().map(try_row).collect()
}

fn summary(family: Family, dtype: Option<Dtype>, errors: Vec<f64>, covered: usize) -> FamilyError {
    let errors = Errors::of(errors);
    FamilyError {
        family,
        dtype,
        rows: errors.count(),
        median: errors.at(0.5),
        mean: errors.mean(),
        p95: errors.at(0.95),
        max: errors.at(1.0),
        bias: errors.bias(),
        coverage: 100.0 * covered as f64 / errors.count() as f64,
    }
}

/// `gemm bf16: 2.1 % median, 8.2 % p95 on 2000 held-out shapes; 91 % in their intervals`.
impl fmt::Display for FamilyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FamilyError { family, rows, median, p95, coverage, .. } = self;
        let dtype = self.dtype.map_or(String::new(), |dtype| format!(" {dtype}"));
        let plural = if *rows == 1 { "" } else { "s" };
        write!(
            f,
            "{family}{dtype}: {median:.1} % median, {p95:.1} % p95 on {rows} held-out shape{plural}; "
        )?;
        write!(f, "{coverage:.0} % in their intervals")
    }
}
