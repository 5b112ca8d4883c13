//! The constants of the menu of tiles.

use super::terms::Terms;

/// Bytes of k that a tile takes in one step.
pub const STEP_BYTES: f64 = 128.0;

/// What is fitted, in µs where nothing else is said; the letters are those of [`super::menu::Menu`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// Of any product: t0.
    pub launch: f64,
    /// Of an element of a tile in a step, where tensor cores bound it: α.
    pub per_element: f64,
    /// Of a row or a column of a tile in a step, where what feeds it does: β.
    pub per_edge: f64,
    /// Of a step, once: γ.
    pub per_step: f64,
    /// Before the first step: δ.
    pub prologue: f64,
    /// Of an element of a tile at its end: ε.
    pub per_stored: f64,
    /// Bytes in a µs: B.
    pub bandwidth: f64,
    /// Where k is split: r0.
    pub split: f64,
    /// Bytes of the partial sums in a µs: rB.
    pub split_bandwidth: f64,
    /// How arithmetic and memory overlap: q.
    pub sharpness: f64,
    /// What the clocks take of long products: θ.
    pub throttle: f64,
    /// How much the missing part of the last wave counts, 1 where it takes as long as a full one: λ.
    pub last_wave: f64,
    /// How much idle multiprocessors slow the memory down: μ.
    pub idle_bytes: f64,
}

impl Constants {
    /// From their logarithms, none where it could not be.
    pub fn from_logs(logs: &[f64]) -> Constants {
        let at = |i: usize| logs.get(i).copied().unwrap_or(0.0).exp();
        Constants {
            launch: at(0),
            per_element: at(1),
            per_edge: at(2),
            per_step: at(3),
            prologue: at(4),
            per_stored: at(5),
            bandwidth: at(6),
            split: at(7),
            split_bandwidth: at(8),
            sharpness: at(9).clamp(1.0, 12.0),
            throttle: at(10).min(0.5),
            last_wave: at(11).min(1.0),
            idle_bytes: at(12).min(1.0),
        }
    }

    /// Logarithms of the constants to start from, with these rates and this overhead.
    pub fn start(plain: &Terms, sms: f64, element_bytes: f64) -> [f64; 13] {
        let [flops, bytes] = plain.rates.map(|rate| rate * 1e-6);
        // A step of a tile is 2·tm·tn·(STEP_BYTES/element) FLOPs on one of the multiprocessors.
        let per_element = 2.0 * STEP_BYTES / element_bytes * sms / flops;
        let launch = (plain.overhead * 1e6 * 0.8).max(1e-3);
        [
            launch,
            per_element,
            30.0 * per_element,
            0.01 * launch,
            0.2 * launch,
            0.5 * per_element,
            bytes,
            0.4 * launch,
            2.0 * bytes,
            4.0,
            0.05,
            0.7,
            0.05,
        ]
        .map(f64::ln)
    }
}
