//! Cursors of `by-query`: where a page ended, and the question it belongs to.
//!
//! They have the form that Backstage's client looks into: base64 of JSON with `filter` where the
//! question came as parameters and `query` where it came as a body, because the client then asks
//! for the next page in the same way. Whatever else is in a cursor is checked like a request: a
//! forged one asks for nothing that its sender could not have asked for.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::catalog::filter::Filter;
use crate::catalog::javascript;
use crate::catalog::query::{Direction, FullText, OrderField, QueryError};
use crate::catalog::uid::Uid;

/// A question and a place in its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The question.
    pub question: Question,
    /// The last item of the page before, or the first of the page after.
    pub at: Position,
    /// The first item of the first page.
    pub first: Position,
    /// Whether the page before `at` is meant.
    pub is_previous: bool,
    /// How many entities the first page said there are; 0 when it was not asked to count.
    pub total: usize,
}

/// What a first page and its successors have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// Which entities are meant.
    pub filter: Option<Filter>,
    /// How they were asked for.
    pub form: Form,
    /// A text in some of their fields.
    pub text: Option<FullText>,
    /// By which field they are ordered; by uid where none is named.
    pub order: Option<OrderField>,
}

/// How a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// In the parameters of a GET.
    #[default]
    Parameters,
    /// In the body of a POST.
    Body,
}

/// The place of an item: its value of the order field, if there is one, and its uid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// In lower case.
    pub value: Option<Box<str>>,
    /// The entity.
    pub uid: Uid,
}

impl Position {
    fn to_json(&self) -> Value {
        self.value.iter().map(|value| value.to_string()).chain([self.uid.to_string()]).collect()
    }

    /// What is missing is taken for the start.
    fn read(value: &Value, has_order: bool) -> Option<Self> {
        let texts = value.as_array()?.iter().map(|item| match item {
            Value::Null => Some(""),
            item => item.as_str(),
        });
        let mut texts = texts.collect::<Option<Vec<&str>>>()?.into_iter();
        let value = has_order.then(|| Box::from(texts.next().unwrap_or_default()));
        Some(Self { value, uid: Uid::near(texts.next().unwrap_or_default()) })
    }
}

impl Cursor {
    /// The cursor as a client gets it.
    pub fn encode(&self) -> String {
        let Question { filter, form, text, order } = &self.question;
        let order = order.iter().map(|order| {
            let direction = match order.direction {
                Direction::Ascending => "asc",
                Direction::Descending => "desc",
            };
            json!({ "field": order.key, "order": direction })
        });
        let text = text.as_ref().map_or_else(
            || json!({ "term": "" }),
            |text| match &text.fields {
                Some(fields) => json!({ "term": text.term, "fields": fields }),
                None => json!({ "term": text.term }),
            },
        );
        let mut cursor = json!({
            "orderFields": order.collect::<Vec<_>>(),
            "orderFieldValues": self.at.to_json(),
            "firstSortFieldValues": self.first.to_json(),
            "isPrevious": self.is_previous,
            "fullTextFilter": text,
            "totalItems": self.total,
        });
        if let Some(filter) = filter {
            let name = if *form == Form::Body { "query" } else { "filter" };
            cursor[name] = filter.to_query();
        } else if *form == Form::Body {
            cursor["query"] = json!({});
        }
        STANDARD.encode(cursor.to_string())
    }

    /// Reads what a client sends.
    pub fn decode(text: &str) -> Result<Self, QueryError> {
        if text.is_empty() {
            return Err(QueryError::EmptyCursor);
        }
        let bytes = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD]
            .iter()
            .find_map(|engine| engine.decode(text).ok())
            .unwrap_or_default();
        let json = String::from_utf8_lossy(&bytes);
        let cursor: Value = serde_json::from_str(&json).map_err(|_| {
            QueryError::Cursor(format!("SyntaxError: {}", javascript::syntax_error(&json)))
        })?;
        let Value::Object(members) = &cursor else {
            return Err(QueryError::Cursor("Validation error: Expected object".into()));
        };
        Self::read(members)
    }

    fn read(members: &Map<String, Value>) -> Result<Self, QueryError> {
        let invalid = |name: &str| {
            let what = if members.contains_key(name) { "Invalid" } else { "Required" };
            QueryError::Cursor(format!("Validation error: {what} at \"{name}\""))
        };
        let member = |name: &str| members.get(name).unwrap_or(&Value::Null);
        let orders = member("orderFields").as_array().ok_or_else(|| invalid("orderFields"))?;
        let order = match orders.first() {
            Some(order) => Some(read_order(order).ok_or_else(|| invalid("orderFields"))?),
            None => None,
        };
        let position =
            |name: &str| Position::read(member(name), order.is_some()).ok_or_else(|| invalid(name));
        let form = if members.contains_key("query") { Form::Body } else { Form::Parameters };
        let name = if form == Form::Body { "query" } else { "filter" };
        let filter = match members.get(name) {
            None => None,
            Some(Value::Object(parts)) if form == Form::Parameters => {
                let tree = Filter::from_tree(parts);
                Some(tree.map_or_else(|| Filter::from_cursor(parts), Ok)?)
            }
            Some(Value::Object(query)) => Some(Filter::from_cursor(query)?),
            Some(_) => return Err(invalid(name)),
        };
        let total = match member("totalItems") {
            Value::Null => 0,
            number => {
                let number = number.as_u64().and_then(|number| usize::try_from(number).ok());
                number.ok_or_else(|| invalid("totalItems"))?
            }
        };
        Ok(Self {
            at: position("orderFieldValues")?,
            first: match members.get("firstSortFieldValues") {
                Some(_) => position("firstSortFieldValues")?,
                None => position("orderFieldValues")?,
            },
            is_previous: member("isPrevious").as_bool().ok_or_else(|| invalid("isPrevious"))?,
            total,
            question: Question {
                filter,
                form,
                text: read_text(member("fullTextFilter"))
                    .ok_or_else(|| invalid("fullTextFilter"))?,
                order,
            },
        })
    }
}

fn read_order(order: &Value) -> Option<OrderField> {
    let direction = match order.get("order") {
        None => Direction::Ascending,
        Some(text) => match text.as_str()? {
            "asc" => Direction::Ascending,
            "desc" => Direction::Descending,
            _ => return None,
        },
    };
    Some(OrderField { key: order.get("field")?.as_str()?.to_lowercase(), direction })
}

/// `None` when it is no full text.
fn read_text(text: &Value) -> Option<Option<FullText>> {
    if text.is_null() {
        return Some(None);
    }
    let fields = match text.get("fields") {
        None => None,
        Some(fields) => {
            let fields = fields.as_array()?.iter().map(|field| field.as_str().map(str::to_owned));
            Some(fields.collect::<Option<_>>()?)
        }
    };
    Some(FullText::new(text.get("term")?.as_str()?, fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(order: Option<OrderField>) -> Cursor {
        let value = order.as_ref().map(|_| Box::from("some value"));
        let position = Position { value, uid: Uid::of("component:default/a") };
        Cursor {
            question: Question {
                filter: Filter::parse(&["kind=api,x".to_owned()]).unwrap(),
                form: Form::Parameters,
                text: FullText::new("Pay%", Some(vec!["metadata.name".to_owned()])),
                order,
            },
            first: position.clone(),
            at: position,
            is_previous: true,
            total: 12,
        }
    }

    #[test]
    fn a_cursor_reads_back_as_it_was() {
        let order = OrderField { key: "metadata.title".into(), direction: Direction::Descending };
        for made in [cursor(None), cursor(Some(order))] {
            assert_eq!(Cursor::decode(&made.encode()), Ok(made));
        }
        let mut posted = cursor(None);
        posted.question = Question { form: Form::Body, ..Question::default() };
        let again = Cursor::decode(&posted.encode()).unwrap();
        assert_eq!(again.question.form, Form::Body, "the client looks for `query`");
    }

    #[test]
    fn what_is_no_cursor_is_refused_and_nothing_panics() {
        let encode = |value: Value| STANDARD.encode(value.to_string());
        let good = cursor(None).encode();
        let good: Value = serde_json::from_slice(&STANDARD.decode(good).unwrap()).unwrap();
        let with = |name: &str, value: Value| {
            let mut cursor = good.clone();
            cursor[name] = value;
            encode(cursor)
        };
        for text in [
            "abc".to_owned(),
            "====".to_owned(),
            encode(json!(7)),
            encode(json!({})),
            with("orderFields", json!([7])),
            with("orderFields", json!([{"field": "a", "order": "up"}])),
            with("orderFieldValues", Value::Null),
            with("firstSortFieldValues", json!([7])),
            with("isPrevious", json!("yes")),
            with("filter", json!([])),
            with("filter", json!({"$nope": 1})),
            with("fullTextFilter", json!({"term": 1})),
            with("totalItems", json!(-1)),
        ] {
            assert!(Cursor::decode(&text).is_err(), "{text}");
        }
        assert_eq!(Cursor::decode(""), Err(QueryError::EmptyCursor));
        let said = Cursor::decode("abc").unwrap_err().to_string();
        let expected = "Malformed cursor: SyntaxError: Unexpected token 'i', \"i\u{fffd}\" is not \
                        valid JSON";
        assert_eq!(said, expected);
    }
}
