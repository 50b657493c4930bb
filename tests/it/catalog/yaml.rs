//! `fixtures/yaml/cases.json`: texts and the documents they are. The values agree with npm's
//! `yaml`, the places are ours.

use std::time::{Duration, Instant};

use cuelight::catalog::yaml::{
    ALIASES_MAX, DEPTH_MAX, DOCUMENTS_MAX, NODES_MAX, Part, Position, TEXT_BYTES_MAX, parse,
};
use serde_json::{Value, json};

use super::{read, root};

fn place(at: Position) -> Value {
    json!([at.line, at.column])
}

#[test]
fn every_text_of_the_table_is_read_as_expected() {
    // Read by another parser: a table cannot vouch for the code that reads it.
    let cases: Vec<Value> = serde_json::from_str(&read("fixtures/yaml/cases.json")).unwrap();
    for case in &cases {
        let found: Vec<Value> = parse(case["text"].as_str().unwrap())
            .into_iter()
            .map(|document| match document.root {
                Ok(root) => json!({"at": place(root.at), "value": root.to_json()}),
                Err(error) => json!({"at": place(error.at), "error": error.message}),
            })
            .collect();
        assert_eq!(Value::Array(found), case["documents"], "{}", case["about"]);
    }
    assert!(cases.len() >= 50, "the table has shrunk to {} cases", cases.len());
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    let documents = parse(text);
    let error = documents[0].root.as_ref().expect_err("this text is too much");
    assert!(error.message.contains(expected), "{error}");
}

#[test]
fn texts_beyond_a_limit_are_refused_and_texts_at_it_are_read() {
    check_error(&" ".repeat(TEXT_BYTES_MAX + 1), "larger than");
    let nested = |depth: usize| format!("{}x{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(DEPTH_MAX))[0].root.is_ok());
    check_error(&nested(DEPTH_MAX + 1), "nested deeper");
    check_error(&"- ".repeat(DEPTH_MAX + 1), "nested deeper");
    check_error(&"[".repeat(100_000), "");
    check_error(&"? ".repeat(100_000), "nested deeper");
    check_error(&"- a\n".repeat(NODES_MAX + 1), "more than");
    let many = "--- a\n".repeat(DOCUMENTS_MAX as usize + 5);
    let documents = parse(&many);
    assert_eq!(documents.len(), DOCUMENTS_MAX as usize + 1);
    assert!(documents.iter().rev().skip(1).all(|document| document.root.is_ok()));
    assert!(documents.last().unwrap().root.is_err());
}

#[test]
fn aliases_cannot_expand_without_end() {
    let uses = |count: usize| format!("a: &a 1\nb: [{}]", "*a, ".repeat(count));
    assert!(parse(&uses(ALIASES_MAX - 1))[0].root.is_ok());
    check_error(&uses(ALIASES_MAX), "expand");
    check_error("a: &a [*a]", "within the value");
    let mut laughs = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n".to_owned();
    for level in 1..20 {
        let items = format!("*a{}, ", level - 1).repeat(9);
        laughs.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    check_error(&laughs, "expand");
    // A scalar may stand for many values, too.
    let mut bytes = format!("a: &a !!binary {}\nb0: &b0 [*a]\n", "A".repeat(200_000));
    for level in 0..5 {
        bytes.push_str(&format!(
            "c{level}: [*b{level}, *b{level}]\nb{}: &b{} [*a]\n",
            level + 1,
            level + 1
        ));
    }
    check_error(&bytes, "more than");
    let heavy = format!("a: &a {}\nb: [{}]", "x".repeat(1 << 20), "*a, ".repeat(90));
    check_error(&heavy, "expand");
    let mut nested = String::new();
    for level in 0..DEPTH_MAX {
        nested.push_str(&format!("&n{level} ["));
    }
    nested.push_str(&"x, ".repeat(10_000));
    nested.push_str(&"]".repeat(DEPTH_MAX));
    check_error(&nested, "more than");
}

#[test]
fn numbers_of_documents_leave_out_what_is_empty() {
    let documents = parse("# nothing\n---\n---\n# c\na: 1\n---\nb: [\n---\n~\n---\nc: 2\n");
    let shown: Vec<(u32, u32, bool)> =
        documents.iter().map(|d| (d.number, d.at.line, d.root.is_ok())).collect();
    assert_eq!(shown, [(1, 5, true), (2, 7, false), (3, 11, true)]);
}

#[test]
fn an_error_at_the_end_of_a_document_stays_within_it() {
    let documents = parse("a: [b,\n\n\n---\nc: 1\n");
    let error = documents[0].root.as_ref().unwrap_err();
    assert_eq!(error.at, Position { line: 1, column: 7 });
}

#[test]
fn places_are_found_by_path() {
    let root = root("spec:\n  owner: team\n  tags: [a,\n    b]\n  none:\n");
    let at = |path: &[&str], part| {
        let Position { line, column } = root.locate(path, part);
        (line, column)
    };
    assert_eq!(at(&["spec", "owner"], Part::Value), (2, 10));
    assert_eq!(at(&["spec", "owner"], Part::Key), (2, 3));
    assert_eq!(at(&["spec", "tags", "1"], Part::Value), (4, 5));
    assert_eq!(at(&["spec", "tags", "1"], Part::Key), (4, 5));
    assert_eq!(at(&["spec", "none"], Part::Value), (5, 3), "nothing stands at its key");
    assert_eq!(at(&["spec", "missing", "x"], Part::Value), (1, 1), "as far as it leads");
    assert_eq!(at(&["spec", "owner", "x"], Part::Value), (2, 3));
    assert_eq!(at(&[], Part::Key), (1, 1));
}

/// How long reading a text takes, at best.
fn best_of_three(text: &str) -> Duration {
    let time = || {
        let start = Instant::now();
        assert!(parse(text)[0].root.is_ok());
        start.elapsed()
    };
    (0..3).map(|_| time()).min().expect("three times")
}

/// A text costs no more on one line than on many, but for what is the same for both.
#[track_caller]
fn check_one_line(open: &str, item: &str, close: &str) {
    let text = |between: &str| format!("{open}{}{close}", vec![item; 10_000].join(between));
    let (one, many) = (best_of_three(&text(", ")), best_of_three(&text(",\n ")));
    assert!(one < 30 * many, "{item}: {one:?} on one line, {many:?} on many");
}

#[test]
fn one_long_line_costs_what_many_short_ones_do() {
    check_one_line("{\"x\":[", "{\"a\":[]}", "]}");
    check_one_line("x: [", "[{}, é]", "]");
    check_one_line("x: [", "\"a # b\"", "]");
}

#[test]
fn places_in_a_line_that_was_mended_often_are_those_of_the_text() {
    let items: Vec<String> = (0..300).map(|n| format!("k{n}:[]")).collect();
    let root = root(&format!("x: {{{}}}", items.join(",")));
    let last = root.locate(&["x", "k299"], Part::Key);
    assert_eq!((last.line, last.column), (1, 2_287));
}

#[test]
fn what_is_mended_is_bounded_for_all_documents_of_a_text_together() {
    let items: Vec<String> = (0..300).map(|n| format!("k{n}:[]")).collect();
    let document = format!("x: {{{}}}\n", items.join(","));
    let count = (8 << 20) / (document.len() * 300);
    let documents = parse(&vec![document; count + 1].join("---\n"));
    let good = documents.iter().filter(|document| document.root.is_ok()).count();
    assert!(good > 0 && good < documents.len(), "{good} of {}", documents.len());
}
