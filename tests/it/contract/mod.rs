//! What a running Backstage 4.0 answered, replayed: `fixtures/contract/`.
//!
//! Where cuelight answers otherwise on purpose, the case says so and names the reason, a line of
//! `fixtures/differences`.

mod answers;
mod texts;
mod tokens;
mod verdicts;
mod words;

use cuelight::catalog::{AllowedKinds, Entity, Source, View, process_alone};
use serde_json::Value;

use crate::support::catalogs::{file, repository};

const MAIN: &str = include_str!("../../../fixtures/contract/catalog/catalog-info.yaml");
const DOCS: &str = include_str!("../../../fixtures/contract/catalog/docs/catalog.yaml");
const TORN: &str = include_str!("../../../fixtures/contract/catalog/torn.yaml");
const DIFFERENCES: &str = include_str!("../../../fixtures/differences");

fn read(path: &str, text: &str, previous: &[Entity]) -> Vec<Entity> {
    let kinds = ["component", "api", "resource", "system", "domain", "group", "user"];
    let allowed = AllowedKinds::everywhere(kinds.map(|kind| (kind.to_owned(), None)).into());
    let source = Source {
        host: "github.com".into(),
        full_name: "ink/press".into(),
        branch: "main".into(),
        path: path.into(),
    };
    process_alone(&source, text, &allowed, previous).entities
}

/// The catalog that Backstage was asked about. One of its files was good and then was not.
fn press() -> View {
    let torn = read("torn.yaml", "a: [", &read("torn.yaml", TORN, &[]));
    let files = vec![
        file("catalog-info.yaml", 1, read("catalog-info.yaml", MAIN, &[])),
        file("docs/catalog.yaml", 1, read("docs/catalog.yaml", DOCS, &[])),
        file("torn.yaml", 1, torn),
    ];
    let mut entry = repository(1, 1, files);
    entry.full_name = "ink/press".to_owned();
    View::empty().with_repository(entry).complete_to(1)
}

/// The names of the lines of `fixtures/differences`.
fn differences() -> Vec<&'static str> {
    let lines = DIFFERENCES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split(" | ").next().unwrap_or_default()).collect()
}

/// What a case says that we say, and that its difference has a reason.
#[track_caller]
fn expected<'a>(case: &'a Value, theirs: &'a Value) -> &'a Value {
    let Some(differs) = case.get("differs") else { return theirs };
    let reason = differs.as_str().unwrap();
    assert!(differences().contains(&reason), "no reason `{reason}` in fixtures/differences");
    assert_ne!(&case["ours"], theirs, "this is no difference: {case}");
    &case["ours"]
}

#[test]
fn every_difference_has_a_name_of_its_own_and_a_reason() {
    let mut names = differences();
    for line in DIFFERENCES.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        assert_eq!(line.split(" | ").count(), 5, "name, request, theirs, ours, why: {line}");
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
