//! Patterns of paths, as Backstage's targets and rules have them (npm's `minimatch`).
//!
//! `*` and `?` stand for characters within one name, `**` as a name of its own for any directories,
//! `[a-c]` and `[!a-c]` for one character, `{a,b}` for alternatives, `\*` for the character itself.
//! A name that starts with a dot is only found by a pattern that says the dot. There are no
//! `@(a|b)`, no `{1..9}` and no `!` in front. Matching takes at most as many steps as the product
//! of both lengths, whatever the pattern.

/// Most alternatives that braces may make of one pattern: each is tried on every path of a tree.
pub const ALTERNATIVES_MAX: usize = 64;

/// The characters that mean something in a pattern.
const SPECIAL: &str = "*?[]{},!^\\";

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// As it was written.
    text: String,
    alternatives: Vec<Vec<Segment>>,
    dots: Dots,
    case: Case,
}

/// Whether wildcards find names that start with a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dots {
    /// They have to be named.
    Named,
    /// They do.
    Any,
}

/// Whether case counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// It does.
    Counts,
    /// It does not.
    Ignored,
}

/// More than [`ALTERNATIVES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its braces make more than {ALTERNATIVES_MAX} patterns")]
pub struct TooMany;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// `**`
    Directories,
    Name(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Star,
    One,
    Exactly(char),
    Class { is_negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// A pattern of paths in a repository.
    pub fn new(text: &str) -> Result<Self, TooMany> {
        Self::with(text, Dots::Named, Case::Counts)
    }

    /// A pattern with these rules.
    pub fn with(text: &str, dots: Dots, case: Case) -> Result<Self, TooMany> {
        let mut alternatives = Vec::new();
        for plain in alternatives_of(text)? {
            let names = split_names(&folded(&plain, case));
            alternatives.push(names.iter().map(|name| segment(name)).collect());
        }
        Ok(Self { text: text.to_owned(), alternatives, dots, case })
    }

    /// Whether a path fits: one of its alternatives, or the very text of the pattern, because
    /// `[id]` may be the name of a directory.
    pub fn matches(&self, path: &str) -> bool {
        if path == self.text {
            return true;
        }
        let path = folded(path, self.case);
        let names: Vec<Vec<char>> =
            path.split('/').filter(|name| !name.is_empty()).map(|n| n.chars().collect()).collect();
        self.alternatives.iter().any(|segments| self.fits(segments, &names))
    }

    /// How much work it is to try it on all of these paths: for each alternative and path what the
    /// pattern has of characters, and its names times those of the path.
    pub fn steps(&self, paths: &[String]) -> usize {
        let mut own = (0, 0);
        for segment in self.alternatives.iter().flatten() {
            own.0 += 1;
            own.1 += match segment {
                Segment::Directories => 1,
                Segment::Name(tokens) => tokens.len(),
            };
        }
        let depths = paths.iter().map(|path| path.matches('/').count() + 2);
        depths.map(|depth| own.0 * depth + own.1).sum()
    }

    /// How many patterns without braces it stands for.
    pub fn alternatives(&self) -> usize {
        self.alternatives.len()
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn fits(&self, segments: &[Segment], names: &[Vec<char>]) -> bool {
        // `reached[i]`: the segments so far can stand for the first `i` names.
        let mut reached = vec![false; names.len() + 1];
        reached[0] = true;
        for (at, segment) in segments.iter().enumerate() {
            // At the end it stands for what is in the directory, which is not itself.
            let is_last = at > 0 && at + 1 == segments.len();
            let mut next = vec![false; names.len() + 1];
            match segment {
                Segment::Directories => {
                    let mut open = false;
                    for (index, is_reached) in reached.iter().enumerate() {
                        let may_pass = index > 0 && self.may_be_wild(&names[index - 1]);
                        open &= may_pass;
                        next[index] = open || (*is_reached && !is_last);
                        open |= is_reached;
                    }
                }
                Segment::Name(tokens) => {
                    for (index, name) in names.iter().enumerate() {
                        next[index + 1] = reached[index] && self.name_fits(tokens, name);
                    }
                }
            }
            reached = next;
        }
        reached[names.len()]
    }

    fn may_be_wild(&self, name: &[char]) -> bool {
        self.dots == Dots::Any || name.first() != Some(&'.')
    }

    fn name_fits(&self, tokens: &[Token], name: &[char]) -> bool {
        let says_dot = tokens.first() == Some(&Token::Exactly('.'));
        if !says_dot && !self.may_be_wild(name) {
            return false;
        }
        // Each star stands for as little as it can; only the last one is ever taken back.
        let (mut token, mut at) = (0, 0);
        let mut last_star: Option<(usize, usize)> = None;
        while at < name.len() {
            match tokens.get(token) {
                Some(Token::Star) => {
                    last_star = Some((token, at));
                    token += 1;
                }
                Some(one) if one.takes(name[at]) => {
                    token += 1;
                    at += 1;
                }
                _ => {
                    let Some((star, from)) = last_star else { return false };
                    last_star = Some((star, from + 1));
                    (token, at) = (star + 1, from + 1);
                }
            }
        }
        tokens[token..].iter().all(|token| *token == Token::Star)
    }
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::One => true,
            Self::Exactly(own) => *own == c,
            Self::Class { is_negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *is_negated
            }
        }
    }
}

/// Whether a path is a pattern rather than the name of one file.
pub fn is_glob(path: &str) -> bool {
    let holds = |open: char, close: char| {
        path.match_indices(open).any(|(at, _)| {
            let within = &path[at + open.len_utf8()..];
            within.find(close).is_some_and(|end| end > 0)
        })
    };
    path.contains('*') || holds('[', ']') || holds('{', '}')
}

/// The name as a pattern for itself.
pub fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    name.chars().for_each(|c| escape(c, &mut out));
    out
}

/// Writes a character as a pattern for itself.
pub fn escape(c: char, out: &mut String) {
    if SPECIAL.contains(c) {
        out.push('\\');
    }
    out.push(c);
}

fn folded(text: &str, case: Case) -> String {
    match case {
        Case::Counts => text.to_owned(),
        Case::Ignored => text.to_lowercase(),
    }
}

/// The patterns without braces that a pattern stands for.
fn alternatives_of(text: &str) -> Result<Vec<String>, TooMany> {
    let mut done = Vec::new();
    let mut open = vec![text.to_owned()];
    while let Some(pattern) = open.pop() {
        if open.len() + done.len() >= ALTERNATIVES_MAX {
            return Err(TooMany);
        }
        match first_braces(&pattern) {
            Some((start, end, commas)) => {
                let bounds: Vec<usize> = [vec![start], commas, vec![end]].concat();
                // The last one is taken first, so that the order stays.
                for pair in bounds.windows(2).rev() {
                    let middle = &pattern[pair[0] + 1..pair[1]];
                    open.push(format!("{}{middle}{}", &pattern[..start], &pattern[end + 1..]));
                }
            }
            None => done.push(pattern),
        }
    }
    Ok(done)
}

/// The first braces with a comma of their own: where they open and close, and the commas.
fn first_braces(text: &str) -> Option<(usize, usize, Vec<usize>)> {
    let mut opened: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut found: Option<(usize, usize, Vec<usize>)> = None;
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '{' => opened.push((at, Vec::new())),
            ',' => opened.iter_mut().last().into_iter().for_each(|(_, commas)| commas.push(at)),
            '}' => {
                let closed = opened.pop().filter(|(_, commas)| !commas.is_empty());
                if let Some((start, commas)) = closed
                    && found.as_ref().is_none_or(|(first, ..)| start < *first)
                {
                    found = Some((start, at, commas));
                }
            }
            _ => {}
        }
    }
    found
}

/// The names between slashes, without empty ones.
fn split_names(text: &str) -> Vec<String> {
    text.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn segment(name: &str) -> Segment {
    if name == "**" {
        return Segment::Directories;
    }
    let chars: Vec<char> = name.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let (token, length) = match chars[at] {
            '*' => (Token::Star, 1),
            '?' => (Token::One, 1),
            '\\' if at + 1 < chars.len() => (Token::Exactly(chars[at + 1]), 2),
            '[' => class(&chars[at..]).unwrap_or((Token::Exactly('['), 1)),
            c => (Token::Exactly(c), 1),
        };
        if !(token == Token::Star && tokens.last() == Some(&Token::Star)) {
            tokens.push(token);
        }
        at += length;
    }
    Segment::Name(tokens)
}

/// A class at the start of `chars`, and how many of them it takes.
fn class(chars: &[char]) -> Option<(Token, usize)> {
    let is_negated = matches!(chars.get(1), Some('!' | '^'));
    let start = if is_negated { 2 } else { 1 };
    // A bracket right after the opening one is one of the characters.
    let end = start + 1 + chars.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let mut ranges = Vec::new();
    let mut at = start;
    while at < end {
        if chars[at] == '\\' && at + 1 < end {
            at += 1;
        }
        let from = chars[at];
        if chars.get(at + 1) == Some(&'-') && at + 2 < end {
            ranges.push((from, chars[at + 2]));
            at += 3;
        } else {
            ranges.push((from, from));
            at += 1;
        }
    }
    Some((Token::Class { is_negated, ranges }, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, fits: &[&str], others: &[&str]) {
        let glob = Glob::new(pattern).unwrap();
        for path in fits {
            assert!(glob.matches(path), "{pattern} should match {path}");
        }
        for path in others {
            assert!(!glob.matches(path), "{pattern} should not match {path}");
        }
    }

    #[test]
    fn stars_stay_within_a_name_and_two_cross_directories() {
        check("a/*.yaml", &["a/x.yaml", "a/x.y.yaml"], &["a/b/x.yaml", "a/.yaml", "b/x.yaml"]);
        check("**/c.yaml", &["c.yaml", "a/c.yaml", "a/b/c.yaml"], &["xc.yaml", "a/c.yaml/d"]);
        check("a/**/c", &["a/c", "a/b/c", "a/b/b/c"], &["c", "ab/c"]);
        check("a/**", &["a/b", "a/b/c"], &["b/a", "a", "a/.b"]);
        check("*/**", &["a/b"], &["a"]);
        check("**", &["a", "a/b"], &[".a"]);
        check("a**b", &["ab", "axb"], &["a/b"]);
        check("*a*b*", &["ab", "xaybz", "aab"], &["ba", "a"]);
        check("x?z", &["xyz", "xéz"], &["xz", "x/z", "xyyz"]);
    }

    #[test]
    fn a_dot_in_front_has_to_be_named() {
        check("*/c", &["a/c"], &[".github/c"]);
        check("**/c", &["a/b/c"], &[".github/c", "a/.b/c"]);
        check("{*,.*}/c", &["a/c", ".github/c"], &[]);
        check("?x", &["ax"], &[".x"]);
        check("[.]x", &[], &[".x"]);
        let any = Glob::with("**/C", Dots::Any, Case::Ignored).unwrap();
        assert!(any.matches(".github/c") && any.matches("A/B/c"));
    }

    #[test]
    fn classes_and_alternatives() {
        check("[a-c]x", &["ax", "cx"], &["dx", "x"]);
        check("[!a-c]x", &["dx"], &["ax"]);
        check("[^a]x", &["bx"], &["ax"]);
        check("[]a]", &["]", "a"], &["[]a"]);
        check("{a,b{c,d}}/x", &["a/x", "bc/x", "bd/x"], &["b/x", "a"]);
        check("{a,}x", &["ax", "x"], &["bx"]);
        check("{a}", &["{a}"], &["a"]);
        check("a{b,c", &["a{b,c"], &["ab"]);
        check("app/[id]/c.yaml", &["app/[id]/c.yaml", "app/i/c.yaml"], &["app/id/c.yaml"]);
        check(r"\*\[a\]", &["*[a]"], &["xa"]);
        check(r"{a\,b,c}", &["a,b", "c"], &["a"]);
    }

    #[test]
    fn whatever_the_pattern_matching_ends_soon() {
        let path = "a".repeat(5_000);
        assert!(!Glob::new(&format!("{}b", "*a".repeat(500))).unwrap().matches(&path));
        let deep = "a/".repeat(2_000);
        assert!(!Glob::new(&format!("{}b", "**/a/".repeat(200))).unwrap().matches(&deep));
        assert_eq!(Glob::new(&"{a,b}".repeat(7)), Err(TooMany));
        assert!(Glob::new(&"{a,b}".repeat(5)).is_ok());
        assert_eq!(Glob::new(&"{".repeat(1_000)).unwrap().alternatives.len(), 1);
    }

    #[test]
    fn what_is_a_pattern() {
        for pattern in ["*", "a/**/b", "x[ab]", "{a,b}", "{a}"] {
            assert!(is_glob(pattern), "{pattern}");
        }
        for name in ["a.yaml", "a[.yaml", "[]", "a{}b", "(a)/b", "a?b", "]a["] {
            assert!(!is_glob(name), "{name}");
        }
    }

    #[test]
    fn an_escaped_name_is_a_pattern_for_itself() {
        for name in ["[id]", "a*b", "{x,y}", "!a", "a,b", "a\\b", "plain.yaml"] {
            let glob = Glob::new(&escaped(name)).unwrap();
            assert!(glob.matches(name), "{name}");
            assert!(!glob.matches("i"), "{name}");
        }
    }
}
