//! What of an entity can be searched: its leaves as rows of a dotted key and a value, both in
//! lower case, as Backstage indexes them.

use std::collections::HashSet;

use serde_json::{Number, Value};

/// Longest key and longest value that are searchable, in UTF-16 units: Backstage's limit.
pub(super) const TEXT_UNITS_MAX: usize = 200;

/// Paths that are not walked, in their own case; the names among them get rows of their own.
pub(super) const SKIPPED: [&str; 7] = [
    "attachments",
    "relations",
    "status",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "metadata.etag",
];

/// One searchable fact of an entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The dotted path in lower case; the items of a list share their list's path.
    pub key: String,
    /// The value in lower case; `None` when it is null or too long to be compared.
    pub value: Option<String>,
    /// The value as it is written; `None` where `value` is.
    pub original: Option<String>,
}

/// The rows of a final entity, each once, in the order of the entity.
pub fn rows(entity: &Value) -> Vec<Row> {
    let mut rows = Rows::of(entity);
    rows.leaf("metadata.uid", &entity["metadata"]["uid"]);
    for relation in entity["relations"].as_array().into_iter().flatten() {
        let kind = relation["type"].as_str().unwrap_or_default();
        rows.leaf(&format!("relations.{kind}"), &relation["targetRef"]);
    }
    rows.found
}

/// The rows of an entity with this uid, without those of its relations.
pub(super) fn own_rows(body: &Value, uid: &str) -> Vec<Row> {
    let mut rows = Rows::of(body);
    rows.leaf("metadata.uid", &uid.into());
    rows.found
}

/// The row of a relation, as [`rows`] makes it; `None` when it is too long to be searchable.
pub fn relation_row(kind: &str, target: &str) -> Option<Row> {
    row(&format!("relations.{kind}"), &Value::from(target))
}

#[derive(Default)]
struct Rows {
    found: Vec<Row>,
    /// Keys and values.
    seen: HashSet<(String, Option<String>)>,
}

impl Rows {
    /// All but those of the uid and of the relations.
    fn of(entity: &Value) -> Self {
        let mut rows = Self::default();
        rows.walk("", entity);
        let metadata = &entity["metadata"];
        rows.leaf("metadata.name", &metadata["name"]);
        let namespace = metadata.get("namespace").filter(|namespace| !namespace.is_null());
        rows.leaf("metadata.namespace", namespace.unwrap_or(&Value::from("default")));
        rows
    }

    fn walk(&mut self, path: &str, value: &Value) {
        if SKIPPED.contains(&path) {
            return;
        }
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    if path.is_empty() {
                        self.walk(key, member);
                    } else {
                        self.walk(&format!("{path}.{key}"), member);
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.walk(path, item);
                    if let Value::String(text) = item {
                        self.walk(&format!("{path}.{text}"), &Value::Bool(true));
                    }
                }
            }
            leaf => self.leaf(path, leaf),
        }
    }

    fn leaf(&mut self, path: &str, value: &Value) {
        let Some(row) = row(path, value) else { return };
        if self.seen.insert((row.key.clone(), row.value.clone())) {
            self.found.push(row);
        }
    }
}

fn row(path: &str, value: &Value) -> Option<Row> {
    let key = path.to_lowercase();
    let (value, original) = searchable(value);
    (units(&key) <= TEXT_UNITS_MAX).then_some(Row { key, value, original })
}

/// What of a leaf can be searched for, in lower case and as it is written; nothing where it is too
/// long, null, or no leaf.
pub(super) fn searchable(value: &Value) -> (Option<String>, Option<String>) {
    let text = match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(as_javascript(number)),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let original = text.filter(|text| units(text) <= TEXT_UNITS_MAX);
    (original.as_ref().map(|text| text.to_lowercase()), original)
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A number as JavaScript writes it: plain between 1e-6 and 1e21, else with an exponent.
pub(super) fn as_javascript(number: &Number) -> String {
    let Some(value) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        return if size >= 1.0 { text.replace('e', "e+") } else { text };
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(entity: Value, expected: &[(&str, Option<&str>)]) {
        let found: Vec<(String, Option<String>)> =
            rows(&entity).into_iter().map(|row| (row.key, row.value)).collect();
        let expected: Vec<(String, Option<String>)> =
            expected.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect();
        let sorted = |mut rows: Vec<(String, Option<String>)>| {
            rows.sort();
            rows
        };
        assert_eq!(sorted(found), sorted(expected));
    }

    const NAMES: [(&str, Option<&str>); 3] = [
        ("metadata.name", Some("thing")),
        ("metadata.namespace", Some("default")),
        ("metadata.uid", Some("u1")),
    ];

    fn with_names<'a>(rows: &[(&'a str, Option<&'a str>)]) -> Vec<(&'a str, Option<&'a str>)> {
        rows.iter().chain(&NAMES).copied().collect()
    }

    #[test]
    fn leaves_become_rows_in_lower_case() {
        check(
            json!({
                "apiVersion": "Some/V1", "kind": "Thing",
                "metadata": {"name": "Thing", "uid": "u1", "labels": {"Area.io/X": "Up"}},
            }),
            &with_names(&[
                ("apiversion", Some("some/v1")),
                ("kind", Some("thing")),
                ("metadata.labels.area.io/x", Some("up")),
            ]),
        );
    }

    #[test]
    fn items_share_the_path_of_their_list_and_texts_are_keys_too() {
        check(
            json!({
                "metadata": {"name": "thing", "uid": "u1"},
                "spec": {"l": [1, ["Q", {"a": [2.5]}], null, "Q"]},
            }),
            &with_names(&[
                ("spec.l", Some("1")),
                ("spec.l", Some("q")),
                ("spec.l.q", Some("true")),
                ("spec.l.a", Some("2.5")),
                ("spec.l", None),
            ]),
        );
    }

    #[test]
    fn long_values_exist_without_a_value_and_long_keys_not_at_all() {
        let (fits, long) = ("v".repeat(200), "v".repeat(201));
        check(
            json!({
                "metadata": {"name": "thing", "uid": "u1"},
                "a": fits.clone(), "b": long.clone(), long: "x", "c": null, "d": "",
                "e": {}, "f": [],
            }),
            &with_names(&[("a", Some(fits.as_str())), ("b", None), ("c", None), ("d", Some(""))]),
        );
    }

    #[test]
    fn relations_are_rows_and_status_etag_and_attachments_are_not() {
        check(
            json!({
                "metadata": {"name": "thing", "uid": "u1", "etag": "e", "namespace": "default"},
                "relations": [{"type": "ownedBy", "targetRef": "group:default/o"}],
                "status": {"items": [{"level": "error"}]}, "attachments": {"x": 1},
            }),
            &with_names(&[("relations.ownedby", Some("group:default/o"))]),
        );
    }

    #[test]
    fn numbers_are_written_as_in_javascript() {
        for (text, expected) in [
            ("1", "1"),
            ("1.5", "1.5"),
            ("1.0", "1"),
            ("1e21", "1e+21"),
            ("1.5e-7", "1.5e-7"),
            ("0.000001", "0.000001"),
            ("-0.25", "-0.25"),
        ] {
            let number: Number = serde_json::from_str(text).unwrap();
            assert_eq!(as_javascript(&number), expected, "{text}");
        }
    }
}
