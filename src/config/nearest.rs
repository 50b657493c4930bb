//! The known key that somebody may have meant.

/// The one of `known` that takes the fewest edits to become `given`, whatever their number: a
/// guess far off still shows what the place is for.
pub fn nearest<'k>(given: &str, known: &[&'k str]) -> Option<&'k str> {
    let given = given.to_lowercase();
    known.iter().copied().min_by_key(|key| edits(&given, &key.to_lowercase()))
}

/// Insertions, removals, replacements and swaps of neighbours from `a` to `b`.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut cost = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(before[j - 2] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_with_the_fewest_edits() {
        let known = ["listen", "auth", "shutdownTimeout"];
        assert_eq!(nearest("lisen", &known), Some("listen"));
        assert_eq!(nearest("LISTEN", &known), Some("listen"));
        assert_eq!(nearest("auht", &known), Some("auth"));
        assert_eq!(nearest("shutdown_timeout", &known), Some("shutdownTimeout"));
        assert_eq!(nearest("x", &[]), None);
        assert_eq!((edits("ab", "ba"), edits("", "abc"), edits("abc", "abd")), (1, 3, 1));
    }
}
