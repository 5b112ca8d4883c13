//! Texts nobody wrote: whatever they are, there is a value or an error, and both can be printed.

use gettime::dtype::Dtype;
use gettime::formula::{Setting, evaluate};

use crate::M;

/// Marsaglia's xorshift, 2003: the same texts on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

const PIECES: [&str; 60] = [
    "Get_Time(",
    "Get_Time(8, 8, 8)",
    "Get_Time_batched(2, 3, 4, 5)",
    "max(",
    "min(",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ", ",
    "+",
    " + ",
    "-",
    "- ",
    "−",
    "*",
    "×",
    " x ",
    "x",
    "X16",
    "·",
    "/",
    "÷",
    "//",
    "#",
    "**",
    "=",
    ":",
    ":=",
    "•",
    "1. ",
    "`",
    "```",
    "\n",
    "\r\n",
    "\n\n",
    " ",
    "\t",
    "\u{a0}",
    "\u{202f}",
    "0",
    "1",
    "10,240,000",
    "10_240",
    "1e3",
    "1e308",
    "0.1",
    ".5",
    "12ms",
    "3 s",
    "µs",
    "a",
    "b c",
    "Größe",
    "s_total",
    "\u{feff}",
    "🦀",
];

fn must_not_panic(text: &str, setting: &str) {
    let settings: Vec<Setting> = Setting::parse(setting).into_iter().collect();
    match evaluate(text, &settings, Dtype::Bf16, &M) {
        Ok(values) => {
            assert!(!values.is_empty(), "{text:?}");
            for value in values {
                assert!(value.low <= value.seconds && value.seconds <= value.high, "{text:?}: {value:?}");
            }
        }
        Err(error) => {
            assert!(error.line() >= 1 && error.column() >= 1, "{text:?}");
            assert!(error.to_string().lines().count() >= 2, "{text:?}");
        }
    }
}

#[test]
fn random_tokens_never_panic() {
    let mut random = Random(20_240_229);
    let piece_text = |random: &mut Random, most: usize| -> String {
        let count = random.below(most);
        (0..count).map(|_| PIECES[random.below(PIECES.len())]).collect()
    };
    for _ in 0..20_000 {
        let text = piece_text(&mut random, 24);
        let setting = format!("a={}", piece_text(&mut random, 4));
        must_not_panic(&text, &setting);
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random(7);
    for _ in 0..20_000 {
        let count = random.below(64);
        let bytes: Vec<u8> = (0..count).map(|_| random.below(256) as u8).collect();
        let text = String::from_utf8_lossy(&bytes);
        must_not_panic(&text, &text);
    }
}

#[test]
fn golden_texts_with_an_edit_never_panic() {
    let data = include_str!("../data/formulas.json");
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let mut random = Random(42);
    for formula in data["formulas"].as_array().unwrap() {
        let text: Vec<char> = formula["as_written"].as_str().unwrap().chars().collect();
        for _ in 0..500 {
            let (from, to) = (random.below(text.len()), random.below(text.len()));
            let piece = PIECES[random.below(PIECES.len())];
            let edited: String =
                text[..from].iter().copied().chain(piece.chars()).chain(text[to..].iter().copied()).collect();
            must_not_panic(&edited, "Communication overhead=0");
        }
    }
}
