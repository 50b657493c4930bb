//! Cuts a text into its documents before any of them is parsed.
//!
//! YAML forbids a line that starts with `---` or `...` inside any content, even of a quoted or a
//! block scalar, so cutting there is exact, and an error in one document cannot reach the next.

use std::borrow::Cow;

use super::{Position, SyntaxError};

/// The text of one document with its directives.
#[derive(Debug)]
pub(super) struct Chunk<'a> {
    /// The text; directives that the parser need not see are made comments of the same length.
    pub(super) text: Cow<'a, str>,
    /// Lines of the file before it.
    pub(super) lines_before: u32,
    /// Whether `%YAML 1.1` holds.
    pub(super) yaml_1_1: bool,
    /// What is wrong with its directives.
    pub(super) error: Option<SyntaxError>,
    /// Whether it is a document, be it an empty one: it has content, or a line `---` or `...`.
    pub(super) is_document: bool,
}

impl Chunk<'_> {
    /// The first place that is neither blank, comment, directive nor `---`.
    pub(super) fn content_at(&self) -> Position {
        let first = self.lines_before + 1;
        for (line, number) in self.text.lines().zip(first..) {
            let content = marker(line).unwrap_or(line);
            let content_trimmed = content.trim_start();
            if content_trimmed.is_empty() || content_trimmed.starts_with(['#', '%']) {
                continue;
            }
            let before = line.len() - content_trimmed.len();
            let column = line[..before].chars().count() + 1;
            return Position { line: number, column: u32::try_from(column).unwrap_or(u32::MAX) };
        }
        Position { line: first, column: 1 }
    }

    /// A place behind the content (the parser found nothing where it looked for more) moves to
    /// the end of the content: what is missing is missing there.
    pub(super) fn within(&self, at: Position) -> Position {
        let content = self.text.trim_end();
        let (mut line, mut columns) = (self.lines_before + 1, 0);
        if let Some((last, number)) = content.split('\n').zip(line..).last() {
            (line, columns) = (number, last.chars().count());
        }
        if at.line <= line {
            return at;
        }
        Position { line, column: u32::try_from(columns + 1).unwrap_or(u32::MAX) }
    }
}

/// All chunks of a text, also those without content.
pub(super) fn split(text: &str) -> Vec<Chunk<'_>> {
    let mut splitter =
        Splitter { text, chunks: Vec::new(), yaml_1_1: false, open: Open::new(0, 0) };
    let mut offset = 0;
    for (line, number) in text.split_inclusive('\n').zip(0..) {
        splitter.line(line, offset, number);
        offset += line.len();
    }
    splitter.close(text.len(), false);
    splitter.chunks
}

/// What follows a document marker on its line, when the line starts with one.
fn marker(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("---").or_else(|| line.strip_prefix("..."))?;
    (rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])).then_some(rest)
}

fn blank_or_comment(text: &str) -> bool {
    let text = text.trim_start();
    text.is_empty() || text.starts_with('#')
}

/// Two numbers and a dot between them.
fn is_version(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| digits(major) && digits(minor))
}

fn fault(line: u32, message: &str) -> SyntaxError {
    SyntaxError { at: Position { line, column: 1 }, message: message.to_owned() }
}

/// The chunk being collected.
struct Open {
    start: usize,
    lines_before: u32,
    /// Only blank lines, comments and directives so far, and directives are still allowed.
    prefix: bool,
    /// Where directives stand that are to become comments, and where the first of any stands.
    hidden: Vec<usize>,
    directive_line: Option<u32>,
    error: Option<SyntaxError>,
}

impl Open {
    const fn new(start: usize, lines_before: u32) -> Self {
        Self {
            start,
            lines_before,
            prefix: true,
            hidden: Vec::new(),
            directive_line: None,
            error: None,
        }
    }
}

struct Splitter<'a> {
    text: &'a str,
    chunks: Vec<Chunk<'a>>,
    /// Once said, 1.1 holds until another `%YAML` says otherwise, as in npm's `yaml`.
    yaml_1_1: bool,
    open: Open,
}

impl Splitter<'_> {
    fn line(&mut self, line: &str, offset: usize, number: u32) {
        match marker(line) {
            Some(_) if line.starts_with("---") => {
                if !self.open.prefix {
                    self.close(offset, true);
                    self.open = Open::new(offset, number);
                }
                self.open.prefix = false;
                self.open.directive_line = None;
            }
            Some(rest) => {
                // A clean end marker is cut off; with junk behind it the parser shall complain.
                let end = offset + line.len();
                self.close(if blank_or_comment(rest) { offset } else { end }, true);
                self.open = Open::new(end, number + 1);
            }
            None if self.open.prefix && line.starts_with('%') => {
                self.directive(line, offset, number)
            }
            None if self.open.prefix && !blank_or_comment(line) => self.open.prefix = false,
            None => {}
        }
    }

    fn directive(&mut self, line: &str, offset: usize, number: u32) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        if name == "%YAML" {
            let version = words.next().unwrap_or_default();
            self.yaml_1_1 = version == "1.1";
            let message = "`%YAML` takes one version, like `%YAML 1.2`";
            if words.next().is_some() || !is_version(version) {
                self.open.error.get_or_insert(fault(number + 1, message));
            }
        }
        if name != "%TAG" {
            self.open.hidden.push(offset);
        }
        self.open.directive_line.get_or_insert(number + 1);
    }

    fn close(&mut self, end: usize, is_marked: bool) {
        let open = &self.open;
        let mut raw = &self.text[open.start..end];
        // A last line of blanks without a line feed is no line, even in a block scalar.
        let trimmed = raw.trim_end_matches([' ', '\t']);
        if trimmed.ends_with('\n') {
            raw = trimmed;
        }
        let mut text = Cow::Borrowed(raw);
        for offset in &open.hidden {
            let at = offset - open.start;
            text.to_mut().replace_range(at..=at, "#");
        }
        let without_marker = || {
            // Directives before nothing at all are no document.
            let line = open.directive_line.filter(|_| !open.prefix)?;
            Some(fault(line, "a directive must be followed by a line `---`"))
        };
        let error = open.error.clone().or_else(without_marker);
        self.chunks.push(Chunk {
            text,
            lines_before: open.lines_before,
            yaml_1_1: self.yaml_1_1,
            error,
            is_document: is_marked || !self.open.prefix,
        });
    }
}
