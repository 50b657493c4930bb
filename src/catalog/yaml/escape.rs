//! Surrogate escapes: `"\ud83d\ude00"` is how JSON writes one character beyond U+FFFF.
//!
//! The YAML parser refuses them, and which backslashes are escapes is known only after parsing:
//! in a block scalar the same twelve characters are just text. So every escape of a surrogate is
//! disguised before parsing as one of U+E800 to U+EFFF, which changes one digit and no column, and
//! undone in each scalar afterwards. A text that uses that private range itself is left alone.

use std::borrow::Cow;

/// A text whose surrogate escapes are disguised, when it had any.
#[derive(Debug)]
pub(super) struct Disguised<'a> {
    pub(super) text: Cow<'a, str>,
    active: bool,
}

/// Disguises all surrogate escapes of a text.
pub(super) fn disguise(text: &str) -> Disguised<'_> {
    let found = surrogate_escapes(text);
    if found.is_empty() || uses_private_range(text) {
        return Disguised { text: Cow::Borrowed(text), active: false };
    }
    let mut bytes = text.as_bytes().to_vec();
    for digit in found {
        // `d` to `e` and `D` to `E`.
        bytes[digit] += 1;
    }
    let text = String::from_utf8(bytes).expect("one ASCII letter replaced by another");
    Disguised { text: Cow::Owned(text), active: true }
}

impl Disguised<'_> {
    /// Gives a scalar its true content; `escaped` tells whether escapes mean something in it.
    pub(super) fn undo(&self, text: String, escaped: bool) -> String {
        match (self.active, escaped) {
            (false, _) => text,
            (true, true) => join(&text),
            (true, false) => restore(&text),
        }
    }
}

/// The offsets of the first hex digit of every `\uD800` to `\uDFFF` that is not itself escaped.
fn surrogate_escapes(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(step) = text[at..].find('\\') {
        at += step;
        if is_escape_of(bytes, at, b"dD") {
            found.push(at + 2);
        }
        // The character behind a backslash is part of the escape, be it a backslash. It may be
        // longer than a byte; a text is only ever cut before a backslash or at its end.
        at += 1;
        if bytes.get(at) == Some(&b'\\') {
            at += 1;
        }
    }
    found
}

/// Whether `\uX8..` to `\uXF..` with a first digit of `first` stands at `at`.
fn is_escape_of(bytes: &[u8], at: usize, first: &[u8]) -> bool {
    let Some([b'\\', b'u', high, low, rest @ ..]) = bytes.get(at..at + 6) else { return false };
    first.contains(high)
        && b"89abcdefABCDEF".contains(low)
        && rest.iter().all(u8::is_ascii_hexdigit)
}

fn uses_private_range(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.chars().any(|c| ('\u{e800}'..='\u{efff}').contains(&c))
        || text.match_indices("\\u").any(|(at, _)| is_escape_of(bytes, at, b"eE"))
}

/// Joins disguised pairs to the characters they mean; one without its other half means nothing.
fn join(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let low = |c: &char| ('\u{ec00}'..='\u{efff}').contains(c);
        match c {
            '\u{e800}'..='\u{ebff}' => match chars.next_if(low) {
                Some(second) => {
                    let code = 0x1_0000 + ((c as u32 - 0xe800) << 10) + (second as u32 - 0xec00);
                    joined.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                None => joined.push(char::REPLACEMENT_CHARACTER),
            },
            '\u{ec00}'..='\u{efff}' => joined.push(char::REPLACEMENT_CHARACTER),
            other => joined.push(other),
        }
    }
    joined
}

/// Writes disguised escapes as they were where they are mere text.
fn restore(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (at, _) in text.match_indices("\\u") {
        if is_escape_of(text.as_bytes(), at, b"eE") {
            bytes[at + 2] -= 1;
        }
    }
    String::from_utf8(bytes).expect("one ASCII letter replaced by another")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, decoded: &str, escaped: bool, expected: &str) {
        let disguised = disguise(source);
        assert_eq!(disguised.text.chars().count(), source.chars().count());
        assert_eq!(disguised.undo(decoded.to_owned(), escaped), expected, "{source}");
    }

    #[test]
    fn a_pair_becomes_one_character_and_a_half_becomes_nothing_readable() {
        check(r#""\ud83d\uDE00""#, "\u{e83d}\u{ee00}", true, "😀");
        check(r#""\ud83d!""#, "\u{e83d}!", true, "\u{fffd}!");
        check(r#""\ude00""#, "\u{ee00}", true, "\u{fffd}");
    }

    #[test]
    fn text_that_only_looks_like_an_escape_is_given_back() {
        check(r"\ud83d\uDE00", r"\ue83d\uEE00", false, r"\ud83d\uDE00");
        assert!(!disguise(r#""\\ud83d""#).active);
    }

    #[test]
    fn the_private_range_in_use_is_left_alone() {
        assert!(!disguise("\"\\ud83d\\ude00\" \u{e900}").active);
        assert!(!disguise(r#""\ud83d\ude00" "\uE900""#).active);
    }
}
