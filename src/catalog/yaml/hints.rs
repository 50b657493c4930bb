//! What usually lies behind the parser's complaints, for people who do not know YAML's grammar.

/// Complaints by how they begin, and what to do about them.
const HINTS: [(&str, &str); 10] = [
    (
        "mapping values are not allowed",
        "a value that contains `: ` needs quotes; else check the indentation",
    ),
    ("block sequence entries are not allowed", "a list starts on a line of its own"),
    ("tabs disallowed within this context", "indent with spaces"),
    ("while scanning a plain scalar, found a tab", "indent with spaces"),
    ("unexpected character: ", "a value that starts with it needs quotes"),
    ("while parsing node, found unknown anchor", "a value that starts with `*` needs quotes"),
    ("while scanning a quoted scalar, found unexpected end", "the quote is never closed"),
    ("invalid indentation in quoted scalar", "is the quote closed?"),
    ("while parsing a block mapping, did not find expected key", "check the indentation"),
    ("while parsing a flow", "is the bracket closed?"),
];

/// The complaint with what may help.
pub(super) fn with_hint(message: String) -> String {
    match HINTS.iter().find(|(start, _)| message.starts_with(start)) {
        Some((_, hint)) => format!("{message} ({hint})"),
        None => message,
    }
}
