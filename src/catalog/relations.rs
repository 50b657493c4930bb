//! The relations that an entity declares by the fields of its `spec`.
//!
//! Each pointer makes two relations: from the entity to the target, and back. Both belong to the
//! declaring entity; whether the target exists does not matter here.

use serde_json::Value;

use super::Relation;
use super::kinds::Kind;
use super::refs::{EntityRef, RefError};
use super::shape::{Violation, is_placeholder};
use super::yaml::{Node, NodeValue};

/// The lists of `spec` that are sorted, whatever the kind of the entity.
const SORTED: [&str; 7] = [
    "providesApis",
    "consumesApis",
    "dependsOn",
    "dependencyOf",
    "memberOf",
    "children",
    "members",
];

/// Sorts those lists of an entity's `spec` that hold nothing but texts, as Backstage does.
pub fn sort_lists(spec: &mut Value) {
    for field in SORTED {
        if let Some(Value::Array(items)) = spec.get_mut(field)
            && items.iter().all(Value::is_string)
        {
            items.sort_by_cached_key(|item| in_order(item.as_str().unwrap_or_default()));
        }
    }
}

/// Backstage sorts those lists before it looks at them: of a list of texts, the empty ones, which
/// are all that can be wrong, are the first. So they are shown, wherever they stand.
pub fn show_as_sorted(spec: &Node, violations: &mut [Violation]) {
    for field in SORTED {
        let Some(NodeValue::List(items)) = spec.get(field).map(|node| &node.value) else {
            continue;
        };
        if items.iter().any(|item| item.as_str().is_none()) {
            continue;
        }
        let of_field = violations.iter_mut().filter(|violation| {
            matches!(violation.path.as_slice(), [spec, own, _] if spec == "spec" && own == field)
        });
        for (index, violation) in of_field.enumerate() {
            violation.shown = format!("/spec/{field}/{index}");
        }
    }
}

/// What JavaScript sorts a text by.
fn in_order(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

/// A value that is no ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRef {
    /// The keys and indices that lead to it.
    pub path: Vec<String>,
    /// The class of error that Backstage throws for it.
    pub class: &'static str,
    /// What is wrong, in Backstage's words.
    pub message: String,
}

/// The relations of an entity of this kind and name, in both directions, and what is no ref.
pub fn declared(root: &Node, kind: &Kind, name: &EntityRef) -> (Vec<Relation>, Vec<BadRef>) {
    let (mut relations, mut bad) = (Vec::new(), Vec::new());
    let own = name.to_string();
    for field in &kind.relations {
        let Some(value) = root.get("spec").and_then(|spec| spec.get(&field.field)) else {
            continue;
        };
        let path = ["spec".to_owned(), field.field.clone()];
        let mut items: Vec<(Vec<String>, &Node)> = match &value.value {
            NodeValue::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| ([path.as_slice(), &[index.to_string()]].concat(), item))
                .collect(),
            // What is empty points nowhere; where that is wrong, the schema says so.
            NodeValue::Null => continue,
            NodeValue::String(text) if text.is_empty() => continue,
            _ => vec![(path.to_vec(), value)],
        };
        // Lists are sorted before they are read: the first that is bad is the first in order.
        if items.iter().all(|(_, item)| item.as_str().is_some()) {
            items.sort_by_cached_key(|(_, item)| in_order(item.as_str().unwrap_or_default()));
        }
        for (path, item) in items.into_iter().filter(|(_, item)| !is_placeholder(item)) {
            match parse(item, field.default_kind.as_deref(), &name.namespace) {
                Ok(target) => {
                    let target = target.to_string();
                    relations.push(relation(&own, &field.outgoing, &target));
                    relations.push(relation(&target, &field.incoming, &own));
                }
                Err((class, message)) => bad.push(BadRef { path, class, message }),
            }
        }
    }
    (relations, bad)
}

fn relation(source: &str, kind: &str, target: &str) -> Relation {
    Relation { source: source.to_owned(), kind: kind.to_owned(), target: target.to_owned() }
}

fn parse(
    item: &Node,
    default_kind: Option<&str>,
    namespace: &str,
) -> Result<EntityRef, (&'static str, String)> {
    match item.as_str() {
        Some(text) => EntityRef::parse(text, default_kind, namespace)
            .map_err(|error| (error.class(), error.to_string())),
        None if matches!(item.value, NodeValue::Null | NodeValue::Bool(false)) => {
            Err((RefError::Empty.class(), RefError::Empty.to_string()))
        }
        None => {
            let quoted = RefError::NoKind(String::new()).to_string();
            let message = quoted.replacen("\"\"", &item.to_json().to_string(), 1);
            Err(("Error", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{kinds, yaml};

    #[track_caller]
    fn check(kind: &str, spec: &str, expected: &[&str]) {
        let documents = yaml::parse(&format!("spec: {spec}"));
        let name = EntityRef::new(kind, Some("Shop"), "Me");
        let root = documents[0].root.as_ref().unwrap();
        let (relations, bad) = declared(root, kinds::find(kind).unwrap(), &name);
        let mut found: Vec<String> = relations
            .iter()
            .map(|r| format!("{} {} {}", r.source, r.kind, r.target))
            .chain(bad.iter().map(|bad| format!("{}: {}", bad.path.join("/"), bad.class)))
            .collect();
        found.sort();
        assert_eq!(found, expected, "{kind} {spec}");
    }

    #[test]
    fn each_pointer_makes_a_relation_and_its_reverse() {
        check(
            "Component",
            "{owner: Team, providesApis: [default/Pay]}",
            &[
                "api:default/pay apiProvidedBy component:shop/me",
                "component:shop/me ownedBy group:shop/team",
                "component:shop/me providesApi api:default/pay",
                "group:shop/team ownerOf component:shop/me",
            ],
        );
        check(
            "Group",
            "{parent: top, children: [], members: [jo]}",
            &[
                "group:shop/me childOf group:shop/top",
                "group:shop/me hasMember user:shop/jo",
                "group:shop/top parentOf group:shop/me",
                "user:shop/jo memberOf group:shop/me",
            ],
        );
        check(
            "Domain",
            "{subdomainOf: big}",
            &["domain:shop/big hasPart domain:shop/me", "domain:shop/me partOf domain:shop/big"],
        );
        check("Location", "{target: ./x, owner: nobody}", &[]);
    }

    #[test]
    fn what_stands_in_another_file_points_nowhere_yet() {
        check("System", "{owner: {$text: ./owner.txt}}", &[]);
        check("Component", "{dependsOn: [{$text: a}, {$other: a}]}", &["spec/dependsOn/1: Error"]);
    }

    #[test]
    fn lists_of_texts_are_sorted_as_by_javascript() {
        let mut spec = serde_json::json!({
            "dependsOn": ["b", "\u{ff5e}", "\u{1f600}", "B", "a"],
            "members": ["b", 1, "a"],
            "tags": ["b", "a"],
        });
        sort_lists(&mut spec);
        let sorted = serde_json::json!({
            "dependsOn": ["B", "a", "b", "\u{1f600}", "\u{ff5e}"],
            "members": ["b", 1, "a"],
            "tags": ["b", "a"],
        });
        assert_eq!(spec, sorted);
    }

    #[test]
    fn a_dependency_has_to_name_its_kind() {
        check("Resource", "{dependsOn: [db]}", &["spec/dependsOn/0: Error"]);
        check(
            "Component",
            "{dependencyOf: [7, '/x']}",
            &["spec/dependencyOf/0: Error", "spec/dependencyOf/1: TypeError"],
        );
        check(
            "Resource",
            "{dependencyOf: [component:a]}",
            &[
                "component:shop/a dependsOn resource:shop/me",
                "resource:shop/me dependencyOf component:shop/a",
            ],
        );
    }
}
