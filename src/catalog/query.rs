//! What a reader may ask of the view, in the words of Backstage's catalog API.
//!
//! Parsing and meaning of `filter`, `fields` and the two forms of ordering. Cursors, predicates
//! and full text are not here.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use serde_json::{Map, Value};

use crate::catalog::search::Row;

/// Why a query is refused; the words are those that Backstage's clients know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A statement of a filter has no key.
    #[error(
        "Invalid filter, '{0}' is not a valid statement (expected a string on the form a=b or a= \
         or a)"
    )]
    Statement(String),
    /// A field names an item of a list.
    #[error("Invalid field \"{0}\", array type fields are not supported")]
    Field(String),
    /// An `order` has no direction or no field.
    #[error("Invalid order parameter \"{0}\", expected \"<asc or desc>:<field name>\"")]
    Order(String),
    /// An `orderField` has a wrong direction.
    #[error("Invalid order field order, must be asc or desc")]
    OrderField,
}

/// `filter=`: an entity matches when all statements of any of the alternatives hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    alternatives: Vec<Vec<Statement>>,
}

/// One statement of a filter, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    key: String,
    /// Any of these; none means that the key has to exist.
    values: Vec<String>,
}

impl Filter {
    /// Reads all `filter` parameters; `None` when they ask for nothing.
    pub fn parse(params: &[String]) -> Result<Option<Self>, QueryError> {
        let mut alternatives = Vec::new();
        for param in params {
            let statements = parse_statements(param)?;
            if !statements.is_empty() {
                alternatives.push(statements);
            }
        }
        Ok((!alternatives.is_empty()).then_some(Self { alternatives }))
    }

    /// The filter in the form that is compared with [`marks`] of the same `hasher`.
    pub(super) fn compile(&self, hasher: &RandomState) -> CompiledFilter {
        let statement = |statement: &Statement| {
            if statement.values.is_empty() {
                return vec![mark(hasher, &statement.key, None)];
            }
            let values = statement.values.iter();
            values.map(|value| mark(hasher, &statement.key, Some(value))).collect()
        };
        let all = |all: &Vec<Statement>| all.iter().map(statement).collect();
        CompiledFilter(self.alternatives.iter().map(all).collect())
    }
}

fn parse_statements(param: &str) -> Result<Vec<Statement>, QueryError> {
    let mut statements: Vec<Statement> = Vec::new();
    for text in param.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key.trim().to_lowercase(), Some(value.trim().to_lowercase())),
            None => (text.to_lowercase(), None),
        };
        if key.is_empty() {
            return Err(QueryError::Statement(text.to_owned()));
        }
        match statements.iter_mut().find(|known| known.key == key) {
            Some(known) => known.values.extend(value),
            None => statements.push(Statement { key, values: value.into_iter().collect() }),
        }
    }
    Ok(statements)
}

/// A filter as marks: any of (all of (any of)).
pub(super) struct CompiledFilter(Vec<Vec<Vec<u64>>>);

impl CompiledFilter {
    /// Whether an entity with these marks matches.
    pub(super) fn matches(&self, marks: &[u64]) -> bool {
        let has = |mark: &u64| marks.binary_search(mark).is_ok();
        self.0.iter().any(|all| all.iter().all(|any| any.iter().any(has)))
    }
}

/// The marks of an entity, sorted: for each row that its key exists and that it has its value.
///
/// A mark is a 64-bit keyed hash, so that an entity's searchable facts take 16 bytes a row. Two
/// facts share a mark once in 10^19; the key is new in every process and cannot be aimed at.
pub(super) fn marks(hasher: &RandomState, rows: &[Row]) -> Box<[u64]> {
    let mut marks: Vec<u64> = rows
        .iter()
        .flat_map(|row| {
            let with_value = row.value.as_deref().map(|value| mark(hasher, &row.key, Some(value)));
            with_value.into_iter().chain([mark(hasher, &row.key, None)])
        })
        .collect();
    marks.sort_unstable();
    marks.dedup();
    marks.into()
}

fn mark(hasher: &RandomState, key: &str, value: Option<&str>) -> u64 {
    hasher.hash_one((key, value))
}

/// `fields=`: the parts of each entity that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    paths: Vec<String>,
}

impl Fields {
    /// Reads all `fields` parameters; `None` when they ask for whole entities.
    pub fn parse(params: &[String]) -> Result<Option<Self>, QueryError> {
        let texts = params.iter().flat_map(|param| param.split(','));
        let paths: Vec<String> =
            texts.map(str::trim).filter(|path| !path.is_empty()).map(str::to_owned).collect();
        match paths.iter().find(|path| path.contains('[')) {
            Some(path) => Err(QueryError::Field(path.clone())),
            None => Ok((!paths.is_empty()).then_some(Self { paths })),
        }
    }

    /// The entity with these parts only.
    pub fn project(&self, entity: &Value) -> Value {
        let mut projected = Value::Object(Map::new());
        for path in &self.paths {
            if let Some((steps, leaf)) = locate(entity, path) {
                insert(&mut projected, &steps, leaf.clone());
            }
        }
        projected
    }
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// Follows a dotted path. Keys may contain dots themselves: a part that is no key is joined with
/// the next one, the shortest key that exists is taken.
fn locate<'e, 'p>(entity: &'e Value, path: &'p str) -> Option<(Vec<Step<'p>>, &'e Value)> {
    let mut at = entity;
    let mut steps = Vec::new();
    let mut start = 0;
    let ends = path.match_indices('.').map(|(end, _)| end).chain([path.len()]);
    for end in ends {
        let part = &path[start..end];
        let found = match at {
            Value::Object(members) => members.get(part).map(|next| (Step::Key(part), next)),
            Value::Array(items) => part
                .parse()
                .ok()
                .and_then(|index| items.get(index).map(|next| (Step::Index(index), next))),
            _ => None,
        };
        if let Some((step, next)) = found {
            steps.push(step);
            at = next;
            start = end + 1;
        }
    }
    (start == path.len() + 1).then_some((steps, at))
}

fn insert(into: &mut Value, steps: &[Step<'_>], leaf: Value) {
    let Some((step, rest)) = steps.split_first() else {
        *into = leaf;
        return;
    };
    let slot = match step {
        Step::Key(key) => {
            if !into.is_object() {
                *into = Value::Object(Map::new());
            }
            &mut into[*key]
        }
        Step::Index(index) => {
            if !into.is_array() {
                *into = Value::Array(Vec::new());
            }
            if let Value::Array(items) = into
                && items.len() <= *index
            {
                items.resize(index + 1, Value::Null);
            }
            &mut into[*index]
        }
    };
    insert(slot, rest, leaf);
}

/// A field to order by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderField {
    /// The key in lower case.
    pub key: String,
    /// Which way.
    pub direction: Direction,
}

/// Which way to order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

impl OrderField {
    /// Reads an `order` of `/entities`: `asc:metadata.name`.
    pub fn parse_order(text: &str) -> Result<Self, QueryError> {
        let wrong = || QueryError::Order(text.to_owned());
        let (direction, field) = text.split_once(':').ok_or_else(wrong)?;
        let direction = parse_direction(direction).ok_or_else(wrong)?;
        if field.trim().is_empty() {
            return Err(wrong());
        }
        Ok(Self { key: field.trim().to_lowercase(), direction })
    }

    /// Reads an `orderField` of `/entities/by-query`: `metadata.name,asc`, ascending by default.
    pub fn parse_order_field(text: &str) -> Result<Self, QueryError> {
        let (field, direction) = text.split_once(',').unwrap_or((text, "asc"));
        let direction = parse_direction(direction).ok_or(QueryError::OrderField)?;
        Ok(Self { key: field.trim().to_lowercase(), direction })
    }
}

fn parse_direction(text: &str) -> Option<Direction> {
    match text.trim() {
        "asc" => Some(Direction::Ascending),
        "desc" => Some(Direction::Descending),
        _ => None,
    }
}

/// The order of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// By uid.
    Uid,
    /// By ref.
    Ref,
    /// By the values of a field, then by uid; once for each value, and without the entities that
    /// have none.
    Values(OrderField),
    /// By several fields, then by uid; entities without a value come last.
    Fields(Vec<OrderField>),
}
