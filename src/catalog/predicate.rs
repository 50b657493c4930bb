//! Reading a `query`: the predicates of bodies and cursors become a [`Filter`].
//!
//! What is no predicate is refused with all that [`super::schema`] objects to. What is one may ask
//! for what no index tells, and is refused for that.

use serde_json::{Map, Value};

use crate::catalog::filter::{DEPTH_MAX, Filter};
use crate::catalog::query::QueryError;
use crate::catalog::schema::PREDICATE;

/// Deepest nesting of a query that [`Filter::to_query`] made of one: each object of several fields
/// has become a list of objects.
const REWRITTEN_DEPTH_MAX: usize = 2 * DEPTH_MAX + 2;

/// The keys that a query of locations may compare.
const LOCATION_KEYS: [&str; 4] = ["id", "type", "target", "entityref"];

/// What a query is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Entities,
    /// Their values are no lists: nothing contains anything.
    Locations,
}

impl Filter {
    /// Reads a `query`.
    pub fn from_query(query: &Map<String, Value>) -> Result<Self, QueryError> {
        check(query)?;
        read_object(query, Subject::Entities, DEPTH_MAX)
    }

    /// Reads a `query` of locations.
    pub fn from_location_query(query: &Map<String, Value>) -> Result<Self, QueryError> {
        check(query)?;
        read_object(query, Subject::Locations, DEPTH_MAX)
    }

    /// Reads what [`Filter::to_query`] wrote into a cursor, which has been checked.
    pub fn from_cursor(query: &Value) -> Result<Self, QueryError> {
        read(query, Subject::Entities, REWRITTEN_DEPTH_MAX)
    }

    /// The same in a cursor of locations.
    pub fn from_location_cursor(query: &Map<String, Value>) -> Result<Self, QueryError> {
        read_object(query, Subject::Locations, REWRITTEN_DEPTH_MAX)
    }
}

fn check(query: &Map<String, Value>) -> Result<(), QueryError> {
    match PREDICATE.objections(&Value::Object(query.clone()), None) {
        None => Ok(()),
        Some(objections) => Err(QueryError::Predicate(objections)),
    }
}

fn read(query: &Value, subject: Subject, depth: usize) -> Result<Filter, QueryError> {
    match query {
        Value::Object(members) => read_object(members, subject, depth),
        _ if subject == Subject::Locations => {
            Err(QueryError::Unanswered("Invalid filter predicate, expected an object".to_owned()))
        }
        other => Err(QueryError::Unanswered(format!(
            "Invalid filter predicate: top-level primitive values are not supported. Wrap the \
             value in a field expression, e.g. {{ \"kind\": {other} }}"
        ))),
    }
}

fn read_object(
    query: &Map<String, Value>,
    subject: Subject,
    depth: usize,
) -> Result<Filter, QueryError> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(QueryError::Predicate(format!("nested deeper than {DEPTH_MAX} operators")));
    };
    let parts = |parts: &Value| {
        let parts = parts.as_array().into_iter().flatten();
        parts.map(|part| read(part, subject, depth)).collect::<Result<Vec<_>, _>>()
    };
    if let Some(part) = query.get("$not") {
        return Ok(Filter::Not(Box::new(read(part, subject, depth)?)));
    }
    if let Some(all) = query.get("$all") {
        return Ok(Filter::All(parts(all)?));
    }
    if let Some(any) = query.get("$any") {
        return Ok(Filter::Any(parts(any)?));
    }
    let fields = query.iter().map(|(key, value)| read_field(key, value, subject));
    let mut fields = fields.collect::<Result<Vec<_>, _>>()?;
    // One alone is itself, so that what a cursor holds does not grow from page to page.
    Ok(if fields.len() == 1 { fields.remove(0) } else { Filter::All(fields) })
}

fn read_field(field: &str, value: &Value, subject: Subject) -> Result<Filter, QueryError> {
    let key = field.to_lowercase();
    if subject == Subject::Locations && !LOCATION_KEYS.contains(&key.as_str()) {
        return Err(QueryError::Unanswered(format!(
            "Invalid filter predicate, expected key to be 'id', 'type', 'target', or \
             'entityRef', got '{field}'"
        )));
    }
    if let Some(value) = primitive(value) {
        return Ok(Filter::In(key, vec![value]));
    }
    let operator = |name: &str| value.get(name);
    // Of several the first in this order that is well formed counts; what else is there, not.
    if let Some(Value::Bool(exists)) = operator("$exists") {
        let filter = Filter::Exists(key);
        return Ok(if *exists { filter } else { Filter::Not(Box::new(filter)) });
    }
    if let Some(values) = operator("$in").and_then(primitives) {
        return Ok(Filter::In(key, values));
    }
    if let Some(item) = operator("$contains").filter(|item| is_predicate(item)) {
        return match item {
            // The key is kept, and nothing is equal to none of nothing.
            _ if subject == Subject::Locations => Ok(Filter::In(key, Vec::new())),
            Value::Object(item) => read_contained(&key, item),
            item => Ok(Filter::In(key, primitive(item).into_iter().collect())),
        };
    }
    match operator("$hasPrefix") {
        Some(Value::String(prefix)) => Ok(Filter::Prefix(key, prefix.to_lowercase())),
        _ => Err(QueryError::Unanswered(format!(
            "Invalid filter predicate value for field \"{key}\": expected a primitive value, \
             $exists, $in, $hasPrefix, or $contains operator, but got {value}"
        ))),
    }
}

fn is_predicate(value: &Value) -> bool {
    PREDICATE.objections(value, None).is_none()
}

/// The object form of `$contains`, which only relations have.
fn read_contained(field: &str, item: &Map<String, Value>) -> Result<Filter, QueryError> {
    if field != "relations" {
        return Err(QueryError::Unanswered(format!(
            "Object form of $contains is not supported for field \"{field}\""
        )));
    }
    let (mut kind, mut targets) = (None, None);
    for (written, value) in item {
        let wrong = |message: String| Err(QueryError::Unanswered(message));
        let is_second = match written.to_lowercase().as_str() {
            "type" => match value.as_str() {
                Some(text) => kind.replace(text.to_lowercase()).is_some(),
                None => return wrong(NO_TYPE.to_owned()),
            },
            "targetref" => targets.replace(read_targets(value)?).is_some(),
            _ => {
                return wrong(format!(
                    "Unsupported key \"{written}\" in $contains for \"relations\". Only \"type\" \
                     and \"targetRef\" are supported"
                ));
            }
        };
        if is_second {
            return wrong(format!("Duplicate key \"{written}\" in $contains for \"relations\""));
        }
    }
    let kind = kind.filter(|kind| !kind.is_empty());
    let kind = kind.ok_or_else(|| QueryError::Unanswered(NO_TYPE.to_owned()))?;
    let key = format!("relations.{kind}");
    Ok(match targets {
        None => Filter::Exists(key),
        Some(targets) => Filter::In(key, targets),
    })
}

const NO_TYPE: &str =
    "The $contains operator for \"relations\" requires a \"type\" string property";

fn read_targets(value: &Value) -> Result<Vec<String>, QueryError> {
    let lower = |item: &Value| item.as_str().map(str::to_lowercase);
    let listed = |operators: &Map<String, Value>| {
        let items = operators.get("$in").filter(|_| operators.len() == 1)?.as_array()?;
        items.iter().map(lower).collect::<Option<Vec<_>>>()
    };
    match value {
        Value::String(target) => Some(vec![target.to_lowercase()]),
        Value::Object(operators) => listed(operators),
        _ => None,
    }
    .ok_or_else(|| {
        QueryError::Unanswered(format!(
            "Unsupported value in $contains for \"relations\": expected a string or \
             {{ \"$in\": [strings] }}, but got {value}"
        ))
    })
    .and_then(|targets| match targets.is_empty() {
        false => Ok(targets),
        true => Err(QueryError::Unanswered(
            "Empty \"$in\" array for $contains on \"relations\" is not allowed".to_owned(),
        )),
    })
}

fn primitives(items: &Value) -> Option<Vec<String>> {
    items.as_array()?.iter().map(primitive).collect()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
            let reread = Filter::from_cursor(&again).unwrap();
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
