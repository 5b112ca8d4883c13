//! A machine whose times are known: a law, a virtual clock, and faults on demand.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use gettime::device::{Cluster, Device};
use gettime::dtype::Dtype;
use gettime::measure::{Backend, Case, Clock, MeasureError};
use gettime::op::{Gemm, Op};
use gettime::units::Seconds;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

#[derive(Default)]
pub struct VirtualClock(Cell<Duration>);

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.0.get()
    }
}

pub struct Fake {
    pub clock: Rc<VirtualClock>,
    /// Ops in the order in which they were prepared.
    pub prepared: Rc<RefCell<Vec<Op>>>,
    pub memory: u64,
    pub prepare_seconds: f64,
    /// Half-width of uniform noise, as a share of the time.
    pub noise: f64,
    /// Every so many samples one takes ten times as long; 0 for never.
    pub outlier_every: u64,
    /// Share by which everything is slower from each preparation to the next.
    pub drift: f64,
    /// From this time on, in seconds, everything is slower by a share: for good, or until so many ops more have been
    /// prepared that were before.
    pub slow: Option<(f64, f64, usize)>,
    /// Share by which every third sample takes longer.
    pub second_clock: f64,
    /// What a sample takes beside its runs, in seconds.
    pub overhead: f64,
    pub wrong: Option<Op>,
    pub unsupported: Option<Op>,
    pub random: StdRng,
    pub samples: u64,
}

impl Fake {
    pub fn new() -> Self {
        Fake {
            clock: Rc::default(),
            prepared: Rc::default(),
            memory: u64::MAX,
            prepare_seconds: 1e-3,
            noise: 0.0,
            outlier_every: 0,
            drift: 0.0,
            slow: None,
            second_clock: 0.0,
            overhead: 0.0,
            wrong: None,
            unsupported: None,
            random: StdRng::seed_from_u64(3),
            samples: 0,
        }
    }

    fn advance(&self, seconds: f64) {
        self.clock.0.set(self.clock.0.get() + Duration::from_secs_f64(seconds));
    }
}

/// 1 ms for every 1000 FLOPs.
pub fn law(op: &Op) -> f64 {
    op.flops() as f64 * 1e-6
}

/// An op that takes `2·m` µs.
pub fn gemm(m: u64) -> Op {
    Op::Gemm(Gemm { m, k: 1, n: 1, batch: 1, dtype: Dtype::F32 })
}

impl Backend for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn device(&self) -> Device {
        Device::default()
    }

    fn cluster(&self, _: u64) -> Cluster {
        Cluster::default()
    }

    fn dtypes(&self) -> &[Dtype] {
        &[Dtype::F32]
    }

    fn need(&self, op: &Op) -> u128 {
        op.bytes()
    }

    fn memory(&self) -> u64 {
        self.memory
    }

    fn clock(&self) -> Rc<dyn Clock> {
        self.clock.clone()
    }

    fn shortest_sample(&self) -> Duration {
        Duration::from_micros(5)
    }

    fn prepare<'a>(&'a mut self, op: &Op) -> Result<Box<dyn Case + 'a>, MeasureError> {
        let again = self.prepared.borrow().contains(op);
        self.prepared.borrow_mut().push(*op);
        let mut seconds = law(op) * (1.0 + self.drift * self.prepared.borrow().len() as f64);
        let now = self.clock_seconds();
        if let Some((from, share, times)) = &mut self.slow
            && now >= *from
            && *times > 0
        {
            seconds *= 1.0 + *share;
            *times -= usize::from(again);
        }
        self.advance(self.prepare_seconds + seconds);
        if self.unsupported == Some(*op) {
            return Err(MeasureError::Unsupported { op: *op, reason: "odd".into() });
        }
        if self.wrong == Some(*op) {
            let place = "C[0,0]".into();
            return Err(MeasureError::WrongResult { op: *op, place, expected: 1.0, got: 2.0 });
        }
        Ok(Box::new(FakeCase { fake: self, seconds }))
    }
}

struct FakeCase<'a> {
    fake: &'a mut Fake,
    seconds: f64,
}

impl Case for FakeCase<'_> {
    fn sample(&mut self, runs: u64) -> Result<Seconds, MeasureError> {
        let fake = &mut *self.fake;
        fake.samples += 1;
        let outlier = fake.outlier_every > 0 && fake.samples.is_multiple_of(fake.outlier_every);
        let noise = 1.0 + fake.noise * fake.random.random_range(-1.0..=1.0);
        let second = if fake.samples.is_multiple_of(3) { 1.0 + fake.second_clock } else { 1.0 };
        let around = fake.overhead / runs.max(1) as f64;
        let run = self.seconds * noise * second * if outlier { 10.0 } else { 1.0 } + around;
        fake.advance(run * runs.max(1) as f64);
        Ok(Seconds::new(run).unwrap())
    }
}

impl Fake {
    /// Virtual time spent so far.
    pub fn clock_seconds(&self) -> f64 {
        self.clock.now().as_secs_f64()
    }
}
