//! The layouts that there are.

use crate::plan::{Layout, Plan};
use crate::spec::Schedule;

/// How a model is spread over GPUs, and in which pieces and order the batch goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Degrees {
    /// GPUs that share every layer.
    pub tensor: u64,
    /// Stages.
    pub pipeline: u64,
    /// Replicas of attention.
    pub data: u64,
    /// GPUs that share the experts.
    pub expert: u64,
    /// Whether the tokens are split over the tensor group outside attention and MLP.
    pub sequence_parallel: bool,
    /// Pieces of the batch.
    pub microbatches: u64,
    /// Their order.
    pub schedule: Schedule,
}

/// Every way of spreading over `gpus` GPUs, with the batch undivided, and with `experts` or without; which of them
/// go up for a model its plan tells.
pub fn degrees(gpus: u64, experts: bool) -> impl Iterator<Item = Degrees> {
    divisors(gpus).into_iter().flat_map(move |tensor| {
        let rest = gpus / tensor;
        divisors(rest).into_iter().flat_map(move |pipeline| {
            let data = rest / pipeline;
            let stage = if experts { tensor * data } else { 1 };
            divisors(stage).into_iter().flat_map(move |expert| {
                // a group of one has nothing to split
                let ways = if tensor > 1 { &[false, true][..] } else { &[false] };
                ways.iter().map(move |sequence_parallel| Degrees {
                    tensor,
                    pipeline,
                    data,
                    expert,
                    sequence_parallel: *sequence_parallel,
                    microbatches: 1,
                    schedule: Schedule::default(),
                })
            })
        })
    })
}

/// The schedules that make a difference for a plan: without a backward pass gpipe is 1f1b, and one stage has
/// nothing to order.
pub fn schedules(plan: &Plan) -> Vec<Schedule> {
    let Layout::Pipeline(layout) = &plan.layout else { return Vec::new() };
    let mut schedules = vec![Schedule::OneFOneB];
    if layout.pipeline > 1 {
        if plan.train.is_some() {
            schedules.push(Schedule::Gpipe);
        }
        schedules.extend((2..=plan.model.layers / layout.pipeline).map(Schedule::Interleaved));
    }
    schedules
}

/// All divisors in rising order.
pub fn divisors(n: u64) -> Vec<u64> {
    (1..=n).filter(|d| n.is_multiple_of(*d)).collect()
}
