//! `words.json`: refs, filters, fields and the rows of the search index, as Backstage's own
//! functions read and make them.

use cuelight::catalog::filter::Filter;
use cuelight::catalog::query::Fields;
use cuelight::catalog::refs::{EntityRef, RefError};
use cuelight::catalog::{identity, location_ref, search};
use serde_json::{Value, json};

const CASES: &str = include_str!("../../../fixtures/contract/words.json");

fn cases(part: &str) -> Vec<Value> {
    let mut cases: Value = serde_json::from_str(CASES).unwrap();
    let Value::Array(cases) = cases[part].take() else { panic!("no list of {part}") };
    cases
}

fn texts(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}

fn outcome(result: Result<String, RefError>) -> Value {
    match result {
        Ok(text) => json!({ "ok": text }),
        Err(error) => json!({ "err": format!("{}: {error}", error.class()) }),
    }
}

#[test]
fn refs_alone_and_beside_an_entity() {
    for case in cases("refs") {
        let text = case["ref"].as_str().unwrap();
        let alone = EntityRef::parse(text, None, "default").map(|found| found.to_string());
        assert_eq!(outcome(alone), case["alone"], "{text}");
        let beside = EntityRef::parse(text, Some("Group"), "Ns")
            .map(|EntityRef { kind, namespace, name }| format!("{kind} {namespace} {name}"));
        assert_eq!(outcome(beside), case["beside"], "{text}");
    }
}

#[test]
fn location_refs() {
    for case in cases("locations") {
        let found = match location_ref::parse(case["ref"].as_str().unwrap()) {
            Ok((kind, target)) => json!({ "ok": format!("{kind} {target}") }),
            Err(error) => json!({ "err": format!("TypeError: {error}") }),
        };
        assert_eq!(found, case["is"], "{}", case["ref"]);
    }
}

#[test]
fn names_of_generated_locations() {
    for case in cases("generated") {
        let (kind, target) = (case["type"].as_str().unwrap(), case["target"].as_str().unwrap());
        assert_eq!(identity::generated_location_name(kind, target), case["name"], "{target}");
    }
}

#[test]
fn fields_of_an_entity() {
    let all: Value = serde_json::from_str(CASES).unwrap();
    for case in cases("fields") {
        let found = match Fields::parse(&texts(&case["fields"])) {
            Err(error) => json!({ "err": format!("InputError: {error}") }),
            Ok(None) => json!({ "ok": "everything" }),
            Ok(Some(fields)) => json!({ "ok": fields.project(&all["fieldsOf"]) }),
        };
        assert_eq!(found, case["is"], "{}", case["fields"]);
    }
}

#[test]
fn what_an_entity_is_found_by() {
    let all: Value = serde_json::from_str(CASES).unwrap();
    let entity = &all["rowsOf"];
    let mut rows = search::rows(entity);
    for relation in entity["relations"].as_array().unwrap() {
        let (kind, target) = (relation["type"].as_str().unwrap(), &relation["targetRef"]);
        rows.extend(search::relation_row(kind, target.as_str().unwrap()));
    }
    let shown = |row: search::Row| json!([row.key, row.value]).to_string();
    let mut found: Vec<String> = rows.into_iter().map(shown).collect();
    let mut expected: Vec<String> = cases("rows").iter().map(ToString::to_string).collect();
    // What an entity says twice it is found by once.
    for rows in [&mut found, &mut expected] {
        rows.sort();
        rows.dedup();
    }
    assert_eq!(found, expected);
}

/// A predicate in its shortest form, and in lower case, as all are compared.
fn plain(predicate: &Value) -> Value {
    let Value::Object(members) = predicate else {
        return predicate.as_str().map_or_else(|| predicate.clone(), |t| t.to_lowercase().into());
    };
    for list in ["$all", "$any", "$in"] {
        if let Some([only]) = members.get(list).and_then(Value::as_array).map(Vec::as_slice) {
            return plain(only);
        }
    }
    let member = |(key, value): (&String, &Value)| {
        let value = match value {
            Value::Array(items) => items.iter().map(plain).collect(),
            other => plain(other),
        };
        (if key.starts_with('$') { key.clone() } else { key.to_lowercase() }, value)
    };
    members.iter().map(member).collect()
}

#[test]
fn filters() {
    for case in cases("filters") {
        let found = match Filter::parse(&texts(&case["filter"])) {
            Err(error) => json!({ "err": format!("InputError: {error}") }),
            Ok(None) => json!({}),
            Ok(Some(filter)) => json!({ "ok": plain(&filter.to_query()) }),
        };
        let expected = case["is"]
            .get("ok")
            .map_or_else(|| case["is"].clone(), |predicate| json!({ "ok": plain(predicate) }));
        assert_eq!(found, expected, "{}", case["filter"]);
    }
}
