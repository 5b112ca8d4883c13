//! In which order a stage of a pipeline does its work.

use crate::spec::Schedule;

/// One micro-batch through one part of the model, forward or backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub part: usize,
    pub microbatch: u32,
    pub backward: bool,
}

/// The units of stage `stage` of `stages`, in order.
///
/// Interleaved parts are taken in rounds of as many micro-batches as there are stages (arXiv 2104.04473): the
/// first part with all of a round, the second with all of it, and so on, backwards from the last. With backward
/// passes, `microbatches` must be a multiple of `stages` there.
pub(super) fn order(
    schedule: Schedule,
    stage: usize,
    stages: usize,
    microbatches: u32,
    backward: bool,
) -> Vec<Unit> {
    let parts = schedule.parts() as usize;
    let rounds =
        (0..microbatches).step_by(stages).map(|first| first..microbatches.min(first + stages as u32));
    let pass = |backward: bool| {
        let unit = move |i: usize, microbatch: u32| {
            let i = if backward { parts - 1 - i } else { i };
            Unit { part: i * stages + stage, microbatch, backward }
        };
        rounds
            .clone()
            .flat_map(move |round| (0..parts).flat_map(move |i| round.clone().map(move |u| unit(i, u))))
    };
    let forward: Vec<Unit> = pass(false).collect();
    if !backward {
        return forward;
    }
    let after = stages - stage - 1;
    let ahead = match schedule {
        Schedule::Gpipe => forward.len(),
        Schedule::OneFOneB => after,
        Schedule::Interleaved(_) => 2 * after + (parts - 1) * stages,
    };
    let ahead = ahead.min(forward.len());
    let mut back = pass(true);
    let mut order = forward[..ahead].to_vec();
    for unit in &forward[ahead..] {
        order.push(*unit);
        order.extend(back.next());
    }
    order.extend(back);
    order
}
