//! Plans drawn at random, for tests that must hold for all.

use gettime::plan::Plan;
use rand::RngExt;
use rand::rngs::StdRng;

fn one_of(rng: &mut StdRng, values: &[u64]) -> u64 {
    values[rng.random_range(0..values.len())]
}

/// A small plan: dense or with experts, any layout that goes up, nodes of any size.
pub fn plan(rng: &mut StdRng) -> Plan {
    let [tensor, pipeline, data] = std::array::from_fn(|_| one_of(rng, &[1, 1, 2, 3, 4]));
    let batch = data * rng.random_range(1..5);
    let (moe, gated) = (rng.random_bool(0.5), rng.random_bool(0.5));
    let sequence_parallel = moe || rng.random_bool(0.5);
    let stage = tensor * data;
    let divisors: Vec<u64> = (1..=stage).filter(|d| stage.is_multiple_of(*d)).collect();
    let expert = one_of(rng, &divisors);
    let head_dim = one_of(rng, &[64, 128]);
    let [mlp, spread] = match moe {
        true => [
            format!(
                "[model.moe]\nexperts = {}\ntop_k = 2\nffn = {}\n",
                expert * rng.random_range(2..4),
                512 * rng.random_range(1..5)
            ),
            format!("expert = {expert}\n"),
        ],
        false => [String::new(), String::new()],
    };
    let ffn = if moe { String::new() } else { format!("ffn = {}\n", tensor * 512 * rng.random_range(1..5)) };
    let text = format!(
        "name = \"random\"\nmicrobatches = {}\nattention = \"{}\"\n[model]\nlayers = {}\nhidden = {}\nheads = {}\n\
         head_dim = {head_dim}\n{ffn}gated = {gated}\nqkv = \"{}\"\nbatch = {batch}\nsequence = {}\n{mlp}[cluster]\n\
         gpus = {}\ngpus_per_node = {}\n[parallel]\ntensor = {tensor}\npipeline = {pipeline}\ndata = {data}\n\
         sequence_parallel = {sequence_parallel}\n{spread}",
        rng.random_range(1..=batch / data),
        ["fused", "unfused"][rng.random_range(0..2)],
        pipeline + rng.random_range(0..4),
        1024 * rng.random_range(1..4),
        tensor * rng.random_range(1..4),
        ["fused", "separate"][rng.random_range(0..2)],
        12 * 128 * rng.random_range(1..4),
        tensor * pipeline * data,
        one_of(rng, &[1, 2, 3, 4, 8]),
    );
    Plan::parse("random.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}
