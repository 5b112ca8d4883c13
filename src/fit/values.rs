//! Which coordinates rows have.

use super::features::{DIMS, Features};

/// The values of each axis, rising.
pub struct Values(pub [Vec<f64>; DIMS]);

impl Values {
    /// The values of `rows`.
    pub fn new(rows: &[&Features]) -> Values {
        Values(std::array::from_fn(|axis| {
            let mut values: Vec<f64> = rows.iter().map(|row| row.coords[axis]).collect();
            values.sort_unstable_by(f64::total_cmp);
            values.dedup();
            values
        }))
    }

    /// Whether an op has a coordinate that no row has.
    pub fn lack(&self, op: &Features) -> bool {
        let known =
            |axis: usize| self.0[axis].binary_search_by(|value| value.total_cmp(&op.coords[axis])).is_ok();
        !(0..DIMS).all(known)
    }
}
