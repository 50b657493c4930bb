//! `fixtures/process/`: files, and the entities and problems they become.

use cuelight::catalog::{AllowedKinds, Entity, PROCESSING_VERSION, Problem, process_alone};
use serde_json::{Value, json};

use super::{read, source, table, texts};

fn show_entity(entity: &Entity) -> String {
    let stale = if entity.stale.is_some() { " (stale)" } else { "" };
    format!("{}:{} {}{stale}", entity.document, entity.line, entity.entity_ref)
}

fn show_problem(problem: &Problem) -> String {
    let Problem { code, line, column, document, entity_ref, .. } = problem;
    let entity_ref = entity_ref.as_deref().unwrap_or("-");
    format!("{line}:{column} in {document}, {code}, {entity_ref}: {}", problem.message)
}

/// `kind` or `kind/spec.type` for each.
fn allowed(case: &Value) -> AllowedKinds {
    let Some(_) = case.get("allow") else { return AllowedKinds::default() };
    let allowance = |text: &str| match text.split_once('/') {
        Some((kind, spec_type)) => (kind.to_owned(), Some(spec_type.to_owned())),
        None => (text.to_owned(), None),
    };
    AllowedKinds::everywhere(texts(&case["allow"]).into_iter().map(allowance).collect())
}

#[test]
fn every_file_of_the_table_becomes_what_is_expected() {
    let cases = table("fixtures/process/cases.yaml");
    for case in &cases {
        let about = &case["about"];
        let mut previous = Vec::new();
        if let Some(before) = case.get("before") {
            let before = process_alone(
                &source(),
                before.as_str().unwrap(),
                &AllowedKinds::everywhere(vec![
                    ("component".into(), None),
                    ("system".into(), None),
                    ("user".into(), None),
                ]),
                &[],
            );
            assert_eq!(before.problems, [], "{about}");
            previous = before.entities;
        }
        let now = case["now"].as_str().unwrap();
        let after = process_alone(&source(), now, &allowed(case), &previous);
        assert!(after.entities[0].generated, "{about}");
        let entities: Vec<String> = after.entities[1..].iter().map(show_entity).collect();
        assert_eq!(entities, texts(&case["entities"]), "{about}");
        let problems: Vec<String> = after.problems.iter().map(show_problem).collect();
        let expected = texts(&case["problems"]);
        assert_eq!(problems.len(), expected.len(), "{about}: {problems:#?}");
        for (problem, start) in problems.iter().zip(expected) {
            assert!(problem.starts_with(start), "{about}:\n{problem}\nshould start with\n{start}");
        }
    }
    assert!(cases.len() >= 20, "the table has shrunk to {} cases", cases.len());
}

#[test]
fn a_file_becomes_entities_with_annotations_and_relations() {
    let processed = process_alone(
        &source(),
        &read("fixtures/process/shop.yaml"),
        &AllowedKinds::default(),
        &[],
    );
    assert_eq!(processed.problems, []);
    let found: Vec<Value> = processed
        .entities
        .iter()
        .map(|entity| {
            let relations: Vec<String> = entity
                .relations
                .iter()
                .map(|r| format!("{} {} {}", r.source, r.kind, r.target))
                .collect();
            json!({"ref": entity.entity_ref, "body": *entity.body, "relations": relations})
        })
        .collect();
    let expected: Value = serde_json::from_str(&read("fixtures/process/shop.json")).unwrap();
    assert_eq!(Value::Array(found), expected);
    // Whoever changes what a text becomes raises the version, and with it this line.
    assert_eq!(PROCESSING_VERSION, 3);
}

const BROKEN: &str = "a: [";
const CART: &str = "apiVersion: backstage.io/v1alpha1\nkind: System\nmetadata: {name: cart}\n\
                    spec: {owner: web}\n";

#[test]
fn a_stale_entity_says_why_and_heals() {
    let allowed = AllowedKinds::default();
    let good = process_alone(&source(), CART, &allowed, &[]);
    let bad = process_alone(&source(), &CART.replace("web", "7"), &allowed, &good.entities);
    assert_eq!(bad.entities[1].body, good.entities[1].body);
    assert_eq!(bad.entities[1].relations, good.entities[1].relations);
    let reason = bad.entities[1].stale.clone().unwrap();
    assert!(reason.starts_with("InputError: Processor BuiltinKinds"), "{reason}");
    let worse = process_alone(&source(), BROKEN, &allowed, &bad.entities);
    let reason = worse.entities[1].stale.clone().unwrap();
    let expected = "Error: YAML error at url:https://github.com/acme/cart/blob/main/catalog-info";
    assert!(reason.starts_with(expected), "{reason}");
    assert_eq!(process_alone(&source(), CART, &allowed, &worse.entities), good);
}

#[test]
fn a_stale_entity_follows_its_file_to_another_name() {
    let allowed = AllowedKinds::default();
    let good = process_alone(&source(), CART, &allowed, &[]);
    let mut moved = source();
    moved.full_name = "acme/basket".into();
    let after = process_alone(&moved, BROKEN, &allowed, &good.entities);
    let annotations = &after.entities[1].body["metadata"]["annotations"];
    let expected = "url:https://github.com/acme/basket/blob/main/catalog-info.yaml";
    assert_eq!(annotations["backstage.io/managed-by-location"], expected);
    assert_eq!(annotations["backstage.io/managed-by-origin-location"], expected);
}

#[test]
fn problems_and_their_messages_are_bounded() {
    let allowed = AllowedKinds::default();
    let tags = CART.replace("name: cart", &format!("name: cart, tags: [{}]", "'A', ".repeat(999)));
    let processed = process_alone(&source(), &tags, &allowed, &[]);
    assert_eq!(processed.problems.len(), cuelight::catalog::process::PROBLEMS_PER_DOCUMENT_MAX);
    let name = CART.replace("cart", &"x y".repeat(100_000));
    let processed = process_alone(&source(), &name, &allowed, &[]);
    let problem = &processed.problems[0];
    assert!(problem.message.chars().count() <= cuelight::catalog::process::MESSAGE_CHARS_MAX + 1);
    assert_eq!(problem.entity_ref, None);
}
