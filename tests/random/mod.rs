//! Plans drawn at random, for tests that must hold for all.

use gettime::plan::Plan;
use rand::RngExt;
use rand::rngs::StdRng;

fn one_of(rng: &mut StdRng, values: &[u64]) -> u64 {
    values[rng.random_range(0..values.len())]
}

/// A small plan: dense or with experts, forward or trained, any layout that goes up, nodes of any size.
pub fn plan(rng: &mut StdRng) -> Plan {
    let [tensor, pipeline, data] = std::array::from_fn(|_| one_of(rng, &[1, 1, 2, 3, 4]));
    let pieces = pipeline * rng.random_range(1..3);
    let batch = data * pieces * rng.random_range(1..4);
    let phase = ["prefill", "decode", "train", "train"][rng.random_range(0..4)];
    let schedule = match rng.random_range(0..3) {
        0 => "gpipe",
        1 if pipeline > 1 => "interleaved:2",
        _ => "1f1b",
    };
    // interleaved parts are all alike, and its micro-batches come in rounds
    let layers = if schedule == "interleaved:2" { 2 * pipeline } else { pipeline + rng.random_range(0..4) };
    let pieces = if schedule == "interleaved:2" { pieces } else { rng.random_range(1..=batch / data) };
    let (moe, gated) = (rng.random_bool(0.5), rng.random_bool(0.5));
    let sequence_parallel = moe || rng.random_bool(0.5);
    let stage = tensor * data;
    let divisors: Vec<u64> = (1..=stage).filter(|d| stage.is_multiple_of(*d)).collect();
    let expert = one_of(rng, &divisors);
    let vocabulary = match rng.random_bool(0.5) {
        true => format!("vocabulary = {}\n", tensor * 1000),
        false => String::new(),
    };
    let (mlp, spread) = match moe {
        true => {
            let (experts, ffn) = (expert * rng.random_range(2..4), 512 * rng.random_range(1..5));
            (
                format!("[model.moe]\nexperts = {experts}\ntop_k = 2\nffn = {ffn}\n"),
                format!("expert = {expert}\n"),
            )
        }
        false => (String::new(), String::new()),
    };
    let ffn = if moe { String::new() } else { format!("ffn = {}\n", tensor * 512 * rng.random_range(1..5)) };
    let train = match phase {
        "train" => format!(
            "[train]\nrecompute = \"{}\"\nshard_optimizer = {}\n",
            ["none", "selective", "full"][rng.random_range(0..3)],
            rng.random_bool(0.5)
        ),
        _ => String::new(),
    };
    let text = format!(
        "name = \"random\"\nmicrobatches = {pieces}\nattention = \"{}\"\nphase = \"{phase}\"\n\
         schedule = \"{schedule}\"\n[model]\nlayers = {layers}\nhidden = {}\nheads = {}\nhead_dim = {}\n\
         {ffn}gated = {gated}\nqkv = \"{}\"\nbatch = {batch}\nsequence = {}\n{vocabulary}{mlp}{train}[cluster]\n\
         gpus = {}\ngpus_per_node = {}\n[parallel]\ntensor = {tensor}\npipeline = {pipeline}\ndata = {data}\n\
         sequence_parallel = {sequence_parallel}\n{spread}",
        ["fused", "unfused"][rng.random_range(0..2)],
        1024 * rng.random_range(1..4),
        tensor * rng.random_range(1..4),
        one_of(rng, &[64, 128]),
        ["fused", "separate"][rng.random_range(0..2)],
        12 * 128 * rng.random_range(1..4),
        tensor * pipeline * data,
        one_of(rng, &[1, 2, 3, 4, 8]),
    );
    Plan::parse("random.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}
