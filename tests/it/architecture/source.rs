//! Rust text as the rules look at it: code without comments and literals, comments apart, and
//! code that only tests see blanked out.
//!
//! A lexer of a page, not a parser: it knows comments, strings, raw strings and characters, and
//! that `#[cfg(test)]` covers the item after it. Macros that make items are not looked into.

/// A file split into what the rules ask about; each text keeps the lines of the original.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The code, comments and the inside of literals blanked.
    pub code: String,
    /// The comments alone.
    pub comments: String,
    /// Lines (from 0) that hold a part of a string literal.
    pub string_lines: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Is {
    Code,
    Comment,
    Literal,
}

impl Source {
    /// Splits `text`.
    pub fn read(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let kinds = classify(&chars);
        let only = |wanted: Is| -> String {
            let pairs = chars.iter().zip(&kinds);
            pairs.map(|(c, is)| if *c == '\n' || *is == wanted { *c } else { ' ' }).collect()
        };
        let mut string_lines = Vec::new();
        let mut line = 0;
        for (c, is) in chars.iter().zip(&kinds) {
            if *is == Is::Literal && string_lines.last() != Some(&line) {
                string_lines.push(line);
            }
            line += usize::from(*c == '\n');
        }
        Self { code: only(Is::Code), comments: only(Is::Comment), string_lines }
    }

    /// The code without items under `#[cfg(test)]`.
    pub fn shipped(&self) -> String {
        let mut out = self.code.clone();
        while let Some(start) = out.find("#[cfg(test)]") {
            let end = start + item_end(&out[start..]);
            let blank: String =
                out[start..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
            out.replace_range(start..end, &blank);
        }
        out
    }
}

/// Where the item that `text` starts with ends: at the `;` or the closing brace.
fn item_end(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn classify(chars: &[char]) -> Vec<Is> {
    let mut kinds = vec![Is::Code; chars.len()];
    let mut at = 0;
    while at < chars.len() {
        let (is, end) = token(chars, at);
        let end = end.min(chars.len());
        kinds[at..end].fill(is);
        at = end;
    }
    kinds
}

/// What starts at `at`, and where it ends. Quotes count as code, so that `""` stays to be seen.
fn token(chars: &[char], at: usize) -> (Is, usize) {
    let next = chars.get(at + 1).copied();
    match (chars[at], next) {
        ('/', Some('/')) => (Is::Comment, find(chars, at, |c| c == '\n')),
        ('/', Some('*')) => (Is::Comment, block_comment_end(chars, at)),
        ('"', _) => (Is::Literal, string_end(chars, at + 1)),
        ('r', Some('"' | '#')) if !is_word_before(chars, at) => raw_string(chars, at),
        ('\'', Some('\\')) => (Is::Literal, find(chars, at + 3, |c| c == '\'') + 1),
        ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => (Is::Literal, at + 3),
        _ => (Is::Code, at + 1),
    }
}

fn find(chars: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|at| wanted(chars[*at])).unwrap_or(chars.len())
}

/// Whether the `r` at `at` ends a word (`br"…"` is a literal, `for"` cannot stand in Rust).
fn is_word_before(chars: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).map(|b| chars[b]);
    before.is_some_and(|c| (c.is_alphanumeric() && c != 'b') || c == '_')
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_string(chars: &[char], at: usize) -> (Is, usize) {
    let quote = find(chars, at + 1, |c| c != '#');
    if chars.get(quote) != Some(&'"') {
        return (Is::Code, at + 1);
    }
    let hashes = quote - at - 1;
    let closes = |end: usize| {
        chars[end] == '"'
            && chars.len() > end + hashes
            && chars[end + 1..=end + hashes].iter().all(|c| *c == '#')
    };
    let end = (quote + 1..chars.len()).find(|end| closes(*end));
    (Is::Literal, end.map_or(chars.len(), |end| end + hashes + 1))
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    chars.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_not_code() {
        let source = Source::read(
            "let a = \"crate::x \\\" y\"; // crate::z\nlet b = r#\"crate::\"q\"#; /* a /* b */ c */ f('\"', 'x);",
        );
        assert!(!source.code.contains("crate"), "{}", source.code);
        assert!(source.code.contains("f(") && source.code.contains("'x);"), "{}", source.code);
        assert!(source.comments.contains("// crate::z"));
        assert!(source.comments.contains("/* a /* b */ c */"));
        assert_eq!(source.string_lines, [0, 1]);
    }

    #[test]
    fn items_under_cfg_test_are_not_shipped() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() { x }\n}\nfn c() {}\n#[cfg(test)]\nmod d;\nfn e() {}";
        let shipped = Source::read(text).shipped();
        assert_eq!(shipped.lines().count(), text.lines().count());
        assert_eq!(shipped.split_whitespace().collect::<String>(), "fna(){}fnc(){}fne(){}");
    }
}
