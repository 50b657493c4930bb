//! Rows of text in columns, for people.

use std::io::Write;

/// Writes the head and the rows, each column as wide as its widest cell. Cells may hold what
/// somebody else wrote: no control character reaches the terminal.
pub fn write<const N: usize>(
    head: &[&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.into_iter().map(|cells| cells.map(|cell| printable(&cell))));
    let width = |at: usize| lines.iter().map(|cells| cells[at].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|at| width(at).unwrap_or(0)).collect();
    for cells in &lines {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())?;
    }
    Ok(())
}

/// The text without control characters.
pub fn printable(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}
