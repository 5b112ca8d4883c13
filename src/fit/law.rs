//! The base law of a surface, and how it is chosen.

use super::draw;
use super::features::{Features, Join};
use super::gpus;
use super::knee::Knee;
use super::kriging::Covariance;
use super::menu::{self, Effort, Menu};
use super::terms::Terms;
use super::waves::Waves;

/// How long work takes by physics, with a few constants of the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Law {
    /// Two terms of work at two rates.
    Terms(Terms),
    /// Tiles of a GPU.
    Menu(Box<Menu>),
    /// A cache and the memory behind it.
    Knee(Knee),
    /// Waves of attention.
    Waves(Waves),
}

/// What is known of the ops of a surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// Nothing that speaks for one law over another.
    Any,
    /// They are products of matrices, on a device with this many multiprocessors where that is known.
    Products {
        /// Multiprocessors.
        sms: Option<u64>,
    },
    /// They are fused attention on such a device.
    Attention {
        /// Multiprocessors.
        sms: Option<u64>,
    },
    /// They stream memory.
    Streams,
}

/// Rows that the two laws of products are compared on.
const TRIAL_ROWS: usize = 400;

/// Parts that these are dealt into, each predicted from the others.
const TRIAL_FOLDS: u64 = 3;

/// With fewer rows the thirteen constants of a menu are not to be learnt.
const FEWEST_MENU_ROWS: usize = 24;

/// A menu must be this much better than the plain law to be worth its constants. More is not asked, as its tiles serve
/// the trees too: of large products alone a plain law is nearly as good, and the trees without tiles are not.
const MENU_GAIN: f64 = 0.97;

impl Law {
    /// The law of the rows: two terms, or for products the menu of tiles where it predicts left-out rows
    /// better. So a processor without tiles keeps its roofline.
    pub fn fit(features: &[Features], logs: &[f64], machine: Machine) -> Law {
        let plain = Terms::fit(features, logs);
        let guessed = |element_bytes| gpus::multiprocessors(&Terms::at_best(features, logs), element_bytes);
        match machine {
            Machine::Products { sms } if features.len() >= FEWEST_MENU_ROWS => {
                let sms = sms.unwrap_or_else(|| guessed(menu::element_bytes(&features[0])));
                match menu_error_over_plain(features, logs, sms) <= MENU_GAIN {
                    true => Law::Menu(Box::new(Menu::fit(features, logs, sms, Effort::FULL))),
                    false => Law::Terms(plain),
                }
            }
            Machine::Attention { sms } => {
                let dtype = features.first().and_then(|row| row.op.dtype());
                let element_bytes = dtype.map_or(2.0, |dtype| dtype.bytes() as f64);
                let sms = sms.unwrap_or_else(|| guessed(element_bytes));
                Waves::fit(features, logs, &plain, sms).map_or(Law::Terms(plain), Law::Waves)
            }
            Machine::Streams => Knee::fit(features, logs, &plain).map_or(Law::Terms(plain), Law::Knee),
            Machine::Any | Machine::Products { .. } => Law::Terms(plain),
        }
    }

    /// The same law with the constants of other rows, for trials.
    pub fn refit(&self, features: &[Features], logs: &[f64]) -> Law {
        let plain = || Terms::fit(features, logs);
        match self {
            Law::Terms(_) => Law::Terms(plain()),
            Law::Menu(menu) => Law::Menu(Box::new(Menu::fit(features, logs, menu.sms(), Effort::TRIAL))),
            Law::Knee(_) => Law::fit(features, logs, Machine::Streams),
            Law::Waves(waves) => Waves::fit(features, logs, &plain(), waves.sms())
                .map_or_else(|| Law::Terms(plain()), Law::Waves),
        }
    }

    /// How alike the residuals of two ops are. Chosen on the H200 tables, products and NCCL, whose errors change
    /// by less than a tenth within factors of 2 around these; the A100 tables like them as well.
    pub const fn covariance(&self) -> Covariance {
        match self {
            Law::Terms(_) | Law::Knee(_) | Law::Waves(_) => {
                Covariance { range: 3.0, short: 0.1, short_range: 1.5, nugget: 0.01 }
            }
            Law::Menu(_) => Covariance { range: 5.0, short: 0.25, short_range: 0.75, nugget: 0.03 },
        }
    }

    /// The logarithm of the seconds of an op by the law: always finite, also where constants fitted to absurd
    /// rows overflow.
    pub fn log(&self, op: &Features) -> f64 {
        let seconds = match self {
            Law::Terms(terms) => terms.seconds(op),
            Law::Menu(menu) => menu.seconds(op),
            Law::Knee(knee) => knee.seconds(op),
            Law::Waves(waves) => waves.seconds(op),
        };
        if seconds.is_nan() { 0.0 } else { seconds.clamp(f64::MIN_POSITIVE, f64::MAX).ln() }
    }

    /// Of the time of an op by the law, the share that its bandwidth takes; 0 where the law does not tell.
    pub fn streamed(&self, op: &Features) -> f64 {
        match self {
            Law::Terms(terms) if op.join == Join::Sum => op.work[0] / terms.rates[0] / terms.seconds(op),
            _ => 0.0,
        }
    }
}

/// The mean error of the menu on left-out rows over that of two terms, both without residuals.
fn menu_error_over_plain(features: &[Features], logs: &[f64], sms: u64) -> f64 {
    let rows = draw::rows(features.len(), TRIAL_ROWS, 8);
    let (mut of_menu, mut of_plain) = (0.0, 0.0);
    for fold in 0..TRIAL_FOLDS {
        let (train, test): (Vec<usize>, Vec<usize>) =
            rows.iter().partition(|row| draw::mix(9, **row as u64) % TRIAL_FOLDS != fold);
        let train_features: Vec<Features> = train.iter().map(|row| features[*row]).collect();
        let train_logs: Vec<f64> = train.iter().map(|row| logs[*row]).collect();
        let plain = Terms::fit(&train_features, &train_logs);
        let menu = Menu::fit(&train_features, &train_logs, sms, Effort::TRIAL);
        for row in test {
            // An outlier says nothing for or against a law.
            let off = |seconds: f64| (logs[row] - seconds.ln()).abs().min(0.5);
            of_menu += off(menu.seconds(&features[row]));
            of_plain += off(plain.seconds(&features[row]));
        }
    }
    of_menu / of_plain.max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::{Law, Machine};
    use crate::dtype::Dtype;
    use crate::fit::draw;
    use crate::fit::features::Features;
    use crate::op::{Gemm, Op};

    /// The law of 200 products whose time in seconds is `time` of FLOPs, bytes and tiles of 128 × 128.
    fn law_of(time: impl Fn(f64, f64, f64) -> f64) -> Law {
        let size = |seed: u64, row: u64| {
            16 + 8 * (2f64.powf(draw::mix(seed, row) as f64 / 2f64.powi(64) * 9.0) as u64)
        };
        let products = (0..200).map(|row| Gemm {
            m: size(1, row),
            k: size(2, row),
            n: size(3, row),
            batch: 1,
            dtype: Dtype::Bf16,
        });
        let (features, logs): (Vec<Features>, Vec<f64>) = products
            .map(|gemm| {
                let tiles = (gemm.m.div_ceil(128) * gemm.n.div_ceil(128)) as f64;
                let seconds = time(gemm.flops() as f64, gemm.bytes() as f64, tiles);
                (Features::of(&Op::Gemm(gemm)).unwrap(), seconds.ln())
            })
            .unzip();
        Law::fit(&features, &logs, Machine::Products { sms: None })
    }

    #[test]
    fn a_processor_without_tiles_keeps_its_roofline() {
        let law = law_of(|flops, bytes, _| 1e-6 + (flops / 1e12).max(bytes / 4e10));
        assert!(matches!(law, Law::Terms(_)), "{law:?}");
    }

    #[test]
    fn a_gpu_that_works_in_waves_of_tiles_gets_a_menu() {
        // 108 multiprocessors, 2 µs, 2 TB/s; a tile of 128 × 128 takes 11 ns for each of k.
        let law = law_of(|flops, bytes, tiles| {
            let k = flops / (tiles * 2.0 * 128.0 * 128.0);
            2e-6 + ((tiles / 108.0).ceil() * k * 11e-9).max(bytes / 2e12)
        });
        assert!(matches!(law, Law::Menu(_)), "{law:?}");
    }
}
