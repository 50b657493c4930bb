//! Checks a value against the shapes of the data files, in the order and words of Backstage's
//! schema validator, but to the end: every violation is found.

use serde::Deserialize;

use super::yaml::{Key, Node, NodeValue, Part};
use super::{hints, javascript};

/// A field and its rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its key.
    pub name: String,
    /// What may stand there.
    pub shape: Shape,
    /// Whether it must be there.
    #[serde(default)]
    pub required: bool,
    /// How it may look, for those who left it out.
    #[serde(default)]
    pub example: Option<String>,
}

/// What a value must be. Nothing may be `null`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A text that is not empty.
    Text,
    /// A text.
    AnyText,
    /// A text, `true` or `false`.
    TextOrBool,
    /// A text of letters, digits and underscores.
    Word,
    /// One of these texts.
    Choice(Vec<String>),
    /// A list of values that all have one shape.
    List(Box<Shape>),
    /// A mapping from any key to values that all have one shape.
    Map(Box<Shape>),
    /// A mapping with these fields and any others.
    Object(Vec<Field>),
    /// A mapping with some of these fields and no others.
    Closed(Vec<Field>),
    /// A mapping from any key to texts, or a list of texts; what is neither is not looked at,
    /// because Backstage makes a mapping of it before it looks.
    Annotations,
}

/// A value that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The keys and indices that lead to the place to mend.
    pub path: Vec<String>,
    /// Which part of the place to mend.
    pub part: Part,
    /// The place as the message names it: `/spec/owner`, `<root>`.
    pub shown: String,
    /// `must be string`
    pub message: String,
    /// `type: string`
    pub params: String,
    /// What may help.
    pub hint: Option<String>,
}

/// Checks the fields of a mapping; `violations` is added to. `path` leads to the mapping.
pub fn check_fields(
    node: &Node,
    fields: &[Field],
    path: &mut Vec<String>,
    violations: &mut Vec<Violation>,
) {
    check_required(node, fields, path, violations);
    check_present(node, fields, path, violations);
}

fn check_required(node: &Node, fields: &[Field], path: &[String], violations: &mut Vec<Violation>) {
    for field in fields.iter().filter(|field| field.required && node.get(&field.name).is_none()) {
        let name = &field.name;
        violations.push(Violation {
            path: path.to_vec(),
            part: Part::Key,
            shown: pointer(path),
            message: format!("must have required property '{name}'"),
            params: format!("missingProperty: {name}"),
            hint: hints::missing(node, name, field.example.as_deref()),
        });
    }
}

fn check_present(
    node: &Node,
    fields: &[Field],
    path: &mut Vec<String>,
    violations: &mut Vec<Violation>,
) {
    for field in fields {
        if let Some(value) = node.get(&field.name) {
            path.push(field.name.clone());
            check(value, &field.shape, path, violations);
            path.pop();
        }
    }
}

/// Where a path leads, as a JSON pointer.
pub fn pointer(path: &[String]) -> String {
    if path.is_empty() {
        return "<root>".into();
    }
    path.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect()
}

fn check(node: &Node, shape: &Shape, path: &mut Vec<String>, violations: &mut Vec<Violation>) {
    if may_be_placeholder(path) && is_placeholder(node) {
        return;
    }
    match (shape, &node.value) {
        (Shape::Text | Shape::Word, NodeValue::String(text)) if text.is_empty() => {
            let message = "must NOT have fewer than 1 characters".to_owned();
            violations.push(violation(path, message, "limit: 1".to_owned(), Some(hints::empty())));
        }
        (Shape::Word, NodeValue::String(text)) if !is_word(text) => {
            let message = "must match pattern \"^\\w+$\"".to_owned();
            violations.push(violation(path, message, "pattern: ^\\w+$".to_owned(), None));
        }
        (Shape::Choice(choices), NodeValue::String(text)) if !choices.contains(text) => {
            let message = "must be equal to one of the allowed values".to_owned();
            let params = format!("allowedValues: {}", choices.join(","));
            violations.push(violation(path, message, params, Some(hints::choice(choices))));
        }
        (Shape::List(shape), NodeValue::List(items)) => {
            check_items(items, shape, path, violations);
        }
        (Shape::Annotations, NodeValue::List(items)) => {
            check_items(items, &Shape::AnyText, path, violations);
        }
        (Shape::Map(shape), NodeValue::Map(entries)) => {
            check_entries(entries, shape, path, violations);
        }
        (Shape::Annotations, NodeValue::Map(entries)) => {
            check_entries(entries, &Shape::AnyText, path, violations);
        }
        (Shape::Object(fields), NodeValue::Map(_)) => {
            check_fields(node, fields, path, violations);
        }
        (Shape::Closed(fields), NodeValue::Map(entries)) => {
            check_required(node, fields, path, violations);
            if let Some(key) = unknown_key(entries, fields) {
                let message = "must NOT have additional properties".to_owned();
                let params = format!("additionalProperty: {key}");
                violations.push(violation(path, message, params, None));
            }
            check_present(node, fields, path, violations);
        }
        (Shape::Text | Shape::AnyText | Shape::Word | Shape::Choice(_), NodeValue::String(_))
        | (Shape::TextOrBool, NodeValue::String(_) | NodeValue::Bool(_))
        | (Shape::Annotations, _) => {}
        (expected, found) => {
            let kind = expected.type_name();
            let hint = hints::wrong_type(kind, found);
            violations.push(violation(
                path,
                format!("must be {kind}"),
                format!("type: {kind}"),
                hint,
            ));
        }
    }
}

fn check_entries(
    entries: &[(Key, Node)],
    shape: &Shape,
    path: &mut Vec<String>,
    violations: &mut Vec<Violation>,
) {
    for (key, value) in in_order(entries).filter(|(key, _)| is_looked_at(&key.text)) {
        path.push(key.text.clone());
        check(value, shape, path, violations);
        path.pop();
    }
}

/// The entries of a mapping in the order in which JavaScript has them.
pub fn in_order(entries: &[(Key, Node)]) -> impl Iterator<Item = &(Key, Node)> {
    let mut indices: Vec<(u32, &(Key, Node))> = entries
        .iter()
        .filter_map(|entry| Some((javascript::index(&entry.0.text)?, entry)))
        .collect();
    indices.sort_by_key(|(index, _)| *index);
    let others = entries.iter().filter(|(key, _)| javascript::index(&key.text).is_none());
    indices.into_iter().map(|(_, entry)| entry).chain(others)
}

fn check_items(
    items: &[Node],
    shape: &Shape,
    path: &mut Vec<String>,
    violations: &mut Vec<Violation>,
) {
    for (index, item) in items.iter().enumerate() {
        path.push(index.to_string());
        check(item, shape, path, violations);
        path.pop();
    }
}

/// The first key that none of the fields has.
fn unknown_key<'a>(entries: &'a [(Key, Node)], fields: &[Field]) -> Option<&'a str> {
    let is_known = |key: &str| fields.iter().any(|field| field.name == key);
    entries.iter().map(|(key, _)| key.text.as_str()).find(|key| !is_known(key))
}

/// Whether Backstage's schema, `^.+$`, finds the key. All others are no keys of labels either.
fn is_looked_at(key: &str) -> bool {
    !key.is_empty() && !key.contains(['\n', '\r', '\u{2028}', '\u{2029}'])
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn violation(path: &[String], message: String, params: String, hint: Option<String>) -> Violation {
    let shown = pointer(path);
    Violation { path: path.to_vec(), part: Part::Value, shown, message, params, hint }
}

/// Whether the place may hold `{$text: …}`, which stands for a value of any shape.
fn may_be_placeholder(path: &[String]) -> bool {
    match path {
        [first, ..] if first == "spec" => true,
        [first, second, ..] => first == "metadata" && second != "name" && second != "namespace",
        _ => false,
    }
}

/// Whether a value stands in another file, which has not been read or cannot be.
pub(super) fn is_placeholder(node: &Node) -> bool {
    let NodeValue::Map(entries) = &node.value else { return false };
    let [(key, value)] = entries.as_slice() else { return false };
    matches!(key.text.as_str(), "$text" | "$json" | "$yaml") && value.as_str().is_some()
}

impl Shape {
    const fn type_name(&self) -> &'static str {
        match self {
            Self::Text | Self::AnyText | Self::Word | Self::Choice(_) => "string",
            Self::TextOrBool => "string,boolean",
            Self::List(_) => "array",
            Self::Map(_) | Self::Object(_) | Self::Closed(_) | Self::Annotations => "object",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::yaml;

    #[track_caller]
    fn check_text(shape: &str, text: &str, expected: &[&str]) {
        let shape: Vec<Field> =
            serde_json::from_str(&format!(r#"[{{"name": "x", "shape": {shape}}}]"#)).unwrap();
        let documents = yaml::parse(text);
        let root = documents[0].root.as_ref().unwrap();
        let mut violations = Vec::new();
        check_fields(root, &shape, &mut Vec::new(), &mut violations);
        let found: Vec<String> = violations
            .iter()
            .map(|v| format!("{} {} - {}", v.shown, v.message, v.params))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn texts() {
        check_text(r#""text""#, "x: a", &[]);
        check_text(r#""text""#, "x: ''", &["/x must NOT have fewer than 1 characters - limit: 1"]);
        check_text(r#""text""#, "x: 1", &["/x must be string - type: string"]);
        check_text(r#""text""#, "x:", &["/x must be string - type: string"]);
        check_text(r#""any-text""#, "x: ''", &[]);
        check_text(r#""text-or-bool""#, "x: true", &[]);
        check_text(
            r#""text-or-bool""#,
            "x: 1",
            &["/x must be string,boolean - type: string,boolean"],
        );
    }

    #[test]
    fn every_violation_is_found_and_keys_are_escaped() {
        let choice = r#"{"list": {"choice": ["a", "b"]}}"#;
        let allowed = "must be equal to one of the allowed values - allowedValues: a,b";
        let expected = [format!("/x/0 {allowed}"), "/x/2 must be string - type: string".into()];
        check_text(choice, "x: [c, a, 1]", &[&expected[0], &expected[1]]);
        let map = r#"{"map": "any-text"}"#;
        check_text(map, "x: {a/b~c: 1}", &["/x/a~1b~0c must be string - type: string"]);
        check_text(map, "x: []", &["/x must be object - type: object"]);
        check_text(map, "x: {\"a\\nb\": 1, '': 1}", &[]);
        check_text(r#""annotations""#, "x: [a, 1]", &["/x/1 must be string - type: string"]);
        check_text(r#""annotations""#, "x: 1", &[]);
    }

    #[test]
    fn words_and_closed_mappings() {
        let pattern = r#"/x must match pattern "^\w+$" - pattern: ^\w+$"#;
        check_text(r#""word""#, "x: ownedBy_2", &[]);
        check_text(r#""word""#, "x: owned-by", &[pattern]);
        check_text(r#""word""#, "x: ''", &["/x must NOT have fewer than 1 characters - limit: 1"]);
        let closed = r#"{"closed": [{"name": "a", "shape": "text", "required": true}]}"#;
        let unknown = "/x must NOT have additional properties - additionalProperty: b";
        check_text(closed, "x: {a: y}", &[]);
        check_text(closed, "x: {a: y, b: 1, c: 2}", &[unknown]);
    }

    #[test]
    fn required_fields_come_first() {
        let object = r#"{"object": [{"name": "a", "shape": "text"},
                                    {"name": "b", "shape": "text", "required": true}]}"#;
        let missing = "/x must have required property 'b' - missingProperty: b";
        check_text(object, "x: {a: 1}", &[missing, "/x/a must be string - type: string"]);
    }

    #[test]
    fn a_placeholder_stands_for_anything_in_the_spec_only() {
        let spec = r#"[{"name": "spec", "shape": {"object": [{"name": "d", "shape": "text"}]}}]"#;
        let fields: Vec<Field> = serde_json::from_str(spec).unwrap();
        let count = |text: &str| {
            let documents = yaml::parse(text);
            let mut violations = Vec::new();
            let root = documents[0].root.as_ref().unwrap();
            check_fields(root, &fields, &mut Vec::new(), &mut violations);
            violations.len()
        };
        assert_eq!(count("spec: {d: {$text: ./a.yaml}}"), 0);
        assert_eq!(count("spec: {d: {$text: 1}}"), 1);
        assert_eq!(count("spec: {d: {$other: x}}"), 1);
        assert_eq!(count("spec: {d: {$text: a, more: b}}"), 1);
        check_text(r#""text""#, "x: {$text: a}", &["/x must be string - type: string"]);
    }
}
