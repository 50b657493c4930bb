//! Cursors of `by-query`: where a page ended, and the question it belongs to.
//!
//! They have the form that Backstage's client looks into: base64 of JSON with `filter` where the
//! question came as parameters and `query` where it came as a body, because the client then asks
//! for the next page in the same way. Whatever else is in a cursor is checked like a request: a
//! forged one asks for nothing that its sender could not have asked for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::catalog::filter::Filter;
use crate::catalog::javascript;
use crate::catalog::query::{Direction, FullText, OrderField, QueryError};
use crate::catalog::schema::CURSOR;
use crate::catalog::uid::Uid;

/// A question and a place in its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The question.
    pub question: Question,
    /// The last item of the page before, or the first of the page after.
    pub at: Position,
    /// The first item of the first page; `None` in a cursor that does not say.
    pub first: Option<Position>,
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
    fn read(value: &Value, has_order: bool) -> Self {
        let texts = value.as_array().into_iter().flatten();
        let mut texts = texts.map(|item| item.as_str().unwrap_or_default());
        let value = has_order.then(|| Box::from(texts.next().unwrap_or_default()));
        Self { value, uid: Uid::near(texts.next().unwrap_or_default()) }
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
            "isPrevious": self.is_previous,
            "fullTextFilter": text,
            "totalItems": self.total,
        });
        if let Some(first) = &self.first {
            cursor["firstSortFieldValues"] = first.to_json();
        }
        match (filter, form) {
            (None, Form::Parameters) => {}
            (None, Form::Body) => cursor["query"] = json!({}),
            (Some(filter), Form::Body) => cursor["query"] = filter.to_query(),
            (Some(filter), Form::Parameters) => match filter.to_tree() {
                Some(tree) => cursor["filter"] = tree,
                None => cursor["query"] = filter.to_query(),
            },
        }
        STANDARD.encode(cursor.to_string())
    }

    /// Reads what a client sends.
    pub fn decode(text: &str) -> Result<Self, QueryError> {
        if text.is_empty() {
            return Err(QueryError::EmptyCursor);
        }
        let bytes = javascript::from_base64(text);
        let json = String::from_utf8_lossy(&bytes);
        let cursor: Value = serde_json::from_str(&json).map_err(|_| {
            QueryError::Cursor(format!("SyntaxError: {}", javascript::syntax_error(&json)))
        })?;
        if let Some(objections) = CURSOR.objections_as_json(&cursor) {
            // Backstage says it of its own error once more.
            let message = format!("InputError: Malformed cursor: {objections}");
            return Err(QueryError::Cursor(message));
        }
        Self::read(&cursor)
    }

    /// Reads what the schema has nothing to object to.
    fn read(cursor: &Value) -> Result<Self, QueryError> {
        let order = cursor["orderFields"].get(0).and_then(read_order);
        let position = |name: &str| Position::read(&cursor[name], order.is_some());
        let query = cursor.get("query");
        let filter =
            match (query, cursor.get("filter")) {
                (Some(query), _) => Some(Filter::from_cursor(query)?),
                (None, Some(tree)) => Some(Filter::from_tree(tree).ok_or_else(|| {
                    QueryError::Cursor("the filter is nested too deep".to_owned())
                })?),
                (None, None) => None,
            };
        Ok(Self {
            at: position("orderFieldValues"),
            first: cursor.get("firstSortFieldValues").map(|_| position("firstSortFieldValues")),
            is_previous: cursor["isPrevious"] == true,
            // Only Backstage would count less than none, or halves.
            total: cursor["totalItems"].as_f64().unwrap_or_default() as usize,
            question: Question {
                filter,
                form: if query.is_some() { Form::Body } else { Form::Parameters },
                text: read_text(&cursor["fullTextFilter"]),
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

fn read_text(text: &Value) -> Option<FullText> {
    let term = text["term"].as_str()?;
    let texts = |list: &Value| {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    FullText::new(term, text.get("fields").map(texts))
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
            first: Some(position.clone()),
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
            with("totalItems", json!("12")),
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
