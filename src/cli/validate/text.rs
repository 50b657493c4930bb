//! Problems for people: as a compiler shows them, with the line and a caret below the place.

use std::io::{self, Write};

use super::{Finding, Report, printable};

/// Widest excerpt of a source line, in columns of the terminal.
const EXCERPT_COLUMNS_MAX: usize = 120;

/// Columns that a tab is shown as.
const TAB_COLUMNS: usize = 4;

/// Writes each problem and a summary.
pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for finding in &report.findings {
        problem(finding, out)?;
    }
    writeln!(out, "{}", summary(report))
}

/// `3 files checked, 1 problem`
pub(super) fn summary(report: &Report) -> String {
    let count = |n: usize, noun: &str| match n {
        1 => format!("1 {noun}"),
        n => format!("{n} {noun}s"),
    };
    let (files, problems) = (count(report.files, "file"), count(report.findings.len(), "problem"));
    format!("{files} checked, {problems}")
}

fn problem(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    let (problem, path) = (&finding.problem, printable(&finding.problem.path));
    let (code, message) = (problem.code, printable(&problem.message));
    let Some(text) = &finding.text else {
        return writeln!(out, "{path}: error[{code}]: {message}");
    };
    let (line, column) = (problem.line, problem.column);
    writeln!(out, "{path}:{line}:{column}: error[{code}]: {message}")?;
    let index = (line as usize).saturating_sub(1);
    if let Some(source_line) = text.lines().nth(index) {
        let (excerpt, caret) = excerpt(source_line, (column as usize).saturating_sub(1));
        let gutter = " ".repeat(line.to_string().len());
        writeln!(out, "{gutter} |")?;
        writeln!(out, "{line} | {excerpt}")?;
        writeln!(out, "{gutter} | {}^", " ".repeat(caret))?;
    }
    Ok(())
}

/// The part of a line around a character, as it is shown, and the column to point at.
fn excerpt(line: &str, index: usize) -> (String, usize) {
    let mut shown = String::new();
    let mut columns = 0;
    let mut caret = None;
    for (position, c) in line.chars().enumerate() {
        if position == index {
            caret = Some(columns);
        }
        let width = width(c);
        if columns + width > EXCERPT_COLUMNS_MAX {
            match caret {
                Some(_) => break,
                // Not there yet: begin anew.
                None => (shown, columns) = ("…".to_owned(), 1),
            }
        }
        match c {
            '\t' => shown.push_str(&" ".repeat(TAB_COLUMNS)),
            c if c.is_control() => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
        columns += width;
    }
    (shown, caret.unwrap_or(columns))
}

/// How many columns a terminal gives a character: an approximation of Unicode's East Asian width
/// that knows the large blocks.
const fn width(c: char) -> usize {
    match c {
        '\t' => TAB_COLUMNS,
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_excerpt(line: &str, index: usize, expected: &str, caret: usize) {
        assert_eq!(excerpt(line, index), (expected.to_owned(), caret), "{line}");
    }

    #[test]
    fn the_caret_stands_below_its_character() {
        check_excerpt("a: b", 3, "a: b", 3);
        check_excerpt("a:\tb", 3, "a:    b", 6);
        check_excerpt("名前: é", 4, "名前: é", 6);
        check_excerpt("e\u{301}: x", 4, "e\u{301}: x", 3);
        check_excerpt("a: \u{1b}[2J", 9, "a: \u{fffd}[2J", 7);
        check_excerpt("", 5, "", 0);
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let (shown, caret) = excerpt(&"x".repeat(1000), 700);
        assert!(shown.starts_with('…') && caret < EXCERPT_COLUMNS_MAX);
        assert!(shown.chars().count() <= EXCERPT_COLUMNS_MAX);
    }
}
