//! Layouts a second on one core: a model of 16 layers over 16 GPUs whose memory is without end, so that every
//! layout is priced. The named peer, Calculon, looks at 244 a second on one core (its search of 8,112
//! configurations of GPT-3 175B).

use std::hint::black_box;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use gettime::plan;
use gettime::roofline::{BUILT_IN, Roofline};
use gettime::search::{Template, search};
use gettime::source::Source;
use gettime::spec::AttentionMode;

const MODELS: [(&str, &str); 3] = [
    ("dense, 16 layers, prefill", "phase = \"prefill\"\n"),
    ("dense, 16 layers, train", "phase = \"train\"\n"),
    ("the same, with error bars", "phase = \"train\"\n"),
];

/// Products at three quarters of the sheet's peak, some sizes with 3 % of noise.
fn table() -> String {
    let mut rows = String::from("op,dtype,m,k,n,seconds,seconds_low,seconds_high\n");
    for m in [1u64 << 10, 1 << 14, 1 << 18, 1 << 22] {
        for (k, n) in [(1024, 8192), (8192, 3072), (8192, 32768), (32768, 8192), (8192, 8192), (4096, 8192)] {
            let seconds = 2.0 * (m * k * n) as f64 / 7.4e14;
            rows += &format!("gemm,bf16,{m},{k},{n},{seconds},{},{}\n", seconds * 0.98, seconds * 1.03);
        }
    }
    rows
}

fn bench(c: &mut Criterion) {
    let endless = BUILT_IN[0].1.replace("memory_bytes = 141e9", "memory_bytes = inf");
    let sheet = || Roofline::parse("h200", &endless).expect("a sheet");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("table.csv");
    std::fs::write(&path, table()).expect("a file");
    let mut group = c.benchmark_group("search over 16 GPUs");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for (name, phase) in MODELS {
        let source = match name.contains("error bars") {
            true => Source::from_tables(&[&path], Some(("h200", sheet()))).expect("a table"),
            false => Source::from_sheet("h200", sheet()),
        };
        let model = Template::parse("tp8-pp2", &format!("{phase}{}", plan::BUILT_IN[0].1)).expect("a model");
        let model = model.under(None, Some(AttentionMode::Fused));
        let once = search(&model, 16, &source).expect("layouts");
        assert_eq!(once.found.len(), once.layouts, "every layout is priced");
        println!("{name}: {} layouts", once.layouts);
        group.throughput(Throughput::Elements(once.layouts as u64));
        group.bench_function(name, |b| {
            b.iter(|| search(black_box(&model), 16, &source).expect("layouts").found.len())
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
