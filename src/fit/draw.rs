//! Choices that look random and are the same on every run and machine.

/// 64 well-mixed bits of `seed` and `index`: splitmix64 (Steele, Lea and Flood 2014).
pub fn mix(seed: u64, index: u64) -> u64 {
    let mut z = seed ^ index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// At most `most` of the rows `0..count`, in rising order. Not every so-manieth: tables are lattices, and a
/// stride would meet the same few coordinates again and again.
pub fn rows(count: usize, most: usize, seed: u64) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..count).collect();
    if count > most {
        rows.sort_unstable_by_key(|row| mix(seed, *row as u64));
        rows.truncate(most);
        rows.sort_unstable();
    }
    rows
}
