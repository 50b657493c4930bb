//! White space that YAML and npm's `yaml` allow and the parser refuses.
//!
//! The parser's complaint tells the place; there the white space is made one that means the same,
//! on the same line and without moving anything that has a place of its own.

use std::borrow::Cow;

use super::SyntaxError;

/// What the parser says to `key:<tab>value`, suspecting a nested block.
const TAB_REFUSED: &str = "':' must be followed by a valid YAML whitespace";

/// What it says, among others, to the closing bracket of an empty `[` or `{` that stands as far
/// left as its key.
const BRACKET_REFUSED: &str = "invalid indentation";

/// Mends the text where the fault is. False when there is nothing to mend: the fault is real.
pub(super) fn repair(text: &mut Cow<'_, str>, lines_before: u32, fault: &SyntaxError) -> bool {
    let line_index = fault.at.line.saturating_sub(lines_before + 1) as usize;
    let line_start: usize = text.split_inclusive('\n').take(line_index).map(str::len).sum();
    let columns = fault.at.column.saturating_sub(1) as usize;
    let place = text[line_start..]
        .char_indices()
        .nth(columns)
        .map_or(text.len(), |(offset, _)| line_start + offset);
    match fault.message.as_str() {
        TAB_REFUSED => spaces_for_tabs(text, place),
        BRACKET_REFUSED => indent_bracket(text, line_start, place),
        _ => false,
    }
}

fn spaces_for_tabs(text: &mut Cow<'_, str>, end: usize) -> bool {
    let start = text[..end].trim_end_matches([' ', '\t']).len();
    if !text[start..end].contains('\t') {
        return false;
    }
    let spaces = " ".repeat(end - start);
    text.to_mut().replace_range(start..end, &spaces);
    true
}

fn indent_bracket(text: &mut Cow<'_, str>, line_start: usize, place: usize) -> bool {
    let before = text[..line_start].trim_end();
    let empty = before.ends_with(['[', '{']) && text[place..].starts_with([']', '}']);
    let first_on_line = text[line_start..place].trim().is_empty();
    if !(empty && first_on_line) {
        return false;
    }
    // As far right as the opening bracket is right of any key that could ask for it.
    let opening_line = before.rsplit('\n').next().unwrap_or_default();
    let spaces = " ".repeat(opening_line.len());
    text.to_mut().insert_str(place, &spaces);
    true
}
