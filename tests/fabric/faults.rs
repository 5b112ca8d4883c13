//! One rank fails to begin, dies, hangs, is slow, is wrong: all ranks end, name it, and keep their rows.

use crate::launch::{Ended, Launcher, Ranks, signal};
use crate::{follows_the_law, law};

/// All ranks but the faulty one end with status 1 and name it.
fn all_name(ended: &Ended, faulty: usize, words: &[&str]) {
    for rank in (0..ended.outputs.len()).filter(|rank| *rank != faulty) {
        assert_eq!(ended.outputs[rank].status.code(), Some(1), "rank {rank}: {}", ended.errors(rank));
        let errors = ended.errors(rank);
        assert!(errors.contains(&format!("rank {faulty} (")), "rank {rank}: {errors}");
        assert!(words.iter().all(|word| errors.contains(word)), "rank {rank}: {errors}");
    }
}

fn small(fault: (u64, &'static str), deadline: &'static str) -> Ranks {
    Ranks { processes: 4, size: 4, per_node: 4, fault, deadline, ..Ranks::default() }
}

#[test]
fn one_that_fails_to_begin_is_named() {
    let ended = Ranks { fault: (5, "init_fails"), ..Ranks::default() }.run("init");
    all_name(&ended, 5, &["ncclCommInitRank returned 2 (unhandled system error)"]);
    assert!(ended.errors(5).contains("ncclCommInitRank"), "{}", ended.errors(5));
}

#[test]
fn one_that_dies_is_named_and_no_row_is_lost() {
    let ended = Ranks { fault: (11, "dies=900"), ..Ranks::default() }.run("dies");
    all_name(&ended, 11, &["ended without a word"]);
    let rows = ended.kept();
    follows_the_law(&rows);
    assert!(ended.errors(0).contains(&format!("has the {} rows there are", rows.records.len())));
}

#[test]
fn the_leader_that_dies_is_named() {
    let ended = small((0, "dies=60"), "50s").run("leader");
    all_name(&ended, 0, &["ended without a word"]);
}

#[test]
fn one_that_hangs_in_a_call_is_named_after_the_deadline() {
    let ended = small((2, "hangs=1500"), "2s").run("hangs");
    all_name(&ended, 2, &["hangs: the others have waited for it"]);
    follows_the_law(&ended.kept());
}

#[test]
fn one_that_is_stopped_is_named_after_the_deadline() {
    let running = small((3, ""), "2s").start("stopped");
    assert!(running.has_begun());
    let id = running.ids[3];
    signal(id, "STOP");
    // the others end by themselves; what is stopped goes on when it may, and ends too
    let ended = running.wait_with(|left| {
        if left == [3] {
            signal(id, "CONT");
        }
    });
    all_name(&ended, 3, &["does not answer"]);
    assert_eq!(ended.outputs[3].status.code(), Some(1));
}

#[test]
fn one_without_memory_is_named() {
    let ended = small((1, "oom_from=8"), "50s").run("memory");
    all_name(&ended, 1, &["CUDA_ERROR_OUT_OF_MEMORY"]);
}

#[test]
fn a_wrong_result_is_one_of_a_rank() {
    let ended = small((2, "garbles=20"), "50s").run("wrong");
    let errors = ended.errors(0);
    assert!(errors.contains("gave a wrong result at element ") && errors.contains("of rank 2 ("), "{errors}");
    for (rank, output) in ended.outputs.iter().enumerate() {
        assert_eq!(output.status.code(), Some(1), "rank {rank}: {}", ended.errors(rank));
    }
}

#[test]
fn a_slow_rank_is_reported_by_name() {
    let ended = small((2, "slow=30"), "50s").run("slow");
    ended.all_are_well();
    let errors = ended.errors(0);
    assert!(
        errors.contains("remark: rank 2 (") && errors.contains("is 30 % slower than the others"),
        "{errors}"
    );
    let table = ended.table();
    assert!(table.run["remarks"].to_string().contains("is 30 % slower"));
    // of a group's ranks the slowest counts; groups that it is not in are as fast as ever
    for record in &table.records {
        let ranks = if let gettime::op::Op::Collective(op) = record.op { op.ranks } else { 2 };
        let factor = if ranks > 2 { 1.3 } else { 1.0 };
        let ratio = record.summary.seconds.get() / (law(&record.op) * factor);
        assert!((ratio - 1.0).abs() < 1e-5, "{}: {ratio}", record.op);
    }
}

#[test]
fn an_id_that_never_comes_ends_all() {
    let ended = small((0, "no_id"), "50s").run("id");
    for rank in 0..4 {
        assert_eq!(ended.outputs[rank].status.code(), Some(1));
        assert!(ended.errors(rank).contains("ncclGetUniqueId returned 2"), "{}", ended.errors(rank));
    }
}

#[test]
fn ranks_that_never_come_are_named() {
    let ranks = Ranks { processes: 2, size: 4, per_node: 4, deadline: "1s", ..Ranks::default() };
    let ended = ranks.run("missing");
    for rank in 0..2 {
        assert_eq!(ended.outputs[rank].status.code(), Some(1));
        let errors = ended.errors(rank);
        assert!(errors.contains("ranks 2, 3 of 4 did not come to 127.0.0.1:"), "{errors}");
    }
}

#[test]
fn a_single_process_with_nothing_set_is_alone() {
    let alone = Ranks { launcher: Launcher::None, processes: 1, per_node: 1, ..Ranks::default() };
    let ended = alone.run("alone");
    ended.all_are_well();
    assert!(ended.errors(0).contains("16 GPUs are asked for, 1 GPU is here: no collectives"));
}
