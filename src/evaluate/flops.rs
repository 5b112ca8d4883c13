//! What the products of a plan come to.

use crate::dag::{Dag, Work};

/// FLOPs of products on each GPU, counted exactly.
pub(super) fn gemm_flops(dag: &Dag) -> Vec<u128> {
    let of_work =
        |work: &Work| work.ops.iter().map(|(op, count)| op.flops() * u128::from(*count)).sum::<u128>();
    let works: Vec<u128> = dag.works().iter().map(of_work).collect();
    let mut lanes = vec![0u128; dag.lanes().len()];
    for (work, lane) in dag.work_column().iter().zip(dag.lane_column()) {
        lanes[lane.index()] += works[work.index()];
    }
    // products are always on lanes of one GPU, and these come first
    lanes.truncate(dag.gpus() as usize);
    lanes
}
