//! Words on a measurement, as the column `flags` holds them.

/// The words of both, with a blank between them; of two with one key the newer stays, in the older's place.
pub(super) fn joined(old: &str, new: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in old.split_whitespace().chain(new.split_whitespace()) {
        let same = |known: &&str| key(known) == key(word);
        match words.iter_mut().find(|known| same(known)) {
            Some(known) => *known = word,
            None => words.push(word),
        }
    }
    words.join(" ")
}

/// `mhz` of `mhz=1755`, and a word that is no pair as it is.
fn key(word: &str) -> &str {
    word.split_once('=').map_or(word, |(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn words_stay_once_and_the_newest_value_counts() {
        assert_eq!(joined("noisy", "drift"), "noisy drift");
        assert_eq!(joined("mhz=1 shared", "eager mhz=22 shared"), "mhz=22 shared eager");
        assert_eq!(joined("", ""), "");
    }
}
