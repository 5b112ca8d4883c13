//! Names that look alike, for "did you mean".

/// Names that are offered at most.
const OFFERED: usize = 3;

/// Those of `candidates` that are near to `name`, nearest first; when none is, the first few as they come.
pub(super) fn to<'a>(name: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let folded_name = folded(name);
    let limit = (folded_name.len() / 3).max(1);
    let mut near: Vec<(usize, &str)> = candidates
        .clone()
        .map(|candidate| (distance(&folded_name, &folded(candidate)), candidate))
        .filter(|&(distance, _)| distance <= limit)
        .collect();
    near.sort_by_key(|&(distance, _)| distance); // stable: ties stay in the order of the text
    if near.is_empty() {
        return candidates.take(OFFERED).map(str::to_owned).collect();
    }
    near.into_iter().take(OFFERED).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// Lower case, and a blank for every underscore: `Communication_overhead` is meant as `Communication overhead`.
/// A very long name is cut, since the distance of two takes the product of their lengths.
fn folded(name: &str) -> Vec<char> {
    name.chars().take(100).flat_map(char::to_lowercase).map(|c| if c == '_' { ' ' } else { c }).collect()
}

/// Levenshtein's distance: insertions, deletions and replacements from `a` to `b`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
