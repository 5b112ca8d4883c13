//! The text that nccl-tests prints, of any version, with whatever else a launcher and NCCL put between.

use std::collections::BTreeSet;

use super::rows::{Check, Half, Row, Run};
use crate::nccl_log::Line;

/// Reads all runs of a log. Lines that belong to no run are passed over.
pub(super) fn runs(text: &str) -> Vec<Run> {
    let mut log = Log::default();
    for line in text.lines() {
        log.line(untagged(line));
    }
    log.end_run();
    log.runs
}

#[derive(Default)]
struct Log {
    runs: Vec<Run>,
    run: Run,
    /// Host and group of each rank.
    ranks: Vec<(String, String)>,
    columns: Option<Columns>,
}

/// Where the columns of a run stand, from its column line.
struct Columns {
    /// Before the first half: 4, or 5 with `root`.
    before: usize,
    /// In each half: 4, or 8 with `-I 1`.
    half: usize,
    /// In all; a timestamp is two.
    all: usize,
    /// Whether the check is a count of wrong elements, and not a largest difference.
    counts_wrong: bool,
}

impl Log {
    fn line(&mut self, line: &str) {
        let line = line.trim();
        if let Some(told) = Line::read(line) {
            // of the rows that follow; what was chosen for one of them tears it apart
            return self.run.told.hear(&told, None);
        }
        let Some(comment) = line.strip_prefix('#') else {
            return self.results(line);
        };
        let words: Vec<&str> = comment.split_whitespace().collect();
        match words.as_slice() {
            // the first line of a run's head, by version
            ["nccl-tests", "version", ..] => self.end_run(),
            ["Collective", "test", "starting:", test, ..] => {
                if !self.is_fresh() {
                    self.end_run();
                }
                self.run.test = Some((*test).to_owned());
            }
            ["nThread", ..] if !self.is_fresh() => self.end_run(),
            ["Rank", ..] => self.rank(&words),
            ["size", "count", ..] | ["size", "type", ..] => self.columns(&words),
            _ => {}
        }
    }

    /// Whether nothing but the test's name is known of the current run.
    fn is_fresh(&self) -> bool {
        self.run.rows.is_empty() && self.ranks.is_empty() && self.columns.is_none()
    }

    /// `Rank 0 Group 0 Pid 41217 on host device 0 [0000:1b:00] NVIDIA H200`, without the group before 2.13.
    fn rank(&mut self, words: &[&str]) {
        let after = |word: &str| words.iter().position(|w| *w == word).and_then(|i| words.get(i + 1));
        let Some(host) = after("on") else { return };
        let group = after("Group").copied().unwrap_or("0");
        self.ranks.push(((*host).to_owned(), group.to_owned()));
        let bus = words.iter().position(|word| word.starts_with('[') && word.ends_with(']'));
        let name = bus.map(|i| words[i + 1..].join(" ")).filter(|name| !name.is_empty());
        if let Some(name) = name.filter(|name| !self.run.devices.contains(name)) {
            self.run.devices.push(name);
        }
    }

    fn columns(&mut self, words: &[&str]) {
        let is_time = |word: &&str| matches!(*word, "time" | "cputime");
        let starts: Vec<usize> =
            words.iter().enumerate().filter(|(_, word)| is_time(word)).map(|(i, _)| i).collect();
        let [first, second] = starts[..] else { return };
        self.run.host_time = words[first] == "cputime";
        let half = second - first;
        let stamp = usize::from(words.last() == Some(&"timestamp"));
        self.columns = Some(Columns {
            before: first,
            half,
            all: first + 2 * half + 2 * stamp,
            counts_wrong: words.contains(&"#wrong"),
        });
    }

    fn results(&mut self, line: &str) {
        let Some(columns) = &self.columns else { return };
        let words: Vec<&str> = line.split_whitespace().collect();
        // a row of a run that goes on after another line was torn from it would have another length
        if words.len() != columns.all || columns.half < 4 || columns.before < 3 {
            return;
        }
        let (Ok(bytes), Ok(_)) = (words[0].parse(), words[1].parse::<u64>()) else { return };
        let half = |start: usize| Half {
            time: words[start].parse().ok(),
            check: check(words[start + 3], columns.counts_wrong),
        };
        self.run.rows.push(Row {
            bytes,
            dtype: words[2].to_owned(),
            out_of_place: half(columns.before),
            in_place: half(columns.before + columns.half),
        });
    }

    fn end_run(&mut self) {
        let mut run = std::mem::take(&mut self.run);
        self.columns = None;
        let ranks = std::mem::take(&mut self.ranks);
        // with NCCL_TESTS_SPLIT each group works by itself: the first one stands for all
        if let Some((_, group)) = ranks.first() {
            let hosts: Vec<&str> =
                ranks.iter().filter(|(_, g)| g == group).map(|(host, _)| host.as_str()).collect();
            run.ranks = Some(hosts.len() as u64);
            run.nodes = Some(hosts.into_iter().collect::<BTreeSet<_>>().len() as u64);
        }
        if !run.rows.is_empty() {
            self.runs.push(run);
        }
    }
}

fn check(word: &str, counts_wrong: bool) -> Check {
    match word.parse::<f64>() {
        Err(_) => Check::Off,
        Ok(number) if number.is_nan() => Check::Wrong,
        // before 2.13 the column is the largest difference, and the test judges it by a limit it does not print
        Ok(number) if counts_wrong && number > 0.0 => Check::Wrong,
        Ok(_) => Check::Good,
    }
}

/// A line without the tag that mpirun (`[1,0]<stdout>:`) or srun (`0: `) puts before it.
fn untagged(line: &str) -> &str {
    if let Some((tag, rest)) = line.split_once('>')
        && tag.starts_with('[')
        && (tag.ends_with("<stdout") || tag.ends_with("<stderr"))
    {
        return rest.strip_prefix(':').unwrap_or(rest);
    }
    match line.split_once(": ") {
        Some((tag, rest)) if !tag.is_empty() && tag.trim().bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => line,
    }
}
