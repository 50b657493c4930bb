//! Filters: which entities are meant, in the two forms of Backstage's catalog API.
//!
//! `filter=` parameters and the `query` of a body, which `predicate` reads, become the same tree.
//! Keys and values are compared in lower case with the rows of [`super::search`].

use serde_json::{Value, json};

use crate::catalog::index::Index;
use crate::catalog::postings::Set;
use crate::catalog::query::QueryError;

/// Deepest nesting of a query, beyond what anybody writes: reading and comparing are recursive.
pub(super) const DEPTH_MAX: usize = 16;

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

    /// Reads the form that cursors of Backstage hold filters in: `{"key": …, "values": […]}` and
    /// `allOf`, `anyOf`, `not` of such. `None` when it is another form.
    pub fn from_tree(tree: &Value) -> Option<Self> {
        Self::read_tree(tree, DEPTH_MAX)
    }

    fn read_tree(tree: &Value, depth: usize) -> Option<Self> {
        let depth = depth.checked_sub(1)?;
        let part = |part: &Value| Self::read_tree(part, depth);
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

    /// The filter in that form; `None` when it cannot be said in it.
    pub fn to_tree(&self) -> Option<Value> {
        let each = |parts: &[Self]| parts.iter().map(Self::to_tree).collect::<Option<Vec<_>>>();
        Some(match self {
            Self::All(parts) => json!({ "allOf": each(parts)? }),
            Self::Any(parts) => json!({ "anyOf": each(parts)? }),
            Self::Not(part) => json!({ "not": part.to_tree()? }),
            Self::Exists(key) => json!({ "key": key }),
            Self::In(key, values) => json!({ "key": key, "values": values }),
            Self::Prefix(..) => return None,
        })
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
    // None means that the key has to exist. The same key in another case is another statement.
    let mut statements: Vec<(&str, Vec<String>)> = Vec::new();
    for text in param.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key.trim(), Some(value.trim().to_lowercase())),
            None => (text, None),
        };
        if key.is_empty() {
            return Err(QueryError::Statement(text.to_owned()));
        }
        match statements.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.extend(value),
            None => statements.push((key, value.into_iter().collect())),
        }
    }
    let filter = |(key, values): (&str, Vec<String>)| match values.is_empty() {
        true => Filter::Exists(key.to_lowercase()),
        false => Filter::In(key.to_lowercase(), values),
    };
    Ok(statements.into_iter().map(filter).collect())
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
        statements(&["a=b,A=c"], all(json!([{"a": {"$in": ["b"]}}, {"a": {"$in": ["c"]}}])));
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
}
