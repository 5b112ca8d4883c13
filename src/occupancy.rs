//! What the GPUs' time goes to: work, and the two reasons for having none.

use crate::dag::Part;
use crate::evaluate::Evaluation;
use crate::schedule::busy;

/// Shares of all GPUs' time, from 0 to 1; together 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Occupancy {
    /// Matrix products, those of fused attention included.
    pub products: f64,
    /// Memory-bound kernels.
    pub memory: f64,
    /// Collectives and sends.
    pub communication: f64,
    /// While even the busiest GPU waits: what more micro-batches can win back.
    pub bubble: f64,
    /// By which the others have less to do than the busiest: what more micro-batches cannot.
    pub idle: f64,
}

/// Splits `GPUs × makespan`. Of p equal stages and M micro-batches the bubble is (p−1)/(M+p−1), and nothing
/// is idle; without pipelining both are what the plan leaves unused.
pub fn occupancy(e: &Evaluation) -> Occupancy {
    let gpus = f64::from(e.dag.gpus());
    let makespan = e.timeline.schedule.makespan;
    let all = gpus * makespan;
    if all <= 0.0 {
        return Occupancy { idle: 1.0, ..Occupancy::default() };
    }
    let [products, memory, communication] = Part::ALL.map(|part| {
        let of_part = e.dag.works().iter().zip(&e.timeline.durations);
        let durations: Vec<f64> = of_part
            .map(|(work, seconds)| if work.kind.part() == Some(part) { *seconds } else { 0.0 })
            .collect();
        busy(&e.dag, &durations).iter().sum::<f64>() / all
    });
    let busiest = e.timeline.busy.iter().copied().fold(0.0, f64::max);
    let bubble = (1.0 - busiest / makespan).max(0.0);
    let idle = (1.0 - products - memory - communication - bubble).max(0.0);
    Occupancy { products, memory, communication, bubble, idle }
}
