//! `texts.json`: YAML and JSON texts, and what npm's `yaml` reads from them. Errors are compared
//! in that there is one: the words are ours.

use cuelight::catalog::yaml::parse;
use serde_json::{Value, json};

use super::expected;

const CASES: &str = include_str!("../../../fixtures/contract/texts.json");

#[test]
fn every_text_is_read_as_by_backstage() {
    let cases: Vec<Value> = serde_json::from_str(CASES).unwrap();
    for case in &cases {
        let read = parse(case["text"].as_str().unwrap()).into_iter().map(|document| {
            document.root.map_or_else(|_| json!("error"), |root| json!({"value": root.to_json()}))
        });
        let read: Value = read.collect();
        let documents = expected(case, &case["documents"]).as_array().unwrap();
        let expected: Value = documents
            .iter()
            .map(|document| match document.get("error") {
                Some(_) => json!("error"),
                None => document.clone(),
            })
            .collect();
        assert_eq!(read, expected, "{}", case["text"]);
    }
    assert!(cases.len() > 70, "the table has shrunk to {} cases", cases.len());
}
