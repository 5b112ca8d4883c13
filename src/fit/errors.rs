//! What many errors say together.

/// Signed errors of predictions, in percent of what was measured; what is asked of none is NaN.
pub struct Errors {
    /// Without their signs, in ascending order.
    absolute: Vec<f64>,
    bias: f64,
}

impl Errors {
    /// Of signed errors in percent, in any order: the sums do not depend on it.
    pub fn of(mut signed: Vec<f64>) -> Self {
        signed.sort_unstable_by(f64::total_cmp);
        let bias = mean(&signed);
        signed.iter_mut().for_each(|error| *error = error.abs());
        signed.sort_unstable_by(f64::total_cmp);
        Errors { absolute: signed, bias }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.absolute.len()
    }

    /// What `share` of them, from 0 to 1, are at most without their signs.
    pub fn at(&self, share: f64) -> f64 {
        percentile(&self.absolute, share)
    }

    /// The mean without their signs.
    pub fn mean(&self) -> f64 {
        mean(&self.absolute)
    }

    /// The mean with their signs: above 0 where predictions are too slow.
    pub const fn bias(&self) -> f64 {
        self.bias
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The value below which `share` of the sorted values lie, between two of them in proportion; NaN of none.
pub(super) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = last as f64 * share;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}
