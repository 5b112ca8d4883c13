//! Cost tables: what is refused and with which words, and that what is written reads back bit for bit.

use std::fs;
use std::path::{Path, PathBuf};

use gettime::device::{Cluster, Device};
use gettime::dtype::Dtype;
use gettime::op::{
    Attention, Collective, CollectiveKind, Gemm, Kernel, KernelKind, Link, Op, Overlap, P2p, Timed,
};
use gettime::stats::Summary;
use gettime::table::{MergeError, Record, Route, Table, TableError, TableErrorKind};
use gettime::units::Seconds;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

const GEMM: &str = "op,dtype,m,k,n,batch,seconds\n";

fn read(text: &str) -> Result<Table, TableError> {
    Table::parse(text.as_bytes(), "table.csv")
}

fn table(text: &str) -> Table {
    read(text).unwrap_or_else(|error| panic!("{error}\nin {text:?}"))
}

fn refused(text: impl AsRef<[u8]>) -> TableError {
    match Table::parse(text.as_ref(), "table.csv") {
        Ok(_) => panic!("not refused: {:?}", String::from_utf8_lossy(text.as_ref())),
        Err(error) => error,
    }
}

fn written(table: &Table) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.write_to(&mut bytes).unwrap();
    bytes
}

fn seconds(value: f64) -> Seconds {
    Seconds::new(value).unwrap()
}

fn gemm(m: u64, time: f64) -> Record {
    Record {
        op: Op::Gemm(Gemm { m, k: 2, n: 3, batch: 1, dtype: Dtype::Bf16 }),
        summary: Summary { seconds: seconds(time), interval: None, samples: None },
        route: Route::default(),
        flags: String::new(),
        source: String::new(),
    }
}

/// A folder of this test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gettime-table-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_error_names_file_line_column_and_remedy() {
    let error = refused(format!("{GEMM}gemm,bf16,1,2,3,1,1e-5\ngemm,bf16,2,2,3,1,-1.2e-05\n"));
    assert_eq!(
        error.to_string(),
        "table.csv: line 3, column seconds: \"-1.2e-05\" is not a time\n  \
         a time is a positive number of seconds; was the row edited by hand?"
    );
}

/// One row of a table of matrix products that has one thing wrong: (row, column, message, part of the
/// remedy).
#[test]
fn a_bad_field_is_refused_in_its_column() {
    let cases = [
        ("gemmm,bf16,1,2,3,1,1e-5", "op", "\"gemmm\" is not an op", "row of a table"),
        ("kernel,bf16,1,2,3,1,1e-5", "kind", "\"\" is not a kind of kernel", "correct the kind"),
        ("gemm,bfloat,1,2,3,1,1e-5", "dtype", "\"bfloat\" is not an element type", "known are f32"),
        ("gemm,,1,2,3,1,1e-5", "dtype", "a gemm row needs a value for \"dtype\"", "fill the field"),
        ("gemm,bf16,1,,3,1,1e-5", "k", "a gemm row needs a value for \"k\"", "fill the field"),
        ("attention,bf16,1,2,3,1,1e-5", "heads", "an attention row needs a value", "fill the field"),
        ("gemm,bf16,1e3,2,3,1,1e-5", "m", "\"1e3\" is not a whole number", "digits alone"),
        ("gemm,bf16,1,-4,3,1,1e-5", "k", "\"-4\" is not a whole number", "digits alone"),
        ("gemm,bf16,1,2,12.5,1,1e-5", "n", "\"12.5\" is not a whole number", "digits alone"),
        ("gemm,bf16,18446744073709551616,2,3,1,1e-5", "m", "is too large", "18446744073709551615"),
        (
            "gemm,bf16,1,2,3,0,1e-5",
            "batch",
            "batch = 0 of a gemm row must be at least 1",
            "correct the count",
        ),
        ("gemm,bf16,1,2,3,1,", "seconds", "the row has no time", "positive number"),
        ("gemm,bf16,1,2,3,1,fast", "seconds", "\"fast\" is not a time", "positive number"),
        ("gemm,bf16,1,2,3,1,NaN", "seconds", "\"NaN\" is not a time", "positive number"),
        ("gemm,bf16,1,2,3,1,inf", "seconds", "\"inf\" is not a time", "positive number"),
        ("gemm,bf16,1,2,3,1,1e999", "seconds", "\"1e999\" is not a time", "positive number"),
        ("gemm,bf16,1,2,3,1,1e-999", "seconds", "\"1e-999\" is not a time", "positive number"),
        ("gemm,bf16,1,2,3,1,0", "seconds", "\"0\" is not a time", "positive number"),
        ("gemm,bf16,1,2,3,1,-0.0", "seconds", "\"-0.0\" is not a time", "positive number"),
        ("gemm,bf16,1,2,3,1,-1", "seconds", "\"-1\" is not a time", "positive number"),
    ];
    for (row, column, message, remedy) in cases {
        let error = refused(format!("{GEMM}gemm,bf16,9,9,9,1,1e-5\n{row}\ngemm,?,?,?,?,?,?\n"));
        let text = error.to_string();
        assert!(text.starts_with(&format!("table.csv: line 3, column {column}: ")), "{text}");
        assert_eq!(error.column.unwrap().name(), column);
        assert!(text.contains(message), "{message} in {text}");
        assert!(text.lines().nth(1).unwrap().contains(remedy), "{remedy} in {text}");
    }
}

#[test]
fn a_bad_interval_or_sample_count_is_refused() {
    let cases = [
        ("2e-5,3e-5,4e-5,7", "seconds", "the time 2e-5 is not in its interval, 3e-5 to 4e-5"),
        ("5e-5,3e-5,4e-5,7", "seconds", "the time 5e-5 is not in"),
        ("2e-5,1e-5,,7", "seconds_high", "one end only"),
        ("2e-5,,3e-5,7", "seconds_low", "one end only"),
        ("2e-5,3e-5,1e-5,7", "seconds_low", "low end 3e-5 is above its high end 1e-5"),
        ("2e-5,0,3e-5,7", "seconds_low", "\"0\" is not a time"),
        ("2e-5,1e-5,NaN,7", "seconds_high", "\"NaN\" is not a time"),
        ("2e-5,1e-5,3e-5,7.5", "samples", "\"7.5\" is not a whole number"),
    ];
    for (fields, column, message) in cases {
        let error =
            refused(format!("op,kind,bytes,seconds,seconds_low,seconds_high,samples\np2p,send,8,{fields}\n"));
        let text = error.to_string();
        assert!(text.starts_with(&format!("table.csv: line 2, column {column}: ")), "{text}");
        assert!(text.contains(message), "{message} in {text}");
    }
    // An end whose column is missing is missing too.
    let error = refused("op,bytes,seconds,seconds_low\np2p,8,2e-5,1e-5\n");
    assert_eq!((error.line, error.column.unwrap().name()), (Some(2), "seconds_high"));
    assert!(matches!(*error.kind, TableErrorKind::HalfInterval));
}

/// The whole file has one thing wrong: (text, line, column, message, part of the remedy).
#[test]
fn a_bad_file_is_refused_in_its_line() {
    const ROW: &str = "gemm,bf16,1,2,3,1,1e-5\n";
    let cases: &[(String, Option<u64>, &str, &str, &str)] = &[
        (String::new(), None, "", "the file is empty", "stopped"),
        ("\u{feff} \r\n\n".into(), None, "", "the file is empty", "stopped"),
        ("# nothing\n".into(), None, "", "no line names the columns", "name the columns"),
        (ROW.into(), Some(1), "", "no line names the columns", "name the columns"),
        ("op;m;k;n;seconds\n".into(), Some(1), "", "no line names the columns", "name the columns"),
        (format!("#\n{GEMM}#\n"), None, "", "the table has no rows", "stopped"),
        ("op,m,k,n\n".into(), Some(1), "", "\"seconds\" is missing", "at least"),
        ("\ndtype,seconds\n".into(), Some(2), "", "\"op\" is missing", "at least"),
        ("op,secnds\n".into(), Some(1), "", "column 2 is named \"secnds\"", "mean \"seconds\"?"),
        ("op,Seconds\n".into(), Some(1), "", "column 2 is named \"Seconds\"", "mean \"seconds\"?"),
        ("op,seconds,colour\n".into(), Some(1), "", "column 3 is named \"colour\"", "the columns are"),
        ("op,seconds,\n".into(), Some(1), "", "column 3 is named \"\"", "the columns are"),
        ("op,seconds,m,op\n".into(), Some(1), "op", "as number 1 and number 4", "remove one"),
        (
            format!("{GEMM}{ROW}gemm,bf16,1\n"),
            Some(3),
            "",
            "3 fields where the table has 7 columns",
            "cut off",
        ),
        (format!("{GEMM}{}", ROW.replace(",1,", ",1,,")), Some(2), "", "9 fields", "comma"),
        (
            format!("{GEMM}{ROW}\n{}", ROW.replace("1e-5", "2e-5")),
            Some(4),
            "seconds",
            "\"gemm bf16 1×2×3\" took 2e-5 s here and 1e-5 s in line 2",
            "keep the row",
        ),
        (format!("{GEMM}{ROW}\"gemm,bf16\n{ROW}"), Some(3), "", "never closed", "cut off"),
        (format!("{GEMM}\"gemm\"x,bf16,1,2,3,1,1e-5\n"), Some(2), "", "\"x\" follows", "double every"),
        (format!("{GEMM}\"ge\"mm\"\",bf16,1,2,3,1,1e-5\n"), Some(2), "", "\"mm\\\"\\\"\" follows", "double"),
        (format!("{GEMM}{ROW}gemm,bf16,1,2,3,1,\"\" \"\"\n"), Some(3), "", "\"\\\"\\\"\" follows", "double"),
        (format!("{GEMM}{ROW}\"a\n\",bf16,\"\"\"1\n"), Some(4), "", "never closed", "cut off"),
        (format!("{GEMM}{ROW}{}", ROW.trim_end()), Some(3), "seconds", "without a newline", "end the file"),
        (
            format!("# format = \"gettime-table-1\"\n{GEMM}{ROW}"),
            Some(3),
            "",
            "\"# [end]\", is missing",
            "copy",
        ),
        (format!("#\n# format = \"gettime-table-2\"\n{GEMM}{ROW}"), Some(2), "", "table-2\" is not", "newer"),
        (format!("# [device]\n# name = A100\n{GEMM}{ROW}"), Some(2), "", "header is not valid", "##"),
        (
            format!("\n# by Jo, 3 May\n# [run]\n# by = 'Jo'\n{GEMM}{ROW}"),
            Some(2),
            "",
            "header is not valid",
            "##",
        ),
        (format!("# [device]\n# memory_bytes = 1\n{GEMM}{ROW}"), Some(1), "", "missing field `name`", "##"),
        (format!("#\n# [cluster]\n# gpus = -1\n{GEMM}{ROW}"), Some(3), "", "invalid value", "##"),
        (
            format!("#\n# [devcie]\n# name = \"A\"\n{GEMM}{ROW}"),
            Some(2),
            "",
            "[devcie] is not",
            "mean [device]?",
        ),
    ];
    for (content, line, column, message, remedy) in cases {
        let error = refused(content);
        let text = error.to_string();
        assert_eq!(error.line, *line, "{text}");
        assert_eq!(error.column.map_or("", |column| column.name()), *column, "{text}");
        assert!(text.contains(message), "{message} in {text}");
        assert!(text.lines().nth(1).unwrap().contains(remedy), "{remedy} in {text}");
        // The same file as a spreadsheet would save it.
        let content = content.trim_start_matches('\u{feff}').replace('\n', "\r\n");
        assert_eq!(refused(format!("\u{feff}{content}")).to_string(), text);
    }
}

#[test]
fn a_byte_that_is_no_text_is_refused_in_its_line() {
    let mut bytes = format!("{GEMM}gemm,bf16,1,2,3,1,1e-5\r\ngemm,bf1").into_bytes();
    bytes.extend([0xff, b'\n']);
    let error = refused(bytes);
    assert!(error.to_string().starts_with("table.csv: line 3: byte 9 of the line, 0xff, is not UTF-8"));
    assert!(matches!(*error.kind, TableErrorKind::NotUtf8 { byte: 9, value: 0xff }));
}

#[test]
fn lines_are_counted_through_comments_blank_lines_and_quoted_newlines() {
    let text =
        "# a remark\n\n  \nsource,op,bytes,seconds\n# more\n\"a\nb\",p2p,8,1e-6\n\n\"c\n\nd\",p2p,8x,1e-6\n";
    for text in [text.to_owned(), text.replace('\n', "\r\n")] {
        let error = refused(&text);
        // The row begins in line 9; its third field stands two lines below.
        assert_eq!((error.line, error.column.unwrap().name()), (Some(11), "bytes"));
    }
    let table = table(&text.replace("8x", "9"));
    assert_eq!(table.records[0].source, "a\nb");
    assert_eq!(table.records[1].source, "c\n\nd");
}

#[test]
fn a_file_that_is_not_there_is_refused_with_its_path() {
    let error = Table::read(Path::new("/nowhere/table.csv")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/table.csv: cannot be read: "));
    assert!(error.to_string().contains("is the path right?"));
    let error = Table::read(&std::env::temp_dir()).unwrap_err();
    assert!(matches!(*error.kind, TableErrorKind::Unreadable { .. }) && error.line.is_none());
}

#[test]
fn the_short_forms_are_tables() {
    let gemms = table(&format!("{GEMM}gemm,bf16,1,2,3,1,1e-5\ngemm,bf16,2,2,3,,2e-5\n"));
    assert_eq!(gemms.records, [gemm(1, 1e-5), gemm(2, 2e-5)]);
    assert_eq!(gemms, Table { records: gemms.records.clone(), ..Table::default() });

    let collectives = table(
        "op,kind,dtype,bytes,ranks,nodes,seconds\ncollective,all_gather,f16,512,2,1,8.98e-06\n\
         p2p,,,64,,2,1e-6\n",
    );
    let gather =
        Collective { kind: CollectiveKind::AllGather, bytes: 512, ranks: 2, nodes: 1, dtype: Dtype::F16 };
    assert_eq!(collectives.records[0].op, Op::Collective(gather));
    assert_eq!(collectives.records[0].summary.seconds.get(), 8.98e-6);
    assert_eq!(collectives.records[1].op, Op::P2p(P2p { bytes: 64, link: Link::InterNode }));
}

#[test]
fn columns_may_stand_anywhere_and_blanks_around_fields_do_not_count() {
    let text = " seconds ,source,n,k, m,dtype , op,flags\n\n\
                 \x20 1e-5 , \" a \"\"b\"\", c\" ,\"3\",2,\" 1 \",bf16,\tgemm, noisy drift \n";
    let expected = Record { flags: "noisy drift".into(), source: " a \"b\", c".into(), ..gemm(1, 1e-5) };
    assert_eq!(table(text).records, [expected]);
}

#[test]
fn the_same_row_twice_is_one_row() {
    let row = "gemm,bf16,1,2,3,1,1e-5\n";
    // 0.00001 is the same number, and an empty batch the same op.
    let text = format!("{GEMM}{row}{row}gemm,bf16,1,2,3,,0.00001\n");
    assert_eq!(table(&text).records, [gemm(1, 1e-5)]);
}

#[test]
fn a_header_is_read_and_free_remarks_are_not() {
    let rows = format!("{GEMM}gemm,bf16,1,2,3,1,1e-5\n");
    for remarks in
        ["# by Jo: [fast]\n", "## [device]\n", "#\n# a = 1\n", "# format = \"csv\"\n", "#[1] see\n"]
    {
        assert_eq!(table(&format!("{remarks}{rows}")), table(&rows), "{remarks}");
    }
    let header = "# [device]\n#name = \"A100\"\n# memory_bytes = 80_000_000_000\n# clock.mhz = 1410\n\
                  # [cluster]\n# gpus = 16\n# gpus_per_node = 8\n\
                  # [run]\n# # a remark\n# by = \"\"\"\n#   Jo\n# \"\"\"\n";
    let table = table(&format!("{header}{rows}# a remark\n"));
    let device = table.device.unwrap();
    assert_eq!((device.name.as_str(), device.memory_bytes), ("A100", Some(80_000_000_000)));
    assert_eq!(device.details["clock"]["mhz"].as_integer(), Some(1410));
    assert_eq!((table.cluster.gpus, table.cluster.gpus_per_node), (Some(16), Some(8)));
    assert_eq!(table.run["by"].as_str(), Some("  Jo\n"));
}

/// Counts and times over the whole range of their types, the ends among them.
fn any_count(rng: &mut StdRng, least: u64) -> u64 {
    match rng.random_range(0..4) {
        0 => u64::MAX,
        1 => least,
        _ => (rng.next_u64() >> rng.random_range(0..64)).max(least),
    }
}

fn any_time(rng: &mut StdRng) -> f64 {
    match rng.random_range(0..8) {
        0 => f64::from_bits(1),
        1 => f64::MAX,
        2 => f64::MIN_POSITIVE,
        3 => f64::from_bits(rng.random_range(1..1 << 52)),
        _ => f64::from_bits(rng.random_range(1..f64::INFINITY.to_bits())),
    }
}

fn any_text(rng: &mut StdRng) -> String {
    const CHARS: [char; 16] =
        [' ', ' ', '"', '"', ',', '\n', '\r', '#', '[', 'a', 'é', '\t', '\0', '\u{a0}', '=', '7'];
    (0..rng.random_range(0..8)).map(|_| CHARS[rng.random_range(0..CHARS.len())]).collect()
}

fn any_op(rng: &mut StdRng) -> Op {
    let dtype = Dtype::ALL[rng.random_range(0..Dtype::ALL.len())];
    let mut count = |least| any_count(rng, least);
    let (a, b, c, d, e, choice) = (count(1), count(1), count(1), count(1), count(1), count(1) as usize);
    let ranks = a.max(2);
    match rng.random_range(0..6) {
        0 => Op::Gemm(Gemm { m: a, k: b, n: c, batch: d, dtype }),
        1 => {
            let kind = KernelKind::ALL[choice % KernelKind::ALL.len()];
            Op::Kernel(Kernel { kind, rows: a, cols: b, top_k: if kind.has_top_k() { c } else { 1 }, dtype })
        }
        2 => Op::Attention(Attention { batch: a, heads: b, seq_q: c, seq_kv: d, head_dim: e, dtype }),
        3 => {
            let kind = CollectiveKind::ALL[choice % CollectiveKind::ALL.len()];
            Op::Collective(Collective { kind, bytes: b, ranks, nodes: c, dtype })
        }
        4 => {
            let timed = Timed::ALL[choice % 2];
            let (ranks, nodes) = ((ranks as u32).max(2), (c as u32).max(1));
            let [m, k, n] = [b, c, d].map(|count| (count as u32).max(1));
            Op::Overlap(Overlap { timed, m, k, n, bytes: e, ranks, nodes, dtype })
        }
        _ => Op::P2p(P2p { bytes: a, link: if choice % 2 == 0 { Link::IntraNode } else { Link::InterNode } }),
    }
}

/// A table with everything that can be said, of at most `rows` rows.
fn any_table(rng: &mut StdRng, rows: usize) -> Table {
    let mut details = toml::Table::new();
    details.insert("sub".into(), toml::Table::from_iter([("x".to_owned(), any_time(rng).into())]).into());
    details.insert("text".into(), format!("[end]\n# [end]\n\n{}\n", any_text(rng)).into());
    details.insert("text of two lines\n".into(), any_text(rng).into());
    details.insert("list".into(), vec![i64::MAX, i64::MIN].into());
    let device = Device { name: any_text(rng), memory_bytes: Some(1 << 37), details: details.clone() };
    let cluster =
        Cluster { gpus: rng.random_bool(0.5).then_some(8), gpus_per_node: None, details: details.clone() };
    let mut known = std::collections::HashSet::new();
    let mut records = Vec::new();
    for _ in 0..rows {
        let mut times = [any_time(rng), any_time(rng), any_time(rng)];
        times.sort_by(f64::total_cmp);
        let [low, median, high] = times.map(seconds);
        let summary = Summary {
            seconds: median,
            interval: rng.random_bool(0.7).then_some((low, high)),
            samples: rng.random_bool(0.7).then(|| any_count(rng, 0)),
        };
        let told = rng.random_bool(0.3);
        let route =
            if told { Route::of([any_text(rng), any_text(rng), any_text(rng)]) } else { Route::default() };
        let record = Record { op: any_op(rng), summary, route, flags: any_text(rng), source: any_text(rng) };
        if known.insert(record.op) {
            records.push(record);
        }
    }
    Table { device: rng.random_bool(0.8).then_some(device), cluster, run: details, records }
}

/// Equal to the last bit: the comparison of times is exact, and no time is NaN or −0.
#[test]
fn what_is_written_reads_back_bit_for_bit() {
    let mut rng = StdRng::seed_from_u64(1);
    for i in 0..300 {
        // In a table of few rows all texts may do without quotes.
        let table = any_table(&mut rng, 1 + i % 20);
        let bytes = written(&table);
        let again = Table::parse(&bytes, "again")
            .unwrap_or_else(|e| panic!("{e}\n{}", String::from_utf8_lossy(&bytes)));
        assert_eq!(again, table);
        assert_eq!(written(&again), bytes);
    }
}

/// The csv crate finds the same fields: what is written is CSV as others understand it.
#[test]
fn other_readers_of_csv_find_the_same_fields() {
    let mut rng = StdRng::seed_from_u64(2);
    for i in 0..100 {
        let table = any_table(&mut rng, 1 + i % 20);
        let text = String::from_utf8(written(&table)).unwrap();
        let rows = &text[text.find("\nop,kind,").unwrap()..];
        let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(rows.as_bytes());
        let found: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(found.len(), table.records.len());
        for (row, record) in found.iter().zip(&table.records) {
            assert_eq!(row[13].parse(), Ok(record.summary.seconds.get()));
            let (flags, source) = (&row[row.len() - 2], &row[row.len() - 1]);
            assert_eq!((flags, source), (record.flags.as_str(), record.source.as_str()));
        }
    }
}

#[test]
fn numbers_are_written_with_the_fewest_digits() {
    let text =
        String::from_utf8(written(&Table { records: vec![gemm(1, 0.1 + 0.2)], ..Table::default() })).unwrap();
    assert_eq!(
        text,
        "# format = \"gettime-table-1\"\n\
         op,kind,dtype,m,k,n,batch,heads,rows,cols,bytes,ranks,nodes,seconds,seconds_low,seconds_high,samples,flags,source\n\
         gemm,,bf16,1,2,3,1,,,,,,,3.0000000000000004e-1,,,,,\n# [end]\n"
    );
}

#[test]
fn every_prefix_of_a_written_table_is_refused() {
    let mut rng = StdRng::seed_from_u64(3);
    for _ in 0..5 {
        let table = any_table(&mut rng, 12);
        let bytes = written(&table);
        for length in 0..bytes.len() - 1 {
            refused(&bytes[..length]);
        }
        // Without its last newline nothing is missing.
        assert_eq!(Table::parse(&bytes[..bytes.len() - 1], "").unwrap(), table);
    }
}

/// Without the closing line a cut between two rows cannot be seen; one within a row is never a wrong number.
#[test]
fn a_prefix_of_a_short_form_is_refused_or_holds_the_first_rows() {
    let text =
        format!("{GEMM}gemm,bf16,1,2,3,1,1.25e-5\ngemm,bf16,17,2,3,1,2.5e-5\n\ngemm,bf16,4,2,3,1,3e-15\n");
    let whole = table(&text).records;
    let mut accepted = 0;
    for length in 0..text.len() {
        if let Ok(table) = read(&text[..length]) {
            assert_eq!(table.records, whole[..table.records.len()]);
            assert!(text[..length].ends_with('\n'));
            accepted += 1;
        }
    }
    assert_eq!(accepted, 3);
}

#[test]
fn no_damage_makes_the_reader_panic() {
    let mut rng = StdRng::seed_from_u64(4);
    let tables: Vec<_> = (0..20).map(|_| written(&any_table(&mut rng, 6))).collect();
    const SIGNS: &[u8] = b",\"\n\r#[]=.-+e0 \t'\\";
    for i in 0..20_000 {
        let mut bytes = tables[i % tables.len()].clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..4) {
                0 => bytes[at] = rng.random_range(0..=255),
                1 => bytes[at] = SIGNS[rng.random_range(0..SIGNS.len())],
                2 => bytes.insert(at, SIGNS[rng.random_range(0..SIGNS.len())]),
                _ => drop(bytes.remove(at)),
            }
        }
        match Table::parse(&bytes, "damaged") {
            // Whatever was read can be written and read again.
            Ok(table) => assert_eq!(Table::parse(&written(&table), "").unwrap().records, table.records),
            Err(error) => assert!(error.to_string().lines().count() >= 2, "{error}"),
        }
    }
}

#[test]
fn tables_of_one_device_merge() {
    let named = |name: &str| Some(Device { name: name.into(), ..Device::default() });
    let first = Table { records: vec![gemm(1, 1e-5), gemm(2, 2e-5)], ..Table::default() };
    let second = Table {
        device: named("A100"),
        cluster: Cluster { gpus: Some(8), ..Cluster::default() },
        run: toml::Table::from_iter([("by".to_owned(), "Jo".into())]),
        records: vec![gemm(2, 2e-5), gemm(3, 3e-5), gemm(3, 3e-5)],
    };
    let merged = first.clone().merge(second.clone()).unwrap();
    assert_eq!(merged.records, [gemm(1, 1e-5), gemm(2, 2e-5), gemm(3, 3e-5)]);
    assert_eq!(
        (&merged.device, &merged.cluster, &merged.run),
        (&second.device, &second.cluster, &second.run)
    );

    let other = Table {
        device: named("H200"),
        cluster: Cluster { gpus: Some(4), ..Cluster::default() },
        ..first.clone()
    };
    let same = Table { device: named("A100"), ..other.clone() };
    assert_eq!(same.merge(second.clone()).unwrap().cluster.gpus, Some(4));
    let error = other.merge(second).unwrap_err();
    assert!(error.to_string().starts_with("one table is about \"H200\", the other about \"A100\""));

    let slower =
        Table { records: vec![Record { source: "mpi".into(), ..gemm(2, 2.5e-5) }], ..Table::default() };
    let error = first.merge(slower).unwrap_err();
    assert!(matches!(error, MergeError::TwoTimes { .. }));
    let text = error.to_string();
    assert!(text.starts_with("\"gemm bf16 2×2×3\" took 2e-5 s in one table"), "{text}");
    assert!(text.contains("2.5e-5 s in the other (\"mpi\")"), "{text}");
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let folder = Folder::new("atomic");
    let path = folder.0.join("table.csv");
    let old = Table { records: vec![gemm(1, 1e-5)], ..Table::default() };
    let new = Table { records: vec![gemm(1, 1e-5), gemm(2, 2e-5)], ..Table::default() };
    old.write(&path).unwrap();
    new.write(&path).unwrap();
    assert_eq!(Table::read(&path).unwrap(), new);

    // What would not read back takes no one's place.
    let zero = Table { records: vec![gemm(0, 1e-5)], ..Table::default() };
    let instant = Table { records: vec![gemm(1, 0.0)], ..Table::default() };
    let twice = Table { records: vec![gemm(1, 1e-5), gemm(1, 1e-5)], ..Table::default() };
    let mut outside = gemm(1, 1e-5);
    outside.summary.interval = Some((seconds(2e-5), seconds(3e-5)));
    let outside = Table { records: vec![outside], ..Table::default() };
    let huge = Cluster { gpus: Some(u64::MAX), ..Cluster::default() };
    let huge = Table { cluster: huge, ..old.clone() };
    for bad in [zero, instant, twice, outside, huge] {
        let error = bad.write(&path).unwrap_err();
        assert!(matches!(*error.kind, TableErrorKind::Unwritable { .. }), "{error}");
        assert!(error.to_string().contains("would not read back"), "{error}");
        assert_eq!(Table::read(&path).unwrap(), new);
    }
    assert_eq!(folder.names(), ["table.csv"]);
}

#[test]
fn a_file_that_cannot_be_written_leaves_nothing_behind() {
    let folder = Folder::new("refused");
    let table = Table { records: vec![gemm(1, 1e-5)], ..Table::default() };
    let missing = folder.0.join("nowhere").join("table.csv");
    let directory = folder.0.join("directory");
    fs::create_dir(&directory).unwrap();
    for path in [&missing, &directory] {
        let error = table.write(path).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("{}: cannot be written: ", path.display())),
            "{error}"
        );
        assert!(error.to_string().contains("is the folder there"), "{error}");
    }
    // A name that only the rename finds too long: the temporary file was there already.
    let long = folder.0.join("x".repeat(300));
    table.write(&long).unwrap_err();
    assert_eq!(folder.names(), ["directory"]);
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link_and_permissions_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = Folder::new("link");
    let (file, link) = (folder.0.join("file.csv"), folder.0.join("link.csv"));
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&file, &link).unwrap();
    let table = Table { records: vec![gemm(1, 1e-5)], ..Table::default() };
    table.write(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(Table::read(&file).unwrap(), table);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(folder.names(), ["file.csv", "link.csv"]);

    // A new file is as open to others as any.
    let (any, new) = (folder.0.join("any"), folder.0.join("new.csv"));
    fs::write(&any, "").unwrap();
    table.write(&new).unwrap();
    assert_eq!(fs::metadata(&new).unwrap().permissions(), fs::metadata(&any).unwrap().permissions());
}
