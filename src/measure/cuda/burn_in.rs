//! A device that is cold or idle has other clocks than one at work.

use super::Cuda;
use super::case::MOST_LAUNCHES;
use crate::dtype::Dtype;
use crate::measure::{Backend, MeasureError};
use crate::op::{Gemm, Op};

impl Cuda {
    /// Runs a large product until its time no longer changes: a device that is cold or idle has other clocks
    /// than one at work.
    pub(super) fn burn_in(&mut self) -> Result<(), MeasureError> {
        let op = Op::Gemm(Gemm { m: 4096, k: 4096, n: 4096, batch: 1, dtype: Dtype::Bf16 });
        let mut spent = 0.0;
        let mut steady = 0;
        let mut last = f64::INFINITY;
        let mut case = self.prepare(&op)?;
        // Three windows of about 0.2 s within 1 %, but no less than 1 s and no more than 10 s of the device's
        // time.
        while (steady < 3 || spent < 1.0) && spent < 10.0 {
            let runs = MOST_LAUNCHES;
            let seconds = case.sample(runs)?.get();
            steady = if (seconds / last - 1.0).abs() < 0.01 { steady + 1 } else { 0 };
            spent += (seconds * runs as f64).max(1e-3);
            last = seconds;
        }
        drop(case);
        self.launch_seconds = self.timer.empty().ok();
        if let Some(seconds) = self.launch_seconds {
            self.details.insert("launch_seconds".into(), seconds.into());
        }
        self.details.insert("burn_in_seconds".into(), ((spent * 1e3).round() / 1e3).into());
        if let Some(state) = self.watch.state() {
            self.details.insert("sm_mhz".into(), i64::from(state.mhz).into());
        }
        Ok(())
    }
}
