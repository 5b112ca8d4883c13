//! What a graph claims to compute, as attributes of Graphviz text, written and read.

use std::fmt::Write as _;

use super::Facts;
use super::attributes::{Attributes, number};
use crate::dtype::Dtype;
use crate::spec::Phase;

/// What the plans leave out, and say so.
const OUT_OF_SCOPE: &str = "embedding and LM head (no vocabulary is given)";

/// The bound of every size in a plan file too.
const LARGEST: u64 = 1 << 20;

/// Writes the attributes.
pub(super) fn write_facts(out: &mut String, facts: &Facts) -> std::fmt::Result {
    let Facts { layers, hidden, heads, kv_heads, head_dim, ffn, up_matrices, .. } = facts;
    writeln!(
        out,
        "  graph [model_layers={layers}, hidden={hidden}, heads={heads}, kv_heads={kv_heads}, \
         head_dim={head_dim}, ffn={ffn}, up_matrices={up_matrices}];"
    )?;
    let Facts { experts, top_k, batch, sequence, microbatches, fused, .. } = facts;
    writeln!(
        out,
        "  graph [experts={experts}, top_k={top_k}, batch={batch}, sequence_length={sequence}, \
         microbatches={microbatches}, fused_attention={}];",
        u8::from(*fused)
    )?;
    let Facts { gpus, gpus_per_node, dtype, .. } = facts;
    write!(out, "  graph [gpus={gpus}, gpus_per_node={gpus_per_node}, dtype={dtype}")?;
    match facts.vocabulary {
        0 => writeln!(out, ", out_of_scope=\"{OUT_OF_SCOPE}\"];")?,
        entries => writeln!(out, ", vocabulary={entries}];")?,
    }
    if facts.dense_layers + facts.shared_experts + u64::from(facts.uneven) > 0 {
        let Facts { dense_layers, dense_ffn, shared_experts, uneven, .. } = facts;
        writeln!(
            out,
            "  graph [dense_layers={dense_layers}, dense_ffn={dense_ffn}, shared_experts={shared_experts}, \
             uneven_routing={}];",
            u8::from(*uneven)
        )?;
    }
    if facts.mla[1] > 0 {
        let [q_rank, kv_rank, nope, rope, v] = facts.mla;
        writeln!(
            out,
            "  graph [q_rank={q_rank}, kv_rank={kv_rank}, nope_dim={nope}, rope_dim={rope}, v_dim={v}];"
        )?;
    }
    if facts.phase != Phase::Prefill {
        let Facts { phase, recompute, gradient_bytes, state_bytes, .. } = facts;
        writeln!(
            out,
            "  graph [phase={}, recompute={}, gradient_bytes={gradient_bytes}, state_bytes={state_bytes}];",
            phase.name(),
            recompute.name()
        )?;
    }
    Ok(())
}

/// What is wrong with the attributes, behind the one that it is about.
type Fault = (&'static str, String);

/// The model; `None` where the graph has none of its attributes.
pub(super) fn read_facts(attributes: &Attributes) -> Result<Option<Facts>, Fault> {
    if !attributes.contains_key("model_layers") {
        return Ok(None);
    }
    let get = |key: &'static str| {
        let value: Option<u64> = number(attributes, key).map_err(|message| (key, message))?;
        match value {
            None => Err((key, format!("the graph says model_layers but not {key}"))),
            Some(value) if value > LARGEST => Err((key, format!("{key} = {value} is beyond 1,048,576"))),
            Some(value) => Ok(value),
        }
    };
    let or_zero = |key: &'static str| if attributes.contains_key(key) { get(key) } else { Ok(0) };
    let word = |key: &str| attributes.get(key).map_or("", String::as_str);
    let dtype = attributes.get("dtype").ok_or(("dtype", "the graph does not say its dtype".to_owned()))?;
    let (experts, ffn) = (get("experts")?, get("ffn")?);
    Ok(Some(Facts {
        layers: get("model_layers")?,
        hidden: get("hidden")?,
        heads: get("heads")?,
        kv_heads: get("kv_heads")?,
        head_dim: get("head_dim")?,
        ffn,
        up_matrices: get("up_matrices")?,
        experts,
        top_k: get("top_k")?,
        batch: get("batch")?,
        sequence: get("sequence_length")?,
        microbatches: get("microbatches")?,
        fused: get("fused_attention")? != 0,
        gpus: get("gpus")?,
        gpus_per_node: get("gpus_per_node")?,
        dtype: dtype.parse::<Dtype>().map_err(|e| ("dtype", e.to_string()))?,
        phase: word("phase").parse().map_err(|message| ("phase", message))?,
        vocabulary: or_zero("vocabulary")?,
        dense_layers: or_zero("dense_layers")?,
        dense_ffn: if experts == 0 { ffn } else { or_zero("dense_ffn")? },
        shared_experts: or_zero("shared_experts")?,
        uneven: or_zero("uneven_routing")? != 0,
        recompute: word("recompute").parse().map_err(|message| ("recompute", message))?,
        mla: [
            or_zero("q_rank")?,
            or_zero("kv_rank")?,
            or_zero("nope_dim")?,
            or_zero("rope_dim")?,
            or_zero("v_dim")?,
        ],
        gradient_bytes: or_zero("gradient_bytes")?,
        state_bytes: or_zero("state_bytes")?,
    }))
}
