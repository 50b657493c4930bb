//! `verdicts.json`: entities, and what `POST /validate-entity` says of them first.

use cuelight::catalog::verdict::verdict;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::expected;

const CASES: &str = include_str!("../../../fixtures/contract/verdicts.json");

/// The end of Backstage's messages about formats.
const HELP: &str = "https://github.com/backstage/backstage/blob/master/docs/\
                    architecture-decisions/adr002-default-catalog-file-format.md";

/// An entity in the order in which it is written.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    entity: &'a RawValue,
}

#[test]
fn every_entity_is_judged_as_by_backstage() {
    let cases: Vec<Value> = serde_json::from_str(CASES).unwrap();
    let as_written: Vec<Written<'_>> = serde_json::from_str(CASES).unwrap();
    let mut wrong = Vec::new();
    for (case, Written { entity }) in cases.iter().zip(as_written) {
        let first = verdict(entity.get(), None).errors.into_iter().next();
        let said = first.map_or(Value::Null, |(class, message)| {
            Value::from(format!("{class}: {message}").replace(HELP, "<help>"))
        });
        let expected = expected(case, &case["says"]);
        if said != *expected {
            wrong.push(format!("{}\nexpected {expected}\nsaid     {said}", case["entity"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
    assert!(cases.len() > 800, "the table has shrunk to {} cases", cases.len());
}
