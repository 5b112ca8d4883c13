//! Columns of small numbers as text: a hundred thousand of them in JSON would be most of a page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Little-endian integers of as few bytes as the largest needs, in base64, with that number of bytes.
pub fn column(values: &[u32]) -> Value {
    let width = match values.iter().max() {
        Some(0x1_0000..) => 4,
        Some(0x100..) => 2,
        _ => 1,
    };
    let bytes: Vec<u8> =
        values.iter().flat_map(|value| value.to_le_bytes().into_iter().take(width)).collect();
    json!([width, STANDARD.encode(bytes)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_wide_as_its_largest_number() {
        // RFC 4648, section 10: "foobar" is Zm9vYmFy; f is 102, o 111, b 98, a 97, r 114
        assert_eq!(column(&[102, 111, 111, 98, 97, 114]), json!([1, "Zm9vYmFy"]));
        assert_eq!(column(&[0x6f66, 0x626f, 0x7261]), json!([2, "Zm9vYmFy"]));
        assert_eq!(column(&[0x626f_6f66]), json!([4, "Zm9vYg=="]));
        assert_eq!(column(&[]), json!([1, ""]));
    }
}
