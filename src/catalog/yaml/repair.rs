//! White space that YAML and npm's `yaml` allow and the parser refuses.
//!
//! The parser's complaint tells the place; there the white space is made one that means the same.
//! Where a blank has to be put in, it is remembered, so that every place is told as in the text.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Position, SyntaxError};

/// What the parser says to `key:<tab>value`, suspecting a nested block.
const TAB_REFUSED: &str = "':' must be followed by a valid YAML whitespace";

/// What it says, among others, to the closing bracket of an empty `[` or `{` that stands as far
/// left as its key.
const BRACKET_REFUSED: &str = "invalid indentation";

/// What it says to `{key:[]}`.
const NO_BLANK_REFUSED: &str = "':' may not precede any of `[{` in flow mapping";

/// The text of a chunk, mended as far as need be.
pub(super) struct Repaired<'a> {
    pub(super) text: Cow<'a, str>,
    lines_before: u32,
    /// By the line of the chunk, from 1; those of a line from left to right.
    blanks: HashMap<usize, Vec<Blanks>>,
}

/// Blanks that were put in.
struct Blanks {
    /// The column where they start, from 0, in the text as it is now: lines are mended from left
    /// to right.
    column: usize,
    count: usize,
    /// How many were put in before them in their line.
    before: usize,
}

impl<'a> Repaired<'a> {
    pub(super) fn new(text: Cow<'a, str>, lines_before: u32) -> Self {
        Self { text, lines_before, blanks: HashMap::new() }
    }

    /// The place in the file that a line (from 1) and a column (from 0) of the text stand for.
    pub(super) fn position(&self, line: usize, column: usize) -> Position {
        let of_line = self.blanks.get(&line).map_or(&[][..], Vec::as_slice);
        let before = of_line.partition_point(|blanks| blanks.column < column);
        let put_in = before.checked_sub(1).map_or(0, |last| {
            let last = &of_line[last];
            last.before + (column - last.column).min(last.count)
        });
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position {
            line: self.lines_before.saturating_add(clamp(line)),
            column: clamp(column - put_in).saturating_add(1),
        }
    }

    /// Mends the text where the fault is. False when there is nothing to mend: the fault is real.
    pub(super) fn mend(&mut self, fault: &SyntaxError) -> bool {
        let line = fault.at.line.saturating_sub(self.lines_before) as usize;
        let line_start: usize =
            self.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let mut column = fault.at.column.saturating_sub(1) as usize;
        for blanks in self.blanks.get(&line).into_iter().flatten() {
            if blanks.column <= column {
                column += blanks.count;
            }
        }
        let place = self.text[line_start..]
            .char_indices()
            .nth(column)
            .map_or(self.text.len(), |(offset, _)| line_start + offset);
        match fault.message.as_str() {
            TAB_REFUSED => self.spaces_for_tabs(place),
            BRACKET_REFUSED => {
                let count = self.blanks_before_bracket(line_start, place);
                self.put_in(count, (line, column), place)
            }
            NO_BLANK_REFUSED if self.text[place..].starts_with(':') => {
                self.put_in(1, (line, column + 1), place + 1)
            }
            _ => false,
        }
    }

    fn put_in(&mut self, count: usize, (line, column): (usize, usize), place: usize) -> bool {
        if count == 0 {
            return false;
        }
        self.text.to_mut().insert_str(place, &" ".repeat(count));
        let of_line = self.blanks.entry(line).or_default();
        let before = of_line.last().map_or(0, |last| last.before + last.count);
        of_line.push(Blanks { column, count, before });
        true
    }

    fn spaces_for_tabs(&mut self, end: usize) -> bool {
        let start = self.text[..end].trim_end_matches([' ', '\t']).len();
        if !self.text[start..end].contains('\t') {
            return false;
        }
        let spaces = " ".repeat(end - start);
        self.text.to_mut().replace_range(start..end, &spaces);
        true
    }

    fn blanks_before_bracket(&self, line_start: usize, place: usize) -> usize {
        let before = without_comments(&self.text[..line_start]);
        let empty = before.ends_with(['[', '{']) && self.text[place..].starts_with([']', '}']);
        let first_on_line = self.text[line_start..place].trim().is_empty();
        if !(empty && first_on_line) {
            return 0;
        }
        // As far right as the opening bracket is right of any key that could ask for it.
        before.rsplit('\n').next().unwrap_or_default().chars().count()
    }
}

/// The text up to its last bracket, if nothing but comments follows.
fn without_comments(text: &str) -> &str {
    let Some(last) = text.rfind(['[', '{']) else { return text };
    let rest = &text[last + 1..];
    let is_comment = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#')
    };
    if rest.starts_with([' ', '\t', '\r', '\n']) && rest.lines().all(is_comment) {
        &text[..=last]
    } else {
        text.trim_end()
    }
}
