//! The fit on public measurements of an H200 and an A100, where they are at hand beside the repository: the
//! error on rows that it has not seen, medians of three seeds.

use std::collections::BTreeMap;
use std::path::Path;

use gettime::fit::check::{Accuracy, Tried, against};
use gettime::op::Op;
use gettime::table::{Record, Table};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

fn load(name: &str) -> Option<Table> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if !path.exists() {
        eprintln!("{} is not there: not tried", path.display());
        return None;
    }
    Some(Table::read(&path).unwrap())
}

/// m, k and n.
fn sizes(op: &Op) -> [u64; 3] {
    let Op::Gemm(gemm) = op else { panic!("{op} is no product") };
    [gemm.m, gemm.k, gemm.n]
}

fn of(table: &Table, records: Vec<Record>) -> Table {
    Table { records, ..table.clone() }
}

fn split(table: &Table, is_train: impl Fn(&Op) -> bool) -> (Vec<Record>, Vec<Record>) {
    table.records.iter().cloned().partition(|record| is_train(&record.op))
}

fn some(mut records: Vec<Record>, most: usize, random: &mut StdRng) -> Vec<Record> {
    records.shuffle(random);
    records.truncate(most);
    records
}

/// Rows at random, and the others.
fn at_random(table: &Table, rows: usize, seed: u64) -> Vec<Tried> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut all = table.records.clone();
    all.shuffle(&mut random);
    let mut test = all.split_off(rows);
    test.truncate(6000);
    against(&of(table, all), &of(table, test))
}

/// Two thirds of the values of m, of k and of n, and rows of none of them.
fn unseen(table: &Table, rows: usize, seed: u64) -> Vec<Tried> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut held: [BTreeMap<u64, bool>; 3] = Default::default();
    for record in &table.records {
        for (axis, size) in sizes(&record.op).into_iter().enumerate() {
            held[axis].entry(size).or_insert_with(|| random.random_bool(1.0 / 3.0));
        }
    }
    let count = |op: &Op| (0..3).filter(|axis| held[*axis][&sizes(op)[*axis]]).count();
    let (train, _) = split(table, |op| count(op) == 0);
    let (test, _) = split(table, |op| count(op) == 3);
    against(&of(table, some(train, rows, &mut random)), &of(table, test))
}

/// Every other value of m, of k and of n and the ends of each (38 of 74 and 12 of 22 twice: in the whole
/// table 5,434 rows, as many as the peer learnt from), and rows with at least `fewest` other values: with 1 all other rows, with 3 those that share nothing.
fn every_other(table: &Table, from: usize, fewest: usize) -> Vec<Tried> {
    let mut values: [Vec<u64>; 3] = Default::default();
    for record in &table.records {
        (0..3).for_each(|axis| values[axis].push(sizes(&record.op)[axis]));
    }
    for values in &mut values {
        values.sort_unstable();
        values.dedup();
    }
    let is_other = |op: &Op, axis: usize| {
        let place = values[axis].binary_search(&sizes(op)[axis]).unwrap();
        place % 2 != from && place != 0 && place != values[axis].len() - 1
    };
    let others = |op: &Op| (0..3).filter(|axis| is_other(op, *axis)).count();
    let (train, rest) = split(table, |op| others(op) == 0);
    let test = rest.into_iter().filter(|record| others(&record.op) >= fewest).collect();
    against(&of(table, train), &of(table, test))
}

fn from_the_first(table: &Table, _: usize, _: u64) -> Vec<Tried> {
    every_other(table, 0, 1)
}

fn from_the_second(table: &Table, _: usize, _: u64) -> Vec<Tried> {
    every_other(table, 1, 1)
}

fn from_the_first_to_none(table: &Table, _: usize, _: u64) -> Vec<Tried> {
    every_other(table, 0, 3)
}

/// Up to m = 2048, and from 8192.
fn beyond(table: &Table, rows: usize, seed: u64) -> Vec<Tried> {
    let (train, _) = split(table, |op| sizes(op)[0] <= 2048);
    let (test, _) = split(table, |op| sizes(op)[0] >= 8192);
    let train = some(train, rows, &mut StdRng::seed_from_u64(seed));
    against(&of(table, train), &of(table, test))
}

/// k and n up to 16k, and from 51k.
fn wider(table: &Table, rows: usize, seed: u64) -> Vec<Tried> {
    let (train, _) = split(table, |op| sizes(op)[1].max(sizes(op)[2]) <= 16_384);
    let (test, _) = split(table, |op| sizes(op)[1].max(sizes(op)[2]) >= 51_200);
    let train = some(train, rows, &mut StdRng::seed_from_u64(seed));
    against(&of(table, train), &of(table, test))
}

fn plans(table: &Table, rows: usize, seed: u64) -> Vec<Tried> {
    let (domain, _) = split(table, |op| sizes(op)[0] >= 1024 && sizes(op)[1] >= 512 && sizes(op)[2] >= 512);
    at_random(&of(table, domain), rows, seed)
}

/// Rows to train on, how to deal them, and the median and the 95th percentile of the error to reach, in percent,
/// and the coverage of the intervals.
struct Case {
    name: &'static str,
    rows: usize,
    deal: fn(&Table, usize, u64) -> Vec<Tried>,
    most: (f64, f64),
    coverage: (f64, f64),
}

/// Tables of all files that are there. Fitting is too slow in a debug build.
fn tables(names: &[&'static str]) -> Vec<(&'static str, Table)> {
    if cfg!(debug_assertions) {
        eprintln!("a debug build: not tried");
        return Vec::new();
    }
    names.iter().filter_map(|name| Some((*name, load(name)?))).collect()
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints the medians of some runs: median, p95, coverage.
fn show(name: &str, runs: &[Accuracy]) -> [f64; 3] {
    let all = |pick: fn(&Accuracy) -> f64| middle(runs.iter().map(pick).collect());
    let shown = [all(|a| a.median), all(|a| a.p95), all(|a| a.coverage)];
    let [median, p95, coverage] = shown;
    let (max, bias, width) = (all(|a| a.max), all(|a| a.bias), all(|a| a.width) / 2.0);
    println!(
        "{name:<28} {median:.2} / {p95:.1}   max {max:.0}, bias {bias:+.2}, {coverage:.1} % in ± {width:.1} %"
    );
    assert!(runs.iter().all(|run| run.failed == 0), "{name}: there are failures");
    shown
}

fn hold(file: &str, table: &Table, case: &Case) {
    let Case { name, rows, deal, most, coverage } = case;
    let runs: Vec<Accuracy> = (1..=3).map(|seed| Accuracy::of(&deal(table, *rows, seed))).collect();
    let [median, p95, covered] = show(&format!("{name}, {rows} rows"), &runs);
    assert!(median <= most.0 && p95 <= most.1, "{file}, {name}: {median} / {p95}, to reach {most:?}");
    assert!((coverage.0..=coverage.1).contains(&covered), "{file}, {name}: {covered} % covered");
}

/// What the intervals are to hold of rows dealt at random, of unseen coordinates, and beyond the range.
const RANDOM: (f64, f64) = (86.0, 94.0);
const OTHER: (f64, f64) = (84.0, 97.0);
const BEYOND: (f64, f64) = (85.0, 100.0);

#[test]
fn products() {
    for (file, table) in tables(&["h200-bf16-gemm.csv"]) {
        println!("{file}");
        let case = |name, rows, deal, most, coverage| Case { name, rows, deal, most, coverage };
        let cases = [
            case("random", 30, at_random, (6.5, 22.0), (80.0, 99.0)),
            case("random", 250, at_random, (3.8, 15.0), RANDOM),
            case("random", 1000, at_random, (3.0, 12.5), RANDOM),
            case("random", 5000, at_random, (2.4, 10.8), RANDOM),
            case("unseen coordinates", 1000, unseen, (3.6, 14.2), OTHER),
            case("every other m, k, n", 3252, from_the_first, (3.0, 12.5), OTHER),
            case("the others", 3193, from_the_second, (3.05, 12.5), OTHER),
            case("every other, none shared", 3252, from_the_first_to_none, (3.55, 12.5), OTHER),
            case("m <= 2048 to m >= 8192", 2000, beyond, (5.3, 17.0), BEYOND),
            case("k, n <= 16k to >= 51k", 2000, wider, (5.5, 17.5), BEYOND),
            case("m >= 1024, k, n >= 512", 1000, plans, (2.95, 10.9), RANDOM),
        ];
        cases.iter().for_each(|case| hold(file, &table, case));
    }
    for (file, table) in tables(&["a100-bf16-gemm.csv"]) {
        println!("{file}");
        let case = |name, rows, deal, most, coverage| Case { name, rows, deal, most, coverage };
        let cases = [
            case("random", 1000, at_random, (4.4, 18.0), RANDOM),
            case("unseen coordinates", 1000, unseen, (5.7, 20.5), OTHER),
            case("m <= 2048 to m >= 8192", 2000, beyond, (3.5, 17.5), BEYOND),
        ];
        cases.iter().for_each(|case| hold(file, &table, case));
    }
}

#[test]
fn collectives() {
    let files = ["h200-nccl-1node.csv", "a100-nccl-1node.csv"];
    for (file, table) in tables(&files) {
        println!("{file}");
        // of messages above 4 MB, from the even sizes and from the odd ones
        let is_first = file == files[0];
        let large = if is_first { [(1.2, 6.5), (1.5, 9.5)] } else { [(2.2, 9.5), (4.0, 13.5)] };
        let group = |op: &Op| match op {
            Op::Collective(op) => (op.bytes, op.ranks),
            _ => panic!("{op} is no collective"),
        };
        let mut sizes: Vec<u64> = table.records.iter().map(|record| group(&record.op).0).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let dealt = |is_train: &dyn Fn(&Op) -> bool| {
            let (train, test) = split(&table, is_train);
            against(&of(&table, train), &of(&table, test))
        };
        // the smallest and the largest of the other half lie outside the range of the rest
        let within = |row: &&Tried| !row.is_outside();
        for (parity, most_of_large) in large.into_iter().enumerate() {
            let tried = dealt(&|op| sizes.binary_search(&group(op).0).unwrap() % 2 == parity);
            let all = Accuracy::of(tried.iter().filter(within));
            let [median, p95, coverage] = show("every other size", &[all]);
            assert!(median <= 2.5 && p95 <= 20.0 && coverage >= 85.0, "{file}");
            let large = tried.iter().filter(within).filter(|row| group(&row.op).0 > 4 << 20);
            let [median, p95, _] = show("  above 4 MB", &[Accuracy::of(large)]);
            assert!(median <= most_of_large.0 && p95 <= most_of_large.1, "{file}");
        }
        let [median, p95, coverage] =
            show("8 ranks from 2 and 4", &[Accuracy::of(&dealt(&|op| group(op).1 < 8))]);
        assert!(median <= 7.0 && p95 <= 30.0 && coverage >= 85.0, "{file}");
        let [median, p95, coverage] =
            show("4 ranks from 2 and 8", &[Accuracy::of(&dealt(&|op| group(op).1 != 4))]);
        assert!(median <= 6.0 && p95 <= 20.0 && coverage >= 85.0, "{file}");
    }
}
