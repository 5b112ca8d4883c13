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
    /// Collectives and sends; of those that run beside the GPUs' own work, what no work hides.
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
    let exposed = exposed(e);
    let communication = communication + exposed.iter().sum::<f64>() / all;
    let occupied = e.timeline.busy.iter().zip(&exposed).map(|(busy, exposed)| busy + exposed);
    let bubble = (1.0 - occupied.fold(0.0, f64::max) / makespan).max(0.0);
    let idle = (1.0 - products - memory - communication - bubble).max(0.0);
    Occupancy { products, memory, communication, bubble, idle }
}

/// Seconds in which each GPU has nothing of its own to do while communication runs beside it.
fn exposed(e: &Evaluation) -> Vec<f64> {
    let (dag, schedule) = (&e.dag, &e.timeline.schedule);
    let mut gpus = vec![0.0; dag.gpus() as usize];
    if !dag.beside().contains(&true) {
        return gpus;
    }
    // when how many more, or fewer, run of a GPU's own, and beside it
    let mut changes: Vec<Vec<(f64, [i32; 2])>> = vec![Vec::new(); gpus.len()];
    for node in dag.nodes() {
        let lane = dag.lane_column()[node.index()].index();
        let more = if dag.beside()[lane] { [0, 1] } else { [1, 0] };
        let end = schedule.end(node);
        let start = end - e.timeline.durations[dag.work_column()[node.index()].index()];
        for gpu in dag.lanes()[lane].iter().filter(|_| start < end) {
            let changes = &mut changes[*gpu as usize];
            changes.extend([(start, more), (end, more.map(|more| -more))]);
        }
    }
    for (seconds, changes) in gpus.iter_mut().zip(&mut changes) {
        changes.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
        let (mut before, mut running) = (0.0, [0, 0]);
        for (at, [own, beside]) in changes.iter() {
            if running[0] == 0 && running[1] > 0 {
                *seconds += at - before;
            }
            before = *at;
            running = [running[0] + own, running[1] + beside];
        }
    }
    gpus
}
