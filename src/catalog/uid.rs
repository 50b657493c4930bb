//! `metadata.uid` as bytes: small to keep, and in the order of its text.

use std::fmt;

use crate::catalog::identity;

/// The bytes of an entity's uid: a third of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uid([u8; 16]);

impl Uid {
    /// The uid of a ref in lower case.
    pub fn of(entity_ref: &str) -> Self {
        Self::parse(&identity::uid(entity_ref)).expect("uids are made in the form of a UUID")
    }

    /// Reads the form with hyphens; `None` when it is no UUID.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.replace('-', "");
        let is_uid = text.len() == 36 && digits.len() == 32;
        let number = is_uid.then(|| u128::from_str_radix(&digits, 16).ok()).flatten()?;
        Some(Self(number.to_be_bytes()))
    }
}

impl Uid {
    /// The uid nearest to a text in the order of texts: for places that others made up.
    pub fn near(text: &str) -> Self {
        let mut digits = String::with_capacity(32);
        for (at, letter) in text.chars().enumerate().take(36) {
            match letter {
                '-' if [8, 13, 18, 23].contains(&at) => {}
                '0'..='9' | 'a'..='f' => digits.push(letter),
                // After all digits but before the letters.
                ':'..='`' => return Self::filled(&format!("{digits}9"), 'f'),
                'g'.. => return Self::filled(&digits, 'f'),
                _ => break,
            }
        }
        Self::filled(&digits, '0')
    }

    fn filled(digits: &str, with: char) -> Self {
        let text: String = digits.chars().chain(std::iter::repeat(with)).take(32).collect();
        let number = u128::from_str_radix(&text, 16).expect("32 digits are a number");
        Self(number.to_be_bytes())
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:032x}", u128::from_be_bytes(self.0));
        let (a, b, c, d, e) = (&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]);
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_written_as_it_is_read_and_ordered_as_its_text() {
        let refs = ["component:default/a", "api:default/b", "group:x/c"];
        let mut uids = refs.map(Uid::of);
        for (uid, entity_ref) in uids.iter().zip(refs) {
            assert_eq!(uid.to_string(), identity::uid(entity_ref));
            assert_eq!(Uid::parse(&uid.to_string()), Some(*uid));
        }
        uids.sort();
        let mut texts = refs.map(identity::uid);
        texts.sort();
        assert_eq!(uids.map(|uid| uid.to_string()), texts);
        for uid in uids {
            assert_eq!(Uid::near(&uid.to_string()), uid);
        }
        let made_up = ["", "00", "1", "1b-", "1b1b1aa4-5fcf", "9", "A", "a", "f0", "nope"];
        assert!(made_up.map(Uid::near).is_sorted());
        for text in ["", "nope", "1b1b1aa45fcf58c29ef4dab14db6973f", "+1"] {
            assert_eq!(Uid::parse(text), None, "{text}");
        }
    }
}
