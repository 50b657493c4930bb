//! `GET` and `POST /entities/by-query`: pages with cursors in both directions.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::catalog::View;
use crate::catalog::cursor::{Cursor, Form, Position, Question};
use crate::catalog::filter::Filter;
use crate::catalog::page::Start;
use crate::catalog::query::{Direction, Fields, FullText, OrderField};
use crate::http::answer::ApiError;
use crate::http::catalog_api::{ask, fields, list, query};
use crate::http::params::{Params, number, optional_body, text, text_at, text_list_at};
use crate::http::state::Shared;

/// Items of a page when the client names no number.
const LIMIT_DEFAULT: usize = 200;

/// What a request asks for.
struct Ask {
    from: From,
    limit: usize,
    fields: Option<Fields>,
}

enum From {
    First { question: Question, offset: usize, counts: bool },
    Cursor(Box<Cursor>),
}

pub(super) async fn by_parameters(
    State(state): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let known = [
        "filter",
        "fields",
        "limit",
        "offset",
        "orderField",
        "cursor",
        "fullTextFilterTerm",
        "fullTextFilterFields",
        "totalItems",
    ];
    let params = Params::parse(&request, &known)?;
    let filter = Filter::parse(&params.all("filter"))?;
    let fields = Fields::parse(&params.all("fields"))?;
    let orders = params.all("orderField");
    let orders = orders.iter().map(|order| OrderField::parse_order_field(order));
    // The first counts; the others are checked and not used, as in Backstage.
    let order = orders.collect::<Result<Vec<_>, _>>()?.into_iter().next();
    let limit = params.number("limit")?.unwrap_or(LIMIT_DEFAULT);
    let offset = params.number("offset")?.unwrap_or(0);
    let counts = counts(params.only("totalItems")?, "query")?;
    let from = match params.only("cursor")? {
        Some(cursor) => From::Cursor(Box::new(Cursor::decode(cursor)?)),
        None => {
            let text_fields = params.all("fullTextFilterFields");
            let text_fields = text_fields.iter().flat_map(|list| list.split(',')).map(Into::into);
            let term = params.only("fullTextFilterTerm")?.unwrap_or_default();
            let has_fields = params.first("fullTextFilterFields").is_some();
            let text = FullText::new(term, has_fields.then(|| text_fields.collect()));
            let question = Question { filter, form: Form::Parameters, text, order };
            From::First { question, offset, counts }
        }
    };
    answer(&state, Ask { from, limit, fields }).await
}

pub(super) async fn by_body(
    State(state): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    Params::parse(&request, &[])?;
    let body = optional_body(request).await?.unwrap_or_default();
    let limit = number(&body, "limit")?.unwrap_or(LIMIT_DEFAULT);
    let offset = number(&body, "offset")?.unwrap_or(0);
    let order = order_by(&body)?;
    let text_filter = full_text(&body)?;
    let counts = counts(text(&body, "totalItems")?.as_deref(), "body")?;
    let cursor = text(&body, "cursor")?;
    let filter = query(&body)?;
    let fields = fields(&body)?;
    let from = match cursor {
        Some(cursor) => From::Cursor(Box::new(Cursor::decode(&cursor)?)),
        None => {
            let question = Question { filter, form: Form::Body, text: text_filter, order };
            From::First { question, offset, counts }
        }
    };
    answer(&state, Ask { from, limit, fields }).await
}

/// Whether the entities are to be counted.
fn counts(choice: Option<&str>, place: &str) -> Result<bool, ApiError> {
    match choice {
        None | Some("include") => Ok(true),
        Some("exclude") => Ok(false),
        Some(_) => Err(ApiError::input(format!(
            "request/{place}/totalItems must be equal to one of the allowed values: include, \
             exclude"
        ))),
    }
}

/// The first of `orderBy`; the others are checked and not used, as in Backstage.
fn order_by(body: &Map<String, Value>) -> Result<Option<OrderField>, ApiError> {
    let orders = match body.get("orderBy") {
        None => return Ok(None),
        Some(Value::Array(orders)) => orders.as_slice(),
        Some(_) => return Err(ApiError::input("request/body/orderBy must be array")),
    };
    let mut fields = Vec::new();
    for (index, order) in orders.iter().enumerate() {
        let at = format!("request/body/orderBy/{index}");
        let Value::Object(order) = order else {
            return Err(ApiError::input(format!("{at} must be object")));
        };
        let member = |name: &str| match order.get(name) {
            None => Err(ApiError::input(format!("{at} must have required property '{name}'"))),
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(_) => Err(ApiError::input(format!("{at}/{name} must be string"))),
        };
        let (field, direction) = (member("field")?, member("order")?);
        let direction = Direction::parse(direction).ok_or_else(|| {
            ApiError::input(format!(
                "{at}/order must be equal to one of the allowed values: asc, desc"
            ))
        })?;
        fields.push(OrderField { key: field.to_lowercase(), direction });
    }
    Ok(fields.into_iter().next())
}

fn full_text(body: &Map<String, Value>) -> Result<Option<FullText>, ApiError> {
    let filter = match body.get("fullTextFilter") {
        None => return Ok(None),
        Some(Value::Object(filter)) => filter,
        Some(_) => return Err(ApiError::input("request/body/fullTextFilter must be object")),
    };
    let term = text_at(filter, "term", "/fullTextFilter")?.unwrap_or_default();
    Ok(FullText::new(&term, text_list_at(filter, "fields", "/fullTextFilter")?))
}

async fn answer(state: &Shared, question: Ask) -> Result<Response, ApiError> {
    ask(state, move |view| page(view, question)).await
}

fn page(view: &Arc<View>, Ask { from, limit, fields }: Ask) -> Response {
    let (question, start, first, known_total) = match from {
        From::First { question, offset, counts } => {
            (question, Start::Offset(offset), None, (!counts).then_some(0))
        }
        From::Cursor(cursor) => {
            let Cursor { question, at, first, is_previous, total } = *cursor;
            let start = if is_previous { Start::Before(at) } else { Start::After(at) };
            (question, start, first, Some(total))
        }
    };
    let set = view.find_all(&question);
    let total = known_total.unwrap_or_else(|| match &question.order {
        Some(order) => view.count_with_value(&set, &order.key),
        None => set.len(),
    });
    let is_backward = matches!(start, Start::Before(_));
    // One more than wanted tells whether there is a next page; before a page there always is.
    let wanted = if is_backward { limit } else { limit.saturating_add(1) };
    let mut items = match limit {
        0 => Vec::new(),
        _ => view.page(&set, question.order.as_ref(), &start, wanted),
    };
    let has_next = is_backward || items.len() > limit;
    items.truncate(limit);
    let mut page_info = Map::new();
    if let (Some((head, _)), Some((last, _))) = (items.first(), items.last()) {
        let is_first = first.as_ref().is_none_or(|first| first == head);
        let first = first.unwrap_or_else(|| head.clone());
        let cursor = |at: &Position, is_previous: bool| {
            let (at, first) = (at.clone(), first.clone());
            Cursor { question: question.clone(), at, first: Some(first), is_previous, total }
                .encode()
        };
        if has_next {
            page_info.insert("nextCursor".to_owned(), cursor(last, false).into());
        }
        if !is_first {
            page_info.insert("prevCursor".to_owned(), cursor(head, true).into());
        }
    }
    let closing = json!({ "totalItems": total, "pageInfo": page_info }).to_string();
    let entities = items.into_iter().map(|(_, entity)| entity).collect();
    list(view, entities, fields, "{\"items\":[", format!("],{}", &closing[1..]))
}
