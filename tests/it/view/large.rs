//! What large entities cost: in proportion to their size.

use std::time::{Duration, Instant};

use cuelight::catalog::{Relation, RepoEntry, View};

use crate::support::catalogs::{PATH, component, file, repository};

/// A component that depends on every `step`th of so many others.
fn depending(count: usize, step: usize) -> RepoEntry {
    let mut many = component("many");
    let relation = |n: usize| Relation {
        source: many.entity_ref.clone(),
        kind: "dependsOn".to_owned(),
        target: format!("component:default/c{n}"),
    };
    many.relations = (0..count).step_by(step).map(relation).collect();
    repository(1, 1, vec![file(PATH, 1, vec![many])])
}

/// How long it takes, at best, to take every second of so many relations away.
fn best_of_three(count: usize) -> Duration {
    let before = View::empty().with_repository(depending(count, 1));
    let time = || {
        let (view, next) = (before.clone(), depending(count, 2));
        let start = Instant::now();
        let _ = view.with_repository(next);
        start.elapsed()
    };
    (0..3).map(|_| time()).min().expect("three times")
}

#[test]
fn each_of_many_relations_that_go_costs_the_same() {
    let (few, many) = (best_of_three(500), best_of_three(8_000));
    assert!(many < 100 * few, "{few:?} for 500 relations, {many:?} for 8,000");
}
