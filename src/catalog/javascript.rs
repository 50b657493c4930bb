//! What JavaScript says of a text that is no JSON: clients and their tests compare the words of
//! Backstage's answers, and Backstage passes these on.
//!
//! The words are those of V8 as Node 20 has it. Nothing is read into values here.

use base64::Engine;
use base64::alphabet::STANDARD as STANDARD_ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

/// Letters of a text that are shown on either side of the one that is wrong.
const SHOWN_AROUND: usize = 10;

/// Why a text is no JSON. Of a text that is, it says that it has ended.
pub fn syntax_error(text: &str) -> String {
    find_error(text).unwrap_or_else(|| END.to_owned())
}

/// Why a text is no JSON, if it is none.
pub fn find_error(text: &str) -> Option<String> {
    let letters: Vec<char> = text.chars().collect();
    Reader { letters: &letters, at: 0 }.document().err()
}

/// The same where the text has to be an object or a list: what else it is, is its first letter.
pub fn body_error(text: &str) -> String {
    let start = text.trim_start_matches([' ', '\t', '\n', '\r']);
    if start.is_empty() || start.starts_with(['{', '[']) {
        return syntax_error(text);
    }
    let letters: Vec<char> = text.chars().collect();
    let at = letters.len() - start.chars().count();
    Reader { letters: &letters, at }.unexpected()
}

/// Whether JavaScript takes the name of a member for an index: such members come before all others
/// of their object, in order.
pub fn index(name: &str) -> Option<u32> {
    let is_plain = name == "0" || !name.starts_with(['0', '+']);
    name.parse().ok().filter(|index| is_plain && *index != u32::MAX)
}

/// The bytes that Node reads from base64: in either alphabet, up to the first `=`, and without
/// what belongs to none.
pub fn from_base64(text: &str) -> Vec<u8> {
    let letters = text.bytes().take_while(|byte| *byte != b'=').filter_map(|byte| match byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        b'+' | b'/' => Some(byte),
        byte => byte.is_ascii_alphanumeric().then_some(byte),
    });
    let mut letters: Vec<u8> = letters.collect();
    // A letter alone is less than a byte.
    if letters.len() % 4 == 1 {
        letters.pop();
    }
    let engine =
        GeneralPurpose::new(&STANDARD_ALPHABET, NO_PAD.with_decode_allow_trailing_bits(true));
    engine.decode(letters).unwrap_or_default()
}

const END: &str = "Unexpected end of JSON input";

struct Reader<'a> {
    letters: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn next(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn skip_spaces(&mut self) {
        while self.next().is_some_and(|letter| [' ', '\t', '\n', '\r'].contains(&letter)) {
            self.at += 1;
        }
    }

    fn wrong<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("{what} in JSON at position {}", self.at))
    }

    fn unexpected(&self) -> String {
        let Some(found) = self.next() else { return END.to_owned() };
        let (from, to) = (
            self.at.saturating_sub(SHOWN_AROUND),
            (self.at + SHOWN_AROUND).min(self.letters.len()),
        );
        // What is short is shown whole.
        let is_short = self.letters.len() <= 4 * SHOWN_AROUND;
        let (from, to) = if is_short { (0, self.letters.len()) } else { (from, to) };
        let shown: String = self.letters[from..to].iter().collect();
        let before = if from > 0 { "..." } else { "" };
        let after = if to < self.letters.len() { "... " } else { " " };
        format!("Unexpected token '{found}', {before}\"{shown}\"{after}is not valid JSON")
    }

    fn document(&mut self) -> Result<(), String> {
        // A list of what is open, in place of a recursion that a text could make deep.
        let mut open: Vec<char> = Vec::new();
        loop {
            self.skip_spaces();
            match self.next() {
                Some('{') => {
                    self.at += 1;
                    self.skip_spaces();
                    if self.next() != Some('}') {
                        open.push('}');
                        self.name("Expected property name or '}'")?;
                        continue;
                    }
                    self.at += 1;
                }
                Some('[') => {
                    self.at += 1;
                    self.skip_spaces();
                    if self.next() != Some(']') {
                        open.push(']');
                        continue;
                    }
                    self.at += 1;
                }
                _ => self.scalar()?,
            }
            if self.after_value(&mut open)? {
                return Ok(());
            }
        }
    }

    /// What follows a value: true at the end, false before the next value.
    fn after_value(&mut self, open: &mut Vec<char>) -> Result<bool, String> {
        loop {
            self.skip_spaces();
            match (open.last().copied(), self.next()) {
                (None, None) => return Ok(true),
                (None, Some(_)) => {
                    let at = self.at;
                    return Err(format!(
                        "Unexpected non-whitespace character after JSON at position {at}"
                    ));
                }
                (Some(end), Some(found)) if end == found => {
                    self.at += 1;
                    open.pop();
                }
                (Some(end), Some(',')) => {
                    self.at += 1;
                    self.skip_spaces();
                    if end == '}' {
                        self.name("Expected double-quoted property name")?;
                    }
                    return Ok(false);
                }
                (Some('}'), _) => {
                    return self.wrong("Expected ',' or '}' after property value");
                }
                (Some(_), _) => return self.wrong("Expected ',' or ']' after array element"),
            }
        }
    }

    fn name(&mut self, otherwise: &str) -> Result<(), String> {
        if self.next() != Some('"') {
            return self.wrong(otherwise);
        }
        self.text()?;
        self.skip_spaces();
        if self.next() != Some(':') {
            return self.wrong("Expected ':' after property name");
        }
        self.at += 1;
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), String> {
        match self.next() {
            Some('"') => self.text(),
            Some('-' | '0'..='9') => self.number(),
            _ => {
                let rest = &self.letters[self.at..];
                let starts = |word: &&str| word.chars().next().as_ref() == rest.first();
                let word = ["true", "false", "null"].into_iter().find(starts);
                let Some(word) = word else { return Err(self.unexpected()) };
                for wanted in word.chars() {
                    if self.next() != Some(wanted) {
                        return Err(self.unexpected());
                    }
                    self.at += 1;
                }
                Ok(())
            }
        }
    }

    fn number(&mut self) -> Result<(), String> {
        if self.next() == Some('-') {
            self.at += 1;
            if !self.next().is_some_and(|letter| letter.is_ascii_digit()) {
                return self.wrong("No number after minus sign");
            }
        }
        match self.next() {
            Some('0') => {
                self.at += 1;
                if self.next().is_some_and(|letter| letter.is_ascii_digit()) {
                    return self.wrong("Unexpected number");
                }
            }
            _ => self.digits(),
        }
        if self.next() == Some('.') {
            self.at += 1;
            if !self.next().is_some_and(|letter| letter.is_ascii_digit()) {
                return self.wrong("Unterminated fractional number");
            }
            self.digits();
        }
        if self.next().is_some_and(|letter| ['e', 'E'].contains(&letter)) {
            self.at += 1;
            if self.next().is_some_and(|letter| ['+', '-'].contains(&letter)) {
                self.at += 1;
            }
            if !self.next().is_some_and(|letter| letter.is_ascii_digit()) {
                return self.wrong("Exponent part is missing a number");
            }
            self.digits();
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.next().is_some_and(|letter| letter.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn text(&mut self) -> Result<(), String> {
        self.at += 1;
        loop {
            match self.next() {
                None => return self.wrong("Unterminated string"),
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('\\') => {
                    self.at += 1;
                    self.escape()?;
                }
                Some(letter) if letter < ' ' => {
                    return self.wrong("Bad control character in string literal");
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        match self.next() {
            None => return Err(END.to_owned()),
            Some('u') => {
                for _ in 0..4 {
                    self.at += 1;
                    if !self.next().is_some_and(|letter| letter.is_ascii_hexdigit()) {
                        return self.wrong("Bad Unicode escape");
                    }
                }
            }
            Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => {}
            Some(_) => return self.wrong("Bad escaped character"),
        }
        self.at += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_node() {
        let said = include_str!("../../fixtures/contract/syntax-errors.json");
        let said: Vec<(String, String)> = serde_json::from_str(said).unwrap();
        for (text, expected) in said {
            assert_eq!(syntax_error(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_body_that_is_no_object_fails_at_its_first_letter() {
        let text = "  \"x\"";
        let expected = "Unexpected token '\"', \"  \"x\"\" is not valid JSON";
        assert_eq!(body_error(text), expected);
        assert_eq!(body_error("{"), "Expected property name or '}' in JSON at position 1");
    }

    #[test]
    fn some_names_are_indices() {
        for (name, expected) in [("0", Some(0)), ("17", Some(17)), ("4294967294", Some(4294967294))]
        {
            assert_eq!(index(name), expected, "{name}");
        }
        for name in ["", "00", "07", "+1", "-1", "1.0", "4294967295", "a"] {
            assert_eq!(index(name), None, "{name}");
        }
    }

    #[test]
    fn no_depth_is_too_much() {
        let deep = "[".repeat(200_000);
        assert_eq!(syntax_error(&deep), END);
    }
}
