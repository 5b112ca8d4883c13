//! A few ops measured again and again, to see whether the device is still as fast as it was.

use std::time::Duration;

use crate::op::{Family, Op};
use crate::stats;
use crate::units::Seconds;

/// How many there are.
const COUNT: usize = 3;

/// How far an anchor may be off its median, as a share of it.
const MOST_APART: f64 = 0.02;

/// The time of one run that suits best: long beside a clock's resolution, and short beside the period.
const SUITED: f64 = 1e-3;

/// The longest run of an anchor, in seconds.
const LONGEST: f64 = 0.02;

/// The anchors of a run, and what was measured since they were right.
#[derive(Clone, Debug)]
pub(super) struct Anchors {
    period: Duration,
    /// Numbers of the ops, each with its medians so far.
    chosen: Vec<(usize, Vec<Seconds>)>,
    looked: Duration,
    /// Visits since the anchors were last right: number of the op, and pass.
    block: Vec<(usize, u32)>,
    /// When the first of these began.
    began: Duration,
    /// Whether measuring a block anew has brought nothing: the device stays as it is now.
    stays: bool,
}

impl Anchors {
    /// Anchors that are looked at every `period`, from `now` on.
    pub fn new(period: Duration, now: Duration) -> Self {
        Anchors { period, chosen: Vec::new(), looked: now, block: Vec::new(), began: now, stays: false }
    }

    /// Notes a visit.
    pub fn visited(&mut self, case: usize, pass: u32) {
        self.block.push((case, pass));
    }

    /// Whether it is time to look.
    pub fn is_due(&self, now: Duration) -> bool {
        !self.period.is_zero() && now.saturating_sub(self.looked) >= self.period
    }

    /// Whether what was measured last has still to be looked at when the run ends.
    pub fn is_open(&self) -> bool {
        !self.chosen.is_empty() && !self.block.is_empty()
    }

    /// Chooses among what was measured, where nothing is chosen yet: ops whose run is neither short nor long, of
    /// as many families as can be.
    pub fn choose(&mut self, measured: impl Iterator<Item = (usize, Op, Seconds)>) {
        if !self.chosen.is_empty() {
            return;
        }
        let away = |seconds: Seconds| (seconds.get().max(1e-9) / SUITED).ln().abs();
        let mut known: Vec<(usize, Op, Seconds)> =
            measured.filter(|(.., run)| run.get() <= LONGEST).collect();
        known.sort_by(|a, b| away(a.2).total_cmp(&away(b.2)));
        let mut families: Vec<Family> = Vec::new();
        let (first, rest): (Vec<_>, Vec<_>) = known.into_iter().partition(|(_, op, _)| {
            let is_new = !families.contains(&op.family());
            families.push(op.family());
            is_new
        });
        let all = first.into_iter().chain(rest).take(COUNT);
        self.chosen = all.map(|(case, _, run)| (case, vec![run])).collect();
    }

    /// The numbers of the ops.
    pub fn cases(&self) -> Vec<usize> {
        self.chosen.iter().map(|(case, _)| *case).collect()
    }

    /// Takes what was measured of an anchor now, and tells whether it is right: whether its interval reaches to
    /// within a little of its median, that of the times when it was right.
    pub fn is_right(&mut self, case: usize, samples: &[Seconds]) -> bool {
        let Some((_, medians)) = self.chosen.iter_mut().find(|(known, _)| *known == case) else {
            return true;
        };
        let (Some(now), Some((low, high))) = (stats::median(samples), stats::interval(samples)) else {
            return true;
        };
        let usual = stats::median(medians).unwrap_or(now).get();
        let right = low.get() <= usual * (1.0 + MOST_APART) && high.get() >= usual * (1.0 - MOST_APART);
        if right {
            medians.push(now);
        }
        right
    }

    /// Begins a new block; `right` tells whether the device is as it was.
    pub fn begin(&mut self, now: Duration, right: bool) {
        (self.looked, self.began, self.stays) = (now, now, !right);
        self.block.clear();
    }

    /// What was measured since the anchors were last right, and whether it is worth measuring again within the time
    /// that is left.
    pub fn block(&self, now: Duration, left: Duration) -> (Vec<(usize, u32)>, bool) {
        (self.block.clone(), !self.stays && now.saturating_sub(self.began) <= left)
    }
}
