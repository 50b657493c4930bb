//! Filters: which entities are meant, in the two forms of Backstage's catalog API.
//!
//! `filter=` parameters and the `query` of a body become the same tree. Keys and values are
//! compared in lower case with the rows of [`super::search`].

use serde_json::{Map, Value, json};

use crate::catalog::index::Index;
use crate::catalog::postings::Set;
use crate::catalog::query::QueryError;

/// Deepest nesting of a query, beyond what anybody writes: reading and comparing are recursive.
const DEPTH_MAX: usize = 16;

/// Deepest nesting of a query that [`Filter::to_query`] made of one: each object of several fields
/// has become a list of objects.
const REWRITTEN_DEPTH_MAX: usize = 2 * DEPTH_MAX + 2;

/// Which entities are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All of these hold.
    All(Vec<Self>),
    /// Any of these holds.
    Any(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// The key exists.
    Exists(String),
    /// The key has one of these values.
    In(String, Vec<String>),
    /// The key has a value that starts so.
    Prefix(String, String),
}

impl Filter {
    /// Reads all `filter` parameters; `None` when they ask for nothing.
    pub fn parse(params: &[String]) -> Result<Option<Self>, QueryError> {
        let mut alternatives = Vec::new();
        for param in params {
            let statements = parse_statements(param)?;
            if !statements.is_empty() {
                alternatives.push(Self::All(statements));
            }
        }
        Ok((!alternatives.is_empty()).then_some(Self::Any(alternatives)))
    }

    /// Reads a `query`.
    pub fn from_query(query: &Map<String, Value>) -> Result<Self, QueryError> {
        read(query, DEPTH_MAX)
    }

    /// Reads what [`Filter::to_query`] wrote into a cursor.
    pub fn from_cursor(query: &Map<String, Value>) -> Result<Self, QueryError> {
        read(query, REWRITTEN_DEPTH_MAX)
    }

    /// Reads the form that cursors of Backstage hold filters in: `{"key": …, "values": […]}` and
    /// `allOf`, `anyOf`, `not` of such. `None` when it is another form.
    pub fn from_tree(tree: &Map<String, Value>) -> Option<Self> {
        Self::read_tree(tree, DEPTH_MAX)
    }

    fn read_tree(tree: &Map<String, Value>, depth: usize) -> Option<Self> {
        let depth = depth.checked_sub(1)?;
        let part = |part: &Value| Self::read_tree(part.as_object()?, depth);
        let parts =
            |name: &str| tree.get(name)?.as_array()?.iter().map(part).collect::<Option<Vec<_>>>();
        if let Some(key) = tree.get("key") {
            let key = key.as_str()?.to_lowercase();
            let Some(values) = tree.get("values") else { return Some(Self::Exists(key)) };
            let lower = |value: &Value| value.as_str().map(str::to_lowercase);
            return Some(Self::In(
                key,
                values.as_array()?.iter().map(lower).collect::<Option<_>>()?,
            ));
        }
        match tree.get("not") {
            Some(not) => Some(Self::Not(Box::new(part(not)?))),
            None => parts("allOf").map(Self::All).or_else(|| parts("anyOf").map(Self::Any)),
        }
    }

    /// What both ask for.
    pub fn both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(Self::All(vec![one, other])),
            (one, other) => one.or(other),
        }
    }

    /// The filter as a query that [`Filter::from_query`] reads.
    pub fn to_query(&self) -> Value {
        let each = |parts: &[Self]| parts.iter().map(Self::to_query).collect::<Vec<_>>();
        match self {
            Self::All(parts) => json!({ "$all": each(parts) }),
            Self::Any(parts) => json!({ "$any": each(parts) }),
            Self::Not(part) => json!({ "$not": part.to_query() }),
            // Only a parameter can name such a key, and no entity has one: it would be taken for an
            // operator. Nothing matches none of nothing either.
            Self::Exists(key) | Self::In(key, _) | Self::Prefix(key, _) if key.starts_with('$') => {
                json!({ "$any": [] })
            }
            Self::Exists(key) => json!({ key: { "$exists": true } }),
            Self::In(key, values) => json!({ key: { "$in": values } }),
            Self::Prefix(key, prefix) => json!({ key: { "$hasPrefix": prefix } }),
        }
    }

    /// The one kind that everything that matches is of, where the filter says so.
    pub(super) fn kind(&self) -> Option<&str> {
        match self {
            Self::All(parts) => parts.iter().find_map(Self::kind),
            Self::Any(parts) => match parts.as_slice() {
                [only] => only.kind(),
                _ => None,
            },
            Self::In(key, values) => match values.as_slice() {
                [kind] if key == "kind" => Some(kind),
                _ => None,
            },
            Self::Not(_) | Self::Exists(_) | Self::Prefix(..) => None,
        }
    }

    /// The keys that it compares.
    pub fn keys(&self) -> Vec<&str> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::keys).collect(),
            Self::Not(part) => part.keys(),
            Self::Exists(key) | Self::In(key, _) | Self::Prefix(key, _) => vec![key],
        }
    }

    /// Whether it holds for something with at most one lower-case value under each key.
    pub fn holds(&self, value: &dyn Fn(&str) -> Option<String>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(value)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(value)),
            Self::Not(part) => !part.holds(value),
            Self::Exists(key) => value(key).is_some(),
            Self::In(key, values) => value(key).is_some_and(|value| values.contains(&value)),
            Self::Prefix(key, prefix) => value(key).is_some_and(|v| v.starts_with(prefix)),
        }
    }

    /// Who is meant, among entities with numbers below `numbers`.
    pub(super) fn find(&self, index: &Index, everything: &Set, numbers: usize) -> Set {
        let find = |part: &Self| part.find(index, everything, numbers);
        let mut set = Set::empty(numbers);
        match self {
            Self::All(parts) => {
                set.merge(everything);
                parts.iter().for_each(|part| set.keep(&find(part)));
            }
            Self::Any(parts) => parts.iter().for_each(|part| set.merge(&find(part))),
            Self::Not(part) => {
                set.merge(everything);
                set.subtract(&find(part));
            }
            Self::Exists(key) => {
                if let Some(posting) = index.with_key(key) {
                    set.add(posting);
                }
            }
            Self::In(key, values) => {
                values.iter().for_each(|value| index.add_equal(key, value, &mut set));
            }
            Self::Prefix(key, prefix) => index.add_prefixed(key, prefix, &mut set),
        }
        set
    }
}

fn parse_statements(param: &str) -> Result<Vec<Filter>, QueryError> {
    // None means that the key has to exist.
    let mut statements: Vec<(String, Vec<String>)> = Vec::new();
    for text in param.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key.trim().to_lowercase(), Some(value.trim().to_lowercase())),
            None => (text.to_lowercase(), None),
        };
        if key.is_empty() {
            return Err(QueryError::Statement(text.to_owned()));
        }
        match statements.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.extend(value),
            None => statements.push((key, value.into_iter().collect())),
        }
    }
    let filter = |(key, values): (String, Vec<String>)| match values.is_empty() {
        true => Filter::Exists(key),
        false => Filter::In(key, values),
    };
    Ok(statements.into_iter().map(filter).collect())
}

fn wrong(message: impl Into<String>) -> QueryError {
    QueryError::Predicate(message.into())
}

fn read(query: &Map<String, Value>, depth: usize) -> Result<Filter, QueryError> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(wrong(format!("nested deeper than {DEPTH_MAX} operators")));
    };
    let operator = query.keys().find(|key| key.starts_with('$'));
    let Some(operator) = operator else {
        let fields = query.iter().map(|(key, value)| read_field(key, value));
        let mut fields = fields.collect::<Result<Vec<_>, _>>()?;
        // One alone is itself, so that what a cursor holds does not grow from page to page.
        return Ok(if fields.len() == 1 { fields.remove(0) } else { Filter::All(fields) });
    };
    if !["$all", "$any", "$not"].contains(&operator.as_str()) {
        return Err(wrong(format!("Invalid at \"{operator}\"")));
    }
    if let Some(other) = query.keys().find(|key| *key != operator) {
        return Err(wrong(format!("Unrecognized key(s) in object: '{other}'")));
    }
    let operand = &query[operator];
    let read_part = |part: &Value, at: &str| match part {
        Value::Object(members) => read(members, depth),
        other => Err(wrong(format!("Expected object, received {} at \"{at}\"", type_of(other)))),
    };
    if operator == "$not" {
        return Ok(Filter::Not(Box::new(read_part(operand, "$not")?)));
    }
    let Value::Array(parts) = operand else {
        let found = type_of(operand);
        return Err(wrong(format!("Expected array, received {found} at \"{operator}\"")));
    };
    let parts = parts
        .iter()
        .enumerate()
        .map(|(index, part)| read_part(part, &format!("{operator}[{index}]")))
        .collect::<Result<_, _>>()?;
    Ok(if operator == "$all" { Filter::All(parts) } else { Filter::Any(parts) })
}

fn read_field(field: &str, value: &Value) -> Result<Filter, QueryError> {
    let key = field.to_lowercase();
    if let Some(value) = primitive(value) {
        return Ok(Filter::In(key, vec![value]));
    }
    let Value::Object(operators) = value else {
        let found = type_of(value);
        return Err(wrong(format!(
            "Expected string, number, boolean or object, received {found} at \"{field}\""
        )));
    };
    // Of several the first in this order that is well formed counts; what else is there, not.
    let known = ["$exists", "$in", "$contains", "$hasPrefix"];
    let mut given = known.into_iter().filter_map(|name| operators.get_key_value(name)).peekable();
    if given.peek().is_none() {
        return Err(match operators.keys().next() {
            Some(other) => {
                wrong(format!("Unrecognized key(s) in object: '{other}' at \"{field}\""))
            }
            None => wrong(format!("Invalid at \"{field}\": expected an operator")),
        });
    }
    let mut read = given.map(|(operator, operand)| read_operator(field, operator, operand));
    let first = read.next().unwrap_or_else(|| Err(wrong("no operator")));
    first.or_else(|error| read.find_map(Result::ok).ok_or(error))
}

fn read_operator(field: &str, operator: &str, operand: &Value) -> Result<Filter, QueryError> {
    let key = field.to_lowercase();
    let expected = |what: &str, found: &Value, at: &str| {
        wrong(format!("Expected {what}, received {} at \"{field}{at}\"", type_of(found)))
    };
    match operator {
        "$exists" => match operand {
            Value::Bool(true) => Ok(Filter::Exists(key)),
            Value::Bool(false) => Ok(Filter::Not(Box::new(Filter::Exists(key)))),
            other => Err(expected("boolean", other, ".$exists")),
        },
        "$in" => Ok(Filter::In(key, read_values(field, operand)?)),
        "$hasPrefix" => match operand {
            Value::String(prefix) => Ok(Filter::Prefix(key, prefix.to_lowercase())),
            other => Err(expected("string", other, ".$hasPrefix")),
        },
        "$contains" => match operand {
            Value::Object(item) => read_contained(field, item),
            other => match primitive(other) {
                Some(value) => Ok(Filter::In(key, vec![value])),
                None => Err(expected("string, number, boolean or object", other, ".$contains")),
            },
        },
        other => Err(wrong(format!("Unrecognized key(s) in object: '{other}' at \"{field}\""))),
    }
}

fn read_values(field: &str, operand: &Value) -> Result<Vec<String>, QueryError> {
    let wrong = |found: &Value| {
        let found = type_of(found);
        wrong(format!("Expected an array of primitive values, received {found} at \"{field}.$in\""))
    };
    let Value::Array(items) = operand else { return Err(wrong(operand)) };
    items.iter().map(|item| primitive(item).ok_or_else(|| wrong(item))).collect()
}

/// The object form of `$contains`, which only relations have.
fn read_contained(field: &str, item: &Map<String, Value>) -> Result<Filter, QueryError> {
    if field.to_lowercase() != "relations" {
        return Err(QueryError::Contains(format!(
            "Object form of $contains is not supported for field \"{field}\""
        )));
    }
    let Some(kind) = item.get("type").and_then(Value::as_str) else {
        return Err(QueryError::Contains(
            "The $contains operator for \"relations\" requires a \"type\" string property".into(),
        ));
    };
    let key = format!("relations.{kind}").to_lowercase();
    if let Some(other) = item.keys().find(|key| !["type", "targetRef"].contains(&key.as_str())) {
        return Err(QueryError::Contains(format!(
            "Unsupported key \"{other}\" in $contains for \"relations\". Only \"type\" and \
             \"targetRef\" are supported"
        )));
    }
    match item.get("targetRef") {
        None => Ok(Filter::Exists(key)),
        Some(Value::String(target)) => Ok(Filter::In(key, vec![target.to_lowercase()])),
        Some(Value::Object(operators)) if operators.len() == 1 && operators.contains_key("$in") => {
            Ok(Filter::In(key, read_values("relations.targetRef", &operators["$in"])?))
        }
        Some(other) => Err(QueryError::Contains(format!(
            "Unsupported value in $contains for \"relations\": expected a string or \
             {{ \"$in\": [strings] }}, but got {other}"
        ))),
    }
}

/// A value as the rows hold it.
fn primitive(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.to_lowercase()),
        Value::Number(number) => Some(crate::catalog::search::as_javascript(number)),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn statements(params: &[&str], expected: Value) {
        let params: Vec<String> = params.iter().map(|param| (*param).to_owned()).collect();
        let found = Filter::parse(&params).unwrap().map_or(Value::Null, |filter| filter.to_query());
        assert_eq!(found, expected, "{params:?}");
    }

    #[test]
    fn statements_become_the_same_tree_as_a_query() {
        let all = |parts: Value| json!({ "$any": [{ "$all": parts }] });
        statements(&["a"], all(json!([{"a": {"$exists": true}}])));
        statements(&["A=B=c"], all(json!([{"a": {"$in": ["b=c"]}}])));
        statements(&["a="], all(json!([{"a": {"$in": [""]}}])));
        statements(&["a=b,a=c"], all(json!([{"a": {"$in": ["b", "c"]}}])));
        statements(&["a=b,a"], all(json!([{"a": {"$in": ["b"]}}])));
        statements(&["a,a=b"], all(json!([{"a": {"$in": ["b"]}}])));
        statements(
            &["x=1", " ", "y"],
            json!({"$any": [
                {"$all": [{"x": {"$in": ["1"]}}]}, {"$all": [{"y": {"$exists": true}}]},
            ]}),
        );
        statements(&[",", ""], Value::Null);
    }

    #[test]
    fn a_query_reads_back_as_it_was_however_often() {
        let mut deep = json!({"kind": "api", "spec.type": "x"});
        for _ in 1..DEPTH_MAX {
            deep = json!({ "$not": deep });
        }
        for query in [
            json!({}),
            json!({"$any": []}),
            json!({"$not": {"$all": [{"kind": {"$in": ["api", "7", "true"]}}]}}),
            json!({"$any": [{"spec.type": {"$hasPrefix": "web"}}, {"x": {"$exists": false}}]}),
            json!({"kind": "api", "spec.type": {"$contains": "x"}}),
            deep,
        ] {
            let filter = Filter::from_query(query.as_object().unwrap()).unwrap();
            let again = filter.to_query();
            let reread = Filter::from_cursor(again.as_object().unwrap()).unwrap();
            assert_eq!(reread, filter, "{query}");
        }
    }

    #[test]
    fn what_is_no_query_is_refused() {
        let mut deep = json!({});
        for _ in 0..DEPTH_MAX {
            deep = json!({ "$not": deep });
        }
        for query in [
            json!({"$nope": 1}),
            json!({"$all": {}}),
            json!({"$all": [], "kind": "api"}),
            json!({"$all": ["x"]}),
            json!({"$not": []}),
            json!({"kind": null}),
            json!({"kind": ["api"]}),
            json!({"kind": {}}),
            json!({"kind": {"$in": "api"}}),
            json!({"kind": {"$in": [null]}}),
            json!({"kind": {"$exists": 1}}),
            json!({"kind": {"$hasPrefix": 1}}),
            json!({"kind": {"$gt": 1}}),
            json!({"kind": {"$contains": null}}),
            json!({"relations": {"$contains": {"type": 1}}}),
            json!({"relations": {"$contains": {"type": "a", "targetRef": 1}}}),
            json!({"relations": {"$contains": {"type": "a", "target": "b"}}}),
            json!({"metadata.links": {"$contains": {"type": "a"}}}),
            deep,
        ] {
            assert!(Filter::from_query(query.as_object().unwrap()).is_err(), "{query}");
        }
    }
}
