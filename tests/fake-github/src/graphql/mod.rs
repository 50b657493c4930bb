//! GraphQL as GitHub speaks it: parse, check against the schema and the limits, execute.
//!
//! A query that GitHub would refuse is refused here, in the words GitHub uses, with status 200.

mod check;
mod execute;
mod page;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use graphql_parser::query::{
    Definition, Field, FragmentDefinition, OperationDefinition, Selection,
};
use graphql_parser::query::{Query, Value as Literal};
use serde_json::{Map, Value, json};

use crate::calls::CallKind;
use crate::state::State;

pub(crate) use execute::View;

/// A parsed request.
pub(crate) struct Request<'q> {
    query: Query<'q, &'q str>,
    fragments: HashMap<&'q str, FragmentDefinition<'q, &'q str>>,
    variables: Map<String, Value>,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The body.
    pub(crate) body: Value,
    /// Points it cost.
    pub(crate) cost: u64,
    /// Node ids asked for.
    pub(crate) nodes: usize,
    /// Logins of the owners it touched, allowed or not.
    pub(crate) touched: Vec<String>,
}

impl Answer {
    fn refused(errors: Vec<Value>) -> Self {
        let body = json!({ "errors": errors });
        Self { body, cost: 1, nodes: 0, touched: Vec::new() }
    }
}

impl<'q> Request<'q> {
    /// Parses a query; the error is the body to answer with.
    pub(crate) fn parse(text: &'q str, variables: &Value) -> Result<Self, Value> {
        let refuse = |message: &str| json!({"errors": [{"message": message}]});
        let document = graphql_parser::parse_query::<&str>(text)
            .map_err(|error| refuse(&format!("Parse error on {error}")))?;
        let mut query = None;
        let mut fragments = HashMap::new();
        for definition in document.definitions {
            match definition {
                Definition::Operation(OperationDefinition::Query(found)) => {
                    if query.replace(found).is_some() {
                        return Err(refuse("An operation name is required"));
                    }
                }
                Definition::Operation(OperationDefinition::SelectionSet(_)) => {
                    return Err(refuse("the fake asks for `query` to be written out"));
                }
                Definition::Operation(_) => return Err(refuse("the fake only answers queries")),
                Definition::Fragment(fragment) => {
                    fragments.insert(fragment.name, fragment);
                }
            }
        }
        let query = query.ok_or_else(|| refuse("A query attribute must be specified"))?;
        let variables = match variables {
            Value::Object(map) => map.clone(),
            Value::Null => Map::new(),
            _ => return Err(refuse("variables must be an object")),
        };
        Ok(Self { query, fragments, variables })
    }

    /// What the request is for.
    pub(crate) fn kind(&self) -> CallKind {
        let fields = || fields(&self.query.selection_set.items);
        let lists = |field: &Field<'q, &'q str>| {
            let inner = self::fields(&field.selection_set.items);
            inner.filter(|inner| inner.name == "repositories").count()
        };
        if fields().any(|field| field.name == "nodes") {
            CallKind::Nodes
        } else if fields().any(|field| ["node", "repository"].contains(&field.name)) {
            CallKind::Files
        } else {
            match fields().map(lists).sum() {
                0 => CallKind::OtherGraphql,
                1 => CallKind::List,
                _ => CallKind::Latest,
            }
        }
    }

    /// Checks and executes for a token.
    pub(crate) fn answer(&self, state: &State, token: &str, view: View) -> Answer {
        match check::check(self) {
            Ok(bill) => execute::execute(self, state, token, view, &bill),
            Err(errors) => Answer::refused(errors),
        }
    }

    /// How many node ids are asked for.
    pub(crate) fn node_count(&self) -> usize {
        self.node_ids().len()
    }

    /// The node ids that are asked for.
    pub(crate) fn node_ids(&self) -> Vec<String> {
        let nodes = fields(&self.query.selection_set.items).find(|field| field.name == "nodes");
        let ids = nodes.and_then(|field| self.argument(field, "ids"));
        let ids = ids.as_ref().and_then(Value::as_array);
        let text = |id: &Value| id.as_str().unwrap_or_default().to_owned();
        ids.map(|ids| ids.iter().map(text).collect()).unwrap_or_default()
    }

    /// How much is asked for: node ids, the largest page of repositories, or objects of
    /// repositories that are asked for one by one.
    pub(crate) fn size(&self) -> usize {
        let all = fields(&self.query.selection_set.items);
        let inner = all.flat_map(|field| fields(&field.selection_set.items));
        let pages = inner.filter_map(|field| self.argument(field, "first")?.as_u64());
        let page = usize::try_from(pages.max().unwrap_or(0)).unwrap_or(usize::MAX);
        page.max(self.node_count()).max(self.objects())
    }

    fn objects(&self) -> usize {
        let one_by_one = |field: &&Field<'q, &'q str>| ["node", "repository"].contains(&field.name);
        let all = fields(&self.query.selection_set.items).filter(one_by_one);
        all.map(|field| objects(&field.selection_set.items)).sum()
    }

    fn argument(&self, field: &Field<'q, &'q str>, name: &str) -> Option<Value> {
        let (_, literal) = field.arguments.iter().find(|(given, _)| *given == name)?;
        Some(self.value(literal))
    }

    /// A literal with its variables filled in.
    fn value(&self, literal: &Literal<'q, &'q str>) -> Value {
        match literal {
            Literal::Variable(name) => self.variable(name),
            Literal::Int(number) => json!(number.as_i64()),
            Literal::Float(number) => json!(number),
            Literal::String(text) => json!(text),
            Literal::Boolean(value) => json!(value),
            Literal::Null => Value::Null,
            Literal::Enum(name) => json!(name),
            Literal::List(items) => items.iter().map(|item| self.value(item)).collect(),
            Literal::Object(fields) => {
                fields.iter().map(|(name, value)| ((*name).to_owned(), self.value(value))).collect()
            }
        }
    }

    fn variable(&self, name: &str) -> Value {
        if let Some(value) = self.variables.get(name) {
            return value.clone();
        }
        let declared = self.query.variable_definitions.iter().find(|found| found.name == name);
        let default = declared.and_then(|found| found.default_value.as_ref());
        default.map_or(Value::Null, |literal| self.value(literal))
    }
}

fn fields<'a, 'q>(
    items: &'a [Selection<'q, &'q str>],
) -> impl Iterator<Item = &'a Field<'q, &'q str>> {
    items.iter().filter_map(|item| match item {
        Selection::Field(field) => Some(field),
        _ => None,
    })
}

/// How many objects a selection asks for, in fragments too.
fn objects<'q>(items: &[Selection<'q, &'q str>]) -> usize {
    let of = |item: &Selection<'q, &'q str>| match item {
        Selection::Field(field) => usize::from(field.name == "object"),
        Selection::InlineFragment(inline) => objects(&inline.selection_set.items),
        Selection::FragmentSpread(_) => 0,
    };
    items.iter().map(of).sum()
}

/// The key under which a field's value is answered.
fn response_key<'q>(field: &Field<'q, &'q str>) -> &'q str {
    field.alias.unwrap_or(field.name)
}
