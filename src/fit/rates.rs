//! The few rates of a machine that its rows show: what a data sheet has, as it was met with.

use std::collections::BTreeMap;

use super::features::Features;
use super::least_squares::minimise;
use crate::dtype::Dtype;
use crate::op::Op;
use crate::table::Table;

/// Steps of the search.
const MOST_STEPS: usize = 60;

/// What a factor of e away from the start costs, in units of a squared log residual: next to nothing.
const PRIOR_WEIGHT: f64 = 1e-4;

/// Fewer rows do not tell three rates.
const FEWEST_ROWS: usize = 8;

/// How far a law with these rates is off, on the rows that they were fitted to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Misfit {
    /// Rows.
    pub rows: usize,
    /// Median of the absolute errors, in percent.
    pub median: f64,
    /// Their 95th percentile.
    pub p95: f64,
}

/// Of products: `max(flops/rate, bytes/bandwidth) + launch`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Products {
    /// FLOP/s.
    pub flops_per_s: f64,
    /// Bytes/s.
    pub bytes_per_s: f64,
    /// Seconds.
    pub launch: f64,
    /// How far off that is.
    pub misfit: Misfit,
}

/// Of collectives in one node: `traffic/bandwidth + steps·latency + start`, with the traffic and the steps of a ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Bytes/s of one rank, one direction.
    pub bytes_per_s: f64,
    /// Seconds of a step.
    pub step: f64,
    /// Seconds before the first step.
    pub start: f64,
    /// How far off that is.
    pub misfit: Misfit,
}

/// The rates that a table shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// Of products, by element type.
    pub products: BTreeMap<Dtype, Products>,
    /// Of collectives in one node.
    pub link: Option<Link>,
}

impl Rates {
    /// The rates of `table`, by robust least squares of the logarithms; none of what it has fewer than eight rows of.
    pub fn of(table: &Table) -> Rates {
        let mut products: BTreeMap<Dtype, Vec<Row>> = BTreeMap::new();
        let mut collectives = Vec::new();
        for record in &table.records {
            let seconds = record.summary.seconds.get();
            let Some(features) = Features::of(&record.op).filter(|_| seconds > 0.0) else { continue };
            let row = Row { work: features.work, log: seconds.ln() };
            match record.op {
                Op::Gemm(op) => products.entry(op.dtype).or_default().push(row),
                Op::Collective(op) if op.nodes == 1 => collectives.push(row),
                _ => {}
            }
        }
        let of_type = |(dtype, rows): (Dtype, Vec<Row>)| {
            let ([flops_per_s, bytes_per_s, launch], misfit) =
                fit(&rows, |rates, work| (work[0] / rates[0]).max(work[1] / rates[1]) + rates[2])?;
            Some((dtype, Products { flops_per_s, bytes_per_s, launch, misfit }))
        };
        let link = fit(&collectives, |rates, work| work[0] / rates[0] + work[1] / rates[1] + rates[2]);
        Rates {
            products: products.into_iter().filter_map(of_type).collect(),
            link: link.map(|([bytes_per_s, steps_per_s, start], misfit)| Link {
                bytes_per_s,
                step: 1.0 / steps_per_s,
                start,
                misfit,
            }),
        }
    }
}

/// Two terms of work and the logarithm of the seconds.
struct Row {
    work: [f64; 2],
    log: f64,
}

/// The two rates and the overhead, from the best rates of any row and half the shortest time.
fn fit(rows: &[Row], law: impl Fn([f64; 3], [f64; 2]) -> f64) -> Option<([f64; 3], Misfit)> {
    if rows.len() < FEWEST_ROWS {
        return None;
    }
    let best = |term: usize| {
        let rates = rows.iter().map(|row| row.work[term] / row.log.exp());
        rates.fold(f64::MIN_POSITIVE, f64::max).ln()
    };
    let shortest = rows.iter().map(|row| row.log).fold(f64::INFINITY, f64::min);
    let start = [best(0), best(1), shortest - std::f64::consts::LN_2];
    let rates = |logs: &[f64]| [0, 1, 2].map(|i| logs.get(i).copied().unwrap_or_default().exp());
    let found = minimise(&start, PRIOR_WEIGHT, MOST_STEPS, rows.len(), |logs, residuals| {
        let rates = rates(logs);
        for (residual, row) in residuals.iter_mut().zip(rows) {
            *residual = row.log - law(rates, row.work).ln();
        }
    });
    let found = rates(&found);
    let off = |row: &Row| 100.0 * (law(found, row.work) / row.log.exp() - 1.0).abs();
    let mut errors: Vec<f64> = rows.iter().map(off).collect();
    errors.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| errors[((errors.len() - 1) as f64 * share).round() as usize];
    Some((found, Misfit { rows: rows.len(), median: at(0.5), p95: at(0.95) }))
}
