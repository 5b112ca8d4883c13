//! Tables of aiconfigurator, in samples with the columns of its collectors: times in ms, messages in elements.

use gettime::dtype::Dtype;
use gettime::import::{ImportErrorKind, Imported, aiconfigurator};
use gettime::op::{Collective, CollectiveKind, Gemm, Op};

const GEMM: &str = "\
framework,version,device,op_name,kernel_source,gemm_dtype,m,n,k,latency
TRTLLM,1.0.0,NVIDIA H200,gemm,torch_flow,bfloat16,16,4096,8192,0.0125
TRTLLM,1.0.0,NVIDIA H200,gemm,other,bfloat16,16,4096,8192,0.0135
TRTLLM,1.0.0,NVIDIA H200,gemm,torch_flow,fp8,16,4096,8192,0.0075
TRTLLM,1.0.0,NVIDIA H200,gemm,torch_flow,fp8_block,16,4096,8192,0.0080
TRTLLM,1.0.0,NVIDIA H200,gemm,torch_flow,bfloat16,0,4096,8192,0.0125
TRTLLM,1.0.0,NVIDIA H200,gemm,torch_flow,bfloat16,32,4096,8192,nan
";

const NCCL: &str = "\
framework,version,device,op_name,kernel_source,nccl_dtype,num_gpus,message_size,latency
TRTLLM,2.27.7,NVIDIA H200,all_gather,NCCL,half,2,256,0.00536
TRTLLM,2.27.7,NVIDIA H200,alltoall,NCCL,int8,8,512,0.01
";

fn read(text: &str) -> Imported {
    aiconfigurator("file", text.as_bytes(), None).unwrap()
}

fn kind(text: &str, nodes: Option<u64>) -> ImportErrorKind {
    aiconfigurator("file", text.as_bytes(), nodes).unwrap_err().kind().clone()
}

fn rows(imported: &Imported) -> Vec<(Op, String)> {
    let time = |seconds: f64| format!("{:.4} µs", seconds * 1e6);
    imported.records.iter().map(|r| (r.op, time(r.summary.seconds.get()))).collect()
}

fn gemm(dtype: Dtype) -> Op {
    Op::Gemm(Gemm { m: 16, k: 8192, n: 4096, batch: 1, dtype })
}

fn collective(kind: CollectiveKind, bytes: u64, ranks: u64, nodes: u64, dtype: Dtype) -> Op {
    Op::Collective(Collective { kind, bytes, ranks, nodes, dtype })
}

#[test]
fn products_in_the_order_m_n_k_and_the_median_of_two() {
    let imported = read(GEMM);
    let expected = [(Dtype::Bf16, "13.0000 µs"), (Dtype::F8E4m3, "7.5000 µs")];
    assert_eq!(rows(&imported), expected.map(|(dtype, time)| (gemm(dtype), time.to_owned())));
    assert_eq!(imported.device.as_deref(), Some("NVIDIA H200"));
    let left = imported.left_out;
    assert_eq!((left.other_dtype, left.empty, left.without_time, left.sum()), (1, 1, 1, 3));
    assert!(imported.records.iter().all(|r| r.source == "aiconfigurator" && r.flags == "unchecked"));
}

#[test]
fn messages_are_elements_there_and_bytes_here() {
    let gather = collective(CollectiveKind::AllGather, 512, 2, 1, Dtype::F16);
    let all_to_all = collective(CollectiveKind::AllToAll, 512, 8, 1, Dtype::I8);
    let expected = [(gather, "5.3600 µs"), (all_to_all, "10.0000 µs")];
    assert_eq!(rows(&read(NCCL)), expected.map(|(op, time)| (op, time.to_owned())));
}

#[test]
fn more_than_a_node_holds_must_say_on_how_many() {
    let text = NCCL.replace("half,2,", "half,16,");
    assert_eq!(kind(&text, None), ImportErrorKind::HowMany { what: "nodes" });
    let imported = aiconfigurator("file", text.as_bytes(), Some(2)).unwrap();
    assert!(
        rows(&imported)
            .iter()
            .any(|(op, _)| *op == collective(CollectiveKind::AllGather, 512, 16, 2, Dtype::F16))
    );
    assert_eq!(kind(NCCL, Some(4)), ImportErrorKind::NoGroup { ranks: 2, nodes: 4 });
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let header = GEMM.lines().next().unwrap();
    assert_eq!(kind("a,b\n1,2\n", None), ImportErrorKind::OtherTable);
    assert_eq!(kind(header, None), ImportErrorKind::NoResults);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    assert_eq!(kind(pointer, None), ImportErrorKind::LfsPointer);
    let bad = GEMM.replacen("bfloat16,16,", "bfloat16,many,", 1);
    let text = "many".to_owned();
    assert_eq!(kind(&bad, None), ImportErrorKind::BadCell { line: 2, column: "m", text });
    let short = format!("{header}\nTRTLLM,1,H,gemm,x,bfloat16,1,2\n");
    assert_eq!(kind(&short, None), ImportErrorKind::NoCell { line: 2, column: "k" });
    let other = NCCL.replace("all_gather", "gather");
    assert_eq!(kind(&other, None), ImportErrorKind::OtherTest { name: "gather".to_owned() });
    let empty = format!("{header}\nTRTLLM,1,H,gemm,x,nvfp4,1,2,3,1\n");
    assert!(matches!(kind(&empty, None), ImportErrorKind::NoGoodRow { rows: 1, .. }));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_is_named_where_it_cannot_be_read() {
    let error = aiconfigurator("gemm_perf.parquet", b"PAR1", None).unwrap_err().to_string();
    assert!(error.contains("--features parquet"), "{error}");
}

/// The first four rows of [`GEMM`], as pandas 2 and pyarrow write them.
#[cfg(feature = "parquet")]
#[test]
fn parquet_holds_the_same() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gemm_perf.parquet");
    let imported = aiconfigurator("file", &std::fs::read(file).unwrap(), None).unwrap();
    assert_eq!(rows(&imported), rows(&read(GEMM)));
    assert_eq!(imported.device.as_deref(), Some("NVIDIA H200"));
    let error = aiconfigurator("cut", b"PAR1PAR1", None).unwrap_err();
    assert!(matches!(error.kind(), ImportErrorKind::BadParquet { .. }), "{error}");
}

#[test]
fn nothing_panics_on_broken_tables() {
    for text in [GEMM, NCCL] {
        for cut in 0..text.len() {
            let _ = aiconfigurator("cut", &text.as_bytes()[..cut], None);
            let mut bytes = text.as_bytes().to_vec();
            bytes[cut] = b'"';
            let _ = aiconfigurator("quoted", &bytes, None);
            bytes[cut] = 0xff;
            let _ = aiconfigurator("no text", &bytes, None);
        }
    }
}
