//! What a table says of one key: its surface, the trees grown of all its rows, and how far both are off.

use super::features::Features;
use super::interval::Calibration;
use super::law::{Law, Machine};
use super::ranks;
use super::surface::{Prediction, Surface};
use super::trees::Forest;

/// A surface that answers, with intervals that hold.
pub struct Fitted {
    surface: Surface,
    forest: Option<Forest>,
    calibration: Calibration,
}

impl Fitted {
    /// Fits rows in rising order of their ops, given as features and the logarithm of their seconds; at least one.
    pub fn new(features: Vec<Features>, logs: Vec<f64>, machine: Machine) -> Fitted {
        let law = Law::fit(&features, &logs, machine);
        let surface = Surface::new(features, logs, law);
        let (forest, calibration) = std::thread::scope(|scope| {
            let forest = scope.spawn(|| surface.grow(|_| true));
            let calibration = Calibration::of(&surface);
            (forest.join().unwrap_or_default(), calibration)
        });
        Fitted { surface, forest, calibration }
    }

    /// The surface alone.
    pub fn surface(&self) -> &Surface {
        &self.surface
    }

    /// Predicts an op from all rows.
    pub fn predict(&self, op: &Features) -> Prediction {
        ranks::predict(&self.surface, op, &|_| true, self.forest.as_ref())
    }

    /// Half the width of the 90 % interval of a prediction, in log seconds.
    pub fn half_width(&self, prediction: &Prediction) -> f64 {
        self.calibration.half_width(prediction)
    }
}
