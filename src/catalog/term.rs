//! The terms of the index as byte strings whose order is that of their key, then their value, then
//! the way the value is written.
//!
//! A part ends with a zero byte; zeros and ones inside it are escaped, which keeps the order. A
//! term is the key, and where it has a value, a one, the value, and the value as it is written if
//! that differs.

use std::borrow::Cow;

pub(super) const END: u8 = 0;
const ESCAPE: u8 = 1;
const HAS_VALUE: u8 = 1;

/// The value of a term of a known key.
pub(super) struct Term<'a> {
    /// In lower case.
    pub(super) value: Cow<'a, str>,
    original: Option<Cow<'a, str>>,
}

impl<'a> Term<'a> {
    /// Reads what stands after [`value_start`] of the key.
    pub(super) fn decode(string: &'a [u8]) -> Self {
        // Most values are written in lower case, and no part but them ends with a zero.
        if let Some((&END, value)) = string.split_last() {
            return Self { value: unescape(value), original: None };
        }
        let end = string.iter().position(|byte| *byte == END).unwrap_or(string.len());
        let original = string.get(end + 1..).unwrap_or_default();
        Self { value: unescape(&string[..end]), original: Some(unescape(original)) }
    }

    /// The value as it is written.
    pub(super) fn original(&self) -> &str {
        self.original.as_deref().unwrap_or(&self.value)
    }
}

/// A term; `original` is the value as it is written.
pub(super) fn encode(key: &str, value: Option<&str>, original: Option<&str>) -> Vec<u8> {
    let Some(value) = value else {
        let mut string = Vec::with_capacity(key.len() + 1);
        part(key, &mut string);
        return string;
    };
    let mut string = value_start(key, value);
    string.push(END);
    if let Some(original) = original.filter(|original| *original != value) {
        escape(original, &mut string);
    }
    string
}

/// What the terms of a key with a value that starts with `prefix` start with.
pub(super) fn value_start(key: &str, prefix: &str) -> Vec<u8> {
    let mut string = Vec::with_capacity(key.len() + prefix.len() + 3);
    part(key, &mut string);
    string.push(HAS_VALUE);
    escape(prefix, &mut string);
    string
}

/// Appends a text in such a way that none is the start of another.
pub(super) fn part(text: &str, string: &mut Vec<u8>) {
    escape(text, string);
    string.push(END);
}

fn escape(text: &str, string: &mut Vec<u8>) {
    if !text.bytes().any(|byte| byte <= ESCAPE) {
        string.extend_from_slice(text.as_bytes());
        return;
    }
    for byte in text.bytes() {
        match byte {
            END | ESCAPE => string.extend([ESCAPE, byte + 1]),
            other => string.push(other),
        }
    }
}

/// A text as it was before it was escaped.
pub(super) fn unescape(string: &[u8]) -> Cow<'_, str> {
    if !string.contains(&ESCAPE) {
        return String::from_utf8_lossy(string);
    }
    let mut text = Vec::with_capacity(string.len());
    let mut bytes = string.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            &ESCAPE => text.extend(bytes.next().map(|escaped| escaped - 1)),
            other => text.push(*other),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_ordered_as_what_they_hold_and_read_back() {
        let texts = ["", "\0", "\0\0", "\u{1}", "a", "a\0", "a\0b", "a\u{1}", "a.b", "b", "ü"];
        let mut terms = Vec::new();
        for key in texts {
            terms.push((key, None, None));
            for value in texts {
                terms.push((key, Some(value), None));
                let others = texts.into_iter().filter(|text| !text.is_empty() && *text != value);
                for original in others {
                    terms.push((key, Some(value), Some(original)));
                }
            }
        }
        terms.sort();
        let encode = |term: &(&str, Option<&str>, Option<&str>)| encode(term.0, term.1, term.2);
        let strings: Vec<Vec<u8>> = terms.iter().map(encode).collect();
        assert!(strings.windows(2).all(|pair| pair[0] < pair[1]));
        for ((key, value, original), string) in terms.iter().zip(&strings) {
            let Some(value) = value else {
                assert!(!string.starts_with(&value_start(key, "")));
                continue;
            };
            for (other, prefix) in texts.iter().flat_map(|o| texts.iter().map(move |p| (o, p))) {
                let has_it = other == key && value.starts_with(prefix);
                assert_eq!(string.starts_with(&value_start(other, prefix)), has_it);
            }
            let term = Term::decode(&string[value_start(key, "").len()..]);
            assert_eq!((&*term.value, term.original()), (*value, original.unwrap_or(value)));
        }
    }
}
