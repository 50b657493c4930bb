//! What the parser does not look at: how the lines of a text are indented.
//!
//! npm's `yaml` refuses tabs that indent, and lines of brackets and quotes that stand as far left
//! as the key they belong to; the parser takes both.
//!
//! To look at a place reads its line up to there. Whoever asks does so a few times a line.

use saphyr_parser::Marker;

/// The lines of a text, from 1.
pub(super) struct Lines<'a> {
    lines: Vec<&'a str>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { lines: text.split('\n').collect() }
    }

    /// Whether the place is indented, and with a tab.
    pub(super) fn is_indented_by_tab(&self, mark: &Marker) -> bool {
        let indentation = self.before(mark);
        is_white(indentation) && indentation.contains('\t')
    }

    /// Whether a tab is among the white space before the place.
    pub(super) fn stands_after_tab(&self, mark: &Marker) -> bool {
        let before = self.before(mark);
        before[before.trim_end_matches([' ', '\t']).len()..].contains('\t')
    }

    /// Whether an opening bracket stands before the place, with nothing but blanks and a comment
    /// between.
    pub(super) fn opens_before(&self, mark: &Marker) -> bool {
        let before = self.before(mark);
        let content = before.split(" #").next().unwrap_or(before);
        content.trim_end_matches([' ', '\t']).ends_with(['[', '{'])
    }

    /// Whether the first dash of a list stands at the place, rather than behind it. In a list that
    /// is a value, the first item may be a list too.
    pub(super) fn starts_list(&self, mark: &Marker, is_value: bool) -> bool {
        let before = self.before(mark);
        let rest = &self.line(mark.line())[before.len()..];
        let is_dash = rest
            .strip_prefix('-')
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r']));
        is_dash && !(is_value && before.trim_end().ends_with('-'))
    }

    /// The first of the lines from `first` to `last` that is indented by less than `columns`, with
    /// how far it is indented. Blank lines and comments may stand anywhere, and so may what closes
    /// in the last line at `closing`, as far left as its key.
    pub(super) fn too_far_left(
        &self,
        (first, last): (usize, usize),
        columns: u32,
        closing: Option<u32>,
    ) -> Option<(usize, usize)> {
        (first..=last).find_map(|number| {
            let line = self.line(number);
            let content = line.trim_start_matches(' ');
            let indentation = line.len() - content.len();
            let column = u32::try_from(indentation).map_or(u32::MAX, |n| n.saturating_add(1));
            let closes = number == last && column == columns && closing == Some(column);
            let is_free = content.trim().is_empty() || content.starts_with('#') || closes;
            (column <= columns && !is_free).then_some((number, indentation))
        })
    }

    fn line(&self, number: usize) -> &'a str {
        self.lines.get(number.saturating_sub(1)).copied().unwrap_or_default()
    }

    fn before(&self, mark: &Marker) -> &'a str {
        let line = self.line(mark.line());
        let end = line.char_indices().nth(mark.col()).map_or(line.len(), |(offset, _)| offset);
        &line[..end]
    }
}

fn is_white(text: &str) -> bool {
    text.chars().all(|c| c == ' ' || c == '\t')
}
