//! What the index holds of entities, against the rows of each; and entities that make that hard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cuelight::catalog::View;
use cuelight::catalog::filter::Filter;
use cuelight::catalog::query::Order;
use cuelight::catalog::search::rows;
use cuelight::catalog::view::ViewEntity;
use serde_json::{Value, json};

/// Keys that some of the random entities have.
const KEYS: [&str; 12] = [
    "",
    "metadata.title",
    "metadata.name",
    "metadata.namespace",
    "metadata.labels.a",
    "metadata.tags",
    "metadata.tags.q",
    "spec.ας.x",
    "spec.n",
    "relations.dependson",
    "relations.dependencyof",
    "relations.uses",
];

/// What may stand in an entity beside what is usual, and where.
fn odd_fields() -> [(&'static str, Value); 12] {
    [
        ("/metadata/title", json!("ONE")),
        ("/metadata/labels", json!({"A": "x", "a": "X", "b": "\0\u{1}"})),
        ("/metadata/tags", json!(["q", "Q", null, 2.50, ["r", {"q": true}], "\0"])),
        ("/metadata/namespace", Value::Null),
        ("/METADATA", json!({"title": "oNe", "name": "other", "uid": "x"})),
        ("/metadata.name", json!("other")),
        ("/metadata.title", json!(["one", 1])),
        ("/Relations", json!({"dependsOn": "component:default/a"})),
        ("/relations.uses", json!("component:default/b")),
        ("/spec", json!({"ΑΣ": {"x": "Σ"}, "n": 1e21, "status": {"n": -0.5}})),
        ("/spec", json!({"n": u64::MAX, "": "e", "a": {"": [""]}})),
        ("/spec", json!("text")),
    ]
}

/// The body with some of what is odd.
pub(super) fn with_odd_fields(random: &mut fastrand::Rng, body: &Value) -> Value {
    let mut body = body.clone();
    for (path, value) in odd_fields() {
        if random.u8(0..8) == 0 {
            let (into, key) = match path.strip_prefix("/metadata/") {
                Some(key) => (&mut body["metadata"], key),
                None => (&mut body, &path[1..]),
            };
            into[key] = value;
        }
    }
    body
}

/// A value in lower case, and as it is written.
type Searched = (Option<String>, Option<String>);

/// Every row of every entity is in the index, and nothing else.
pub(super) fn assert_index_holds(view: &View, entities: &[Arc<ViewEntity>]) {
    // What any entity of these tests may have, so that what nobody has any more is asked for too.
    let mut keys: BTreeSet<String> = KEYS.into_iter().map(str::to_owned).collect();
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut holders: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for entity in entities {
        let mut expected: BTreeMap<String, Vec<Searched>> = BTreeMap::new();
        for row in rows(&view.json(entity)) {
            holders.entry(row.key.clone()).or_default().insert(entity.entity_ref());
            if let Some(original) = row.original.clone() {
                *counts.entry((row.key.clone(), original)).or_default() += 1;
            }
            expected.entry(row.key).or_default().push((row.value, row.original));
        }
        keys.extend(expected.keys().cloned());
        for key in &keys {
            let mut values = expected.remove(key).unwrap_or_default();
            values.sort();
            let values: Vec<String> = values.into_iter().filter_map(|(_, value)| value).collect();
            assert_eq!(view.values(entity, key), values, "{} {key}", entity.entity_ref());
        }
    }
    let all = view.find(None);
    for key in &keys {
        for (value, count) in view.facet(&all, key) {
            let counted = counts.remove(&(key.clone(), value.clone()));
            assert_eq!(counted, Some(count), "{key} {value:?}");
        }
        let with_key = view.select(Some(&Filter::Exists(key.clone())), &Order::Ref).entities;
        let with_key: BTreeSet<&str> = with_key.iter().map(|entity| entity.entity_ref()).collect();
        assert_eq!(with_key, holders.remove(key).unwrap_or_default(), "{key}");
    }
    assert_eq!(counts, BTreeMap::new(), "rows that the index does not hold");
}
