//! Laws of time that answers can be worked out under by hand, as data sheets.

/// Law A: a FLOP takes a second, everything else nothing.
pub const LAW_A: &str = "
name = \"law A\"
memory_bytes = 141e9
memory_bandwidth_bytes_per_s = inf
gpus_per_node = 8
launch_latency_seconds = 0.0
[flops_per_s]
bf16 = 1
[intra_node]
bandwidth_bytes_per_s = inf
latency_seconds = 0.0
[inter_node]
bandwidth_bytes_per_s = inf
latency_seconds = 0.0
";
