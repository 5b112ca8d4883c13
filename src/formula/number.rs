//! Numbers as people write them: digits in groups, decimals, exponents, units of time.

/// A number at the start of a text.
pub(super) struct Literal {
    /// Infinite where it is too large for a 64-bit float.
    pub(super) value: f64,
    /// How much of the text it covers.
    pub(super) bytes: usize,
}

/// Reads the number that `text` starts with; a comma groups digits only where `commas` says so.
pub(super) fn number(text: &str, commas: bool) -> Option<Literal> {
    let mut digits = String::new();
    let mut at = take_digits(text, 0, &mut digits);
    let mut short_groups = at <= 3; // 1234,567 is no grouping
    while at > 0 {
        let mut rest = text[at..].chars();
        let Some(separator) = rest.next() else { break };
        let group = leading_digits(rest.as_str());
        let joins = match separator {
            '_' | '\'' | '’' => group > 0,
            ',' => commas && short_groups && group == 3,
            '\u{a0}' | '\u{2009}' | '\u{202f}' => short_groups && group == 3,
            _ => false,
        };
        if !joins {
            break;
        }
        short_groups &= group == 3;
        at = take_digits(text, at + separator.len_utf8(), &mut digits);
    }
    if let Some(fraction) = text[at..].strip_prefix('.')
        && leading_digits(fraction) > 0
    {
        digits.push('.');
        at = take_digits(text, at + 1, &mut digits);
    }
    if digits.is_empty() {
        return None;
    }
    at = take_exponent(text, at, &mut digits);
    Some(Literal { value: digits.parse().unwrap_or(f64::INFINITY), bytes: at })
}

/// Seconds in `value` of the unit named `word`; nothing when it names none.
pub(super) fn in_seconds(value: f64, word: &str) -> Option<f64> {
    // Dividing by a whole power of ten rounds once; multiplying by 1e-3 would round twice.
    match word {
        "ns" => Some(value / 1e9),
        "us" | "µs" | "μs" => Some(value / 1e6),
        "ms" => Some(value / 1e3),
        "s" => Some(value),
        "min" => Some(value * 60.0),
        "h" => Some(value * 3600.0),
        _ => None,
    }
}

/// Two decimals, or all of them where two would hide that there are any.
pub(super) fn shown(value: f64) -> String {
    if value.abs() >= 1e18 {
        return format!("{value:e}");
    }
    let short = format!("{value:.2}");
    match short.strip_suffix(".00") {
        Some(whole) if value.fract() == 0.0 => whole.to_owned(),
        Some(_) => value.to_string(),
        None => short,
    }
}

fn take_exponent(text: &str, at: usize, digits: &mut String) -> usize {
    let Some(exponent) = text[at..].strip_prefix(['e', 'E']) else { return at };
    let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if leading_digits(unsigned) == 0 {
        return at;
    }
    digits.push('e');
    if exponent.starts_with('-') {
        digits.push('-');
    }
    take_digits(text, text.len() - unsigned.len(), digits)
}

fn take_digits(text: &str, from: usize, digits: &mut String) -> usize {
    let end = from + leading_digits(&text[from..]);
    digits.push_str(&text[from..end]);
    end
}

fn leading_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}
